"""What goes into a session of the engine and what it tells: plain records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """How codes are chosen; see q3t_sampling. `top_k` 0 and `top_p` 1 are off."""

    greedy: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class SessionInfo:
    """Where a session stands: frames generated and decoded, and seconds spent in each stage."""

    state: int
    frames: int
    decoded: int
    positions: int
    cached_rows: int
    prefill_seconds: float
    talker_seconds: float
    predictor_seconds: float
    codec_seconds: float
