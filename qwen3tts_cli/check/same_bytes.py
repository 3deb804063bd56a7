"""Check that one seed gives the same samples: on one thread and on all, alone and in a batch, as a file and live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..cloning.voice_file import Voice
from ..speech.synthesizer import Synthesizer
from .result import Result, judged

if TYPE_CHECKING:
    from ..engine.model import Model
    from .subject import Subject

CHECK = "same bytes"
_TEXTS = ("It is late.", "The train leaves at seven.", "Nobody said a word.")  # the second is compared
_SEED, _MAX_FRAMES = 1, 20


def check_same_bytes(subject: Subject, one: Model, many: Model, precision: str) -> Result:
    """Speak the same utterance in several ways. one, many: the model opened with one thread and with all."""
    options = {"seed": _SEED, "max_frames": _MAX_FRAMES, **_voice(many)}
    subject.report("same bytes: one thread")
    want = _synthesizer(one, subject, precision).say(_TEXTS[1], **options)
    speaker = _synthesizer(many, subject, precision)
    subject.report(f"same bytes: {many.threads} threads, live, and in a batch of {len(_TEXTS)}")
    found = {
        f"{many.threads} threads, live": np.concatenate(list(speaker.stream(_TEXTS[1], **options))),
        f"in a batch of {len(_TEXTS)}": speaker.say_many(_TEXTS, batch=len(_TEXTS), **options)[1],
    }
    problems = [f"{how}: {_difference(samples, want)}" for how, samples in found.items() if not _equal(samples, want)]
    ways = " and ".join(found)
    good = f"{len(want)} samples in {precision} on one thread, the same with {ways}"
    return judged(CHECK, problems, good, {"samples": len(want), "precision": precision})


def _synthesizer(model: Model, subject: Subject, precision: str) -> Synthesizer:
    """A synthesizer of an opened model. The caller closes the model, not the synthesizer."""
    return Synthesizer(model, subject.name, precision, on_warning=lambda line: None)


def _voice(model: Model) -> dict[str, object]:
    """Options that name a voice of the model: a preset, a description, or a speaker vector that is made here."""
    config = model.config
    if config.model_type == "voice_design":
        return {"design": "A calm and clear voice."}
    if config.model_type == "base":
        width = config.talker.hidden_size
        vector = np.sin(np.arange(width, dtype=np.float32)) * np.float32(0.05)
        return {"voice": Voice("check", vector), "language": next(iter(config.languages), None)}
    return {"voice": next(iter(config.speakers), None)}


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def _difference(found: np.ndarray, want: np.ndarray) -> str:
    if len(found) != len(want):
        return f"{len(found)} samples, on one thread {len(want)}"
    at = int((found != want).argmax())
    return f"sample {at} is {found[at]!r}, on one thread {want[at]!r}"
