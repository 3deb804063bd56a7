"""A stand-in for the Synthesizer, without a model, for tests of the command line.

`module` returns a replacement of qwen3tts_cli.speech.synthesizer; as a script, this file is `qwen3tts` with the
replacement. The samples depend on the seed and the output chain alone; some words in the text make it fail or wait.
"""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from qwen3tts_cli.audio.output_chain import OutputChain
from qwen3tts_cli.errors import GenerationError, UsageError
from qwen3tts_cli.models.local_models import resolve_model
from qwen3tts_cli.speech.speak_options import SpeakOptions

FRAME = 1920


def frames_of(seed: int, frames: int) -> Iterator[np.ndarray]:
    """The samples of a run with this seed, some of them beyond full scale: float32 (FRAME,) for each frame."""
    rng = np.random.default_rng(seed)
    for _ in range(frames):
        yield rng.uniform(-1.1, 1.1, FRAME).astype(np.float32)


def samples_of(seed: int, frames: int) -> np.ndarray:
    """The samples of all frames: float32 (frames * FRAME,)."""
    return np.concatenate([np.empty(0, np.float32), *frames_of(seed, frames)])


class Speech:
    """Speech of 10 frames. Words of the text change that: `N frames` sets the number, `slow` waits before each frame,
    `runaway` raises GenerationError after 5 frames, `bug` and `memory` raise other errors at once.
    """

    def __init__(self, text: str, options: SpeakOptions) -> None:
        self.text, self.options, self.seed = text, options, options.seed
        words = text.split()
        wanted = int(words[words.index("frames") - 1]) if "frames" in words else 10
        self.total = min(wanted, options.max_frames or wanted)
        self.stop = "eos" if self.total == wanted else "max_frames"
        self.speed, self.rate = options.speed, options.rate
        self.voice, self.language = options.voice or "anna", options.language or "english"
        self.frames, self.samples, self.first_audio_seconds, self.batch = 0, 0, None, options.batch or 4
        self.chain = OutputChain(options.speed, options.rate, options.max_seconds)
        self.timings = {"text": 0.25, "talker": 1e-3}
        self.codes = np.arange(self.total * 16, dtype=np.int64).reshape(-1, 16)

    @property
    def seconds(self) -> float:
        return self.samples / self.options.rate

    def __iter__(self) -> Iterator[np.ndarray]:
        for samples in self._output():
            self.samples += len(samples)
            yield samples
        if self.chain.was_cut:
            self.stop = "max_seconds"

    def _output(self) -> Iterator[np.ndarray]:
        yield from map(self.chain.feed, self._generated())
        yield self.chain.finish()

    def _generated(self) -> Iterator[np.ndarray]:
        for frame in frames_of(self.seed, self.total):
            if "slow" in self.text:
                time.sleep(0.05)
            if "runaway" in self.text and self.frames == 5:
                raise GenerationError("the text ran away after 3 attempts")
            if "bug" in self.text:
                raise ZeroDivisionError("not\nexpected")
            if "memory" in self.text:
                raise MemoryError
            self.frames += 1
            if self.first_audio_seconds is None:
                self.first_audio_seconds = 0.125
            yield frame

    def close(self) -> None:
        pass


@dataclass
class Synthesizer:
    """Opens nothing; `opened.calls` has the (text, options) of every call of `speak`."""

    name: str
    precision: str
    threads: int
    config: Any = field(
        default_factory=lambda: SimpleNamespace(codec=SimpleNamespace(sample_rate=24000, samples_per_frame=FRAME))
    )

    opened = SimpleNamespace(calls=[])
    packing = False

    def finish_packing(self, progress: object = None) -> list[str]:
        return []

    @classmethod
    def open(
        cls,
        model=None,
        *,
        precision="auto",
        decoder_precision="auto",
        threads=None,
        cache=True,
        progress=None,
        on_warning=None,
    ) -> Synthesizer:
        resolved = resolve_model(model)
        return cls(resolved.name, "bf16" if precision == "auto" else precision, threads or 2)

    def __enter__(self) -> Synthesizer:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def speak(self, text: str, options: SpeakOptions) -> Speech:
        Synthesizer.opened.calls.append((text, options))
        if options.voice == "ryna":
            raise UsageError("unknown voice ryna, did you mean ryan?")
        return Speech(text, options)


def module() -> types.ModuleType:
    """A module to put into sys.modules as qwen3tts_cli.speech.synthesizer."""
    made = types.ModuleType("qwen3tts_cli.speech.synthesizer")
    made.Synthesizer, made.SpeakOptions = Synthesizer, SpeakOptions
    return made


if __name__ == "__main__":
    sys.modules["qwen3tts_cli.speech.synthesizer"] = module()
    from qwen3tts_cli.cli.main import main

    main()
