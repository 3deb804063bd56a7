"""The facts about a finished speech that `say --json` writes and that a server sends to its clients."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .stream import Speech
    from .synthesizer import Synthesizer

# The stages of a run, with their names in a table.
STAGES = {
    "start": "start-up",  # the interpreter, imports, options
    "open": "open model",
    "pack": "pack weights",
    "voice": "voice",  # clone the voice of a recording
    "text": "text",
    "prefill": "prefill",
    "talker": "talker",
    "predictor": "code predictor",
    "codec": "speech decoder",
    "output": "output",
    "other": "other",
}


def timing_facts(stages: Counter[str], total: float, first_audio: float | None) -> dict[str, float | None]:
    """Milliseconds of each stage, in all, and until the first audio; the keys end in `_ms`.

    stages: seconds by a key of STAGES. total: seconds in all, whose rest is the stage "other". first_audio: in seconds.
    """
    rest = max(0.0, total - sum(stages.values()))
    facts: dict[str, float | None] = {f"{name}_ms": 1000 * stages[name] for name in STAGES}
    facts["other_ms"] = 1000 * rest
    facts["total_ms"] = 1000 * total
    facts["first_audio_ms"] = None if first_audio is None else 1000 * first_audio
    return facts


def speech_facts(
    synthesizer: Synthesizer, speech: Speech, elapsed: float, pcm_sha256: str, timings: dict[str, float | None]
) -> dict[str, Any]:
    """The facts of a speech whose samples are all read, as JSON values.

    elapsed: the seconds that it took. pcm_sha256: the hexadecimal digest of the samples as 16-bit PCM. timings: see
    timing_facts.
    """
    from ..packed.precision import CALIBRATED
    from ..packed.verify import calibration_facts

    first = speech.first_audio_seconds
    calibrated = synthesizer.precision == CALIBRATED
    return {
        "frames": int(speech.frames),
        "seconds": float(speech.seconds),
        "rtf": elapsed / speech.seconds if speech.seconds else None,
        "first_audio_ms": None if first is None else first * 1000,
        "seed": speech.seed,
        "sample_rate": speech.rate,
        "speed": speech.speed,
        "stop": speech.stop,
        "pcm_sha256": pcm_sha256,
        "model": synthesizer.name,
        "voice": speech.voice,
        "language": speech.language,
        "precision": synthesizer.precision,
        **(calibration_facts(synthesizer.config.path) if calibrated else {}),
        "threads": synthesizer.threads,
        "batch": speech.batch,
        "timings": timings,
    }
