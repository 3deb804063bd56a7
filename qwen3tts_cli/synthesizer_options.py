"""How to speak: the options of the Python API, and what they mean for a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from .engine import Sampling
from .errors import UsageError

if TYPE_CHECKING:
    import os

    from .cloning import Audio, OnWarning
    from .config import ModelConfig
    from .voicefile import Voice


@dataclass(frozen=True)
class SpeakOptions:
    """How to speak. None takes the default of the checkpoint (generation_config.json, voice.json) or of the reference.

    seed: 0 <= seed < 2**64; drawn when None. max_frames: of the whole output, 12.5 a second. split: long texts at
    sentence ends. retries: new attempts when an utterance runs away; 0 turns the guard off. live: yield audio as it is
    made rather than an utterance at a time. chunk_frames and pipeline: how the decoder runs; never what it makes.
    voice: a preset, the name of a kept voice, a pathlib.Path of a voice file, or a Voice. ref_audio: speak with the
    voice of a recording, as Synthesizer.clone takes it; ref_text: what it says; on_warning: called with each line on
    what may spoil that voice, None: that of Synthesizer.open. design: the description of a voice, for a model that
    makes them. batch: utterances made at a time, 0: what suits the machine; never what they are.
    """

    voice: str | os.PathLike[str] | Voice | None = None
    ref_audio: Audio | None = None
    ref_text: str | None = None
    design: str | None = None
    language: str | None = None
    instruct: str | None = None
    seed: int | None = None
    greedy: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    subtalker_temperature: float | None = None
    subtalker_top_k: int | None = None
    subtalker_top_p: float | None = None
    max_frames: int | None = None
    text_mode: str | None = None
    split: bool = True
    retries: int = 2
    live: bool = False
    chunk_frames: int = 0
    pipeline: bool = False
    batch: int = 0
    on_warning: OnWarning = None


def ranged(name: str, value: float | None, low: float, high: float, default: float) -> float:
    """The value, or the default of None. Raises UsageError for one out of range."""
    if value is None:
        return default
    if not low <= value <= high:
        raise UsageError(f"{name}: {value} is not within {low:g} .. {high:g}")
    return value


def sampling_of(options: SpeakOptions, config: ModelConfig) -> tuple[Sampling, Sampling]:
    """How talker and code predictor choose their codes."""
    g, o = config.generation, options
    temperature = ranged("temperature", o.temperature, 0, 100, g.temperature)
    sub_temperature = ranged("subtalker temperature", o.subtalker_temperature, 0, 100, g.subtalker_temperature)
    talker_greedy = o.greedy or temperature == 0 or (o.temperature is None and not g.do_sample)
    sub_greedy = o.greedy or sub_temperature == 0 or (o.subtalker_temperature is None and not g.subtalker_dosample)
    talker = Sampling(
        greedy=talker_greedy,
        temperature=temperature or 1.0,
        top_k=int(ranged("top-k", o.top_k, 0, 1 << 20, g.top_k)),
        top_p=ranged("top-p", o.top_p, 1e-6, 1, g.top_p),
        repetition_penalty=ranged("repetition penalty", o.repetition_penalty, 1e-3, 1e3, g.repetition_penalty),
    )
    predictor = Sampling(
        greedy=sub_greedy,
        temperature=sub_temperature or 1.0,
        top_k=int(ranged("subtalker top-k", o.subtalker_top_k, 0, 1 << 20, g.subtalker_top_k)),
        top_p=ranged("subtalker top-p", o.subtalker_top_p, 1e-6, 1, g.subtalker_top_p),
    )
    return talker, predictor


def options_of(options: dict[str, object]) -> SpeakOptions:
    """SpeakOptions of keyword arguments. Raises UsageError for an unknown name."""
    known = {f.name for f in fields(SpeakOptions)}
    for name in options:
        if name not in known:
            raise UsageError(f"{name}: no such option; there are {', '.join(sorted(known))}")
    return SpeakOptions(**options)  # type: ignore[arg-type]
