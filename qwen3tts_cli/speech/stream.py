"""Text to an iterator of PCM chunks: its utterances, in order, and what there is to tell about them."""

from __future__ import annotations

import time
import weakref
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from ..common.audio_constants import SAMPLE_RATE
from ..common.lifetime import Lifetime
from ..engine.model import Model
from .attempts import Utterance
from .scheduler import default_batch, made
from .seeds import Plan, utterance_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..text.prompt import Prompt


class Speech:
    """One text being spoken: an iterator of float32 arrays (samples,) at 24 kHz.

    The counters are totals of what has been yielded; `stop` is set at the end: "eos" or "max_frames". batch: utterances
    made at a time. timings: seconds spent on the text and in each stage, of the utterances that are finished.
    Raises GenerationError when the guard gives up or a value is not finite, EngineError once it or its model is closed.
    Threads that read it take turns; any of them may close it, see lifetime.py. at_end: called once all was yielded.
    """

    def __init__(
        self,
        model: Model,
        plan: Plan,
        prompts: Iterator[tuple[str, Prompt]],
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.model, self.plan, self.index = model, plan, 0
        self.voice, self.language, self.seed = plan.voice, plan.language, plan.seed
        self.batch = plan.batch or default_batch(model)
        self.frames, self.samples, self.stop = 0, 0, "eos"
        self.first_audio_seconds: float | None = None
        self.timings: Counter[str] = Counter()
        self._codes: list[np.ndarray] = []
        self._start = time.perf_counter()
        self._prompts, self._at_end = prompts, at_end
        # Weakly: in a cycle it would keep its sessions, after everybody let go of it, until the collector comes.
        self._chunks = _chunks(weakref.proxy(self))
        self._ended = False
        self.lifetime = Lifetime("stream", self._chunks.close, inherited=False)
        model.lifetime.adopt(self.lifetime)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        if self._ended:
            raise StopIteration
        with self.lifetime.alone():
            try:
                return next(self._chunks)
            except StopIteration:
                self._ended = True
                self._at_end()
                raise

    def close(self) -> None:
        """Stop at once, or where another thread reads at the next frame, and free what it holds."""
        self.lifetime.close()

    def __enter__(self) -> Speech:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """Length of the audio yielded so far."""
        return self.samples / SAMPLE_RATE

    @property
    def codes(self) -> np.ndarray:
        """Codes of the utterances finished so far: int32 (frames, code_groups)."""
        return (
            np.concatenate(self._codes) if self._codes else np.empty((0, self.model.config.num_code_groups), np.int32)
        )

    def utterances(self) -> Iterator[tuple[Speech, Utterance]]:
        """What is to be spoken, in order, as `made` wants it. An error of the text comes in its turn."""
        seen: Counter[str] = Counter()
        while True:
            start = time.perf_counter()
            text, prompt, error = "", None, None
            try:
                text, prompt = next(self._prompts, (None, None))
            except Exception as failure:
                error = failure
            self.timings["text"] += time.perf_counter() - start
            if text is None or self.over():
                return
            key = utterance_key(text, self.plan.settings, seen[text])
            seen[text] += 1
            yield self, Utterance(self.model, self.plan, text, prompt, key, error)
            if error is not None:
                return

    @property
    def left(self) -> int | None:
        """Frames that may still come; None: any number."""
        return None if self.plan.max_frames is None else self.plan.max_frames - self.frames

    def over(self) -> bool:
        """Whether there is no room for another utterance. To be asked when there is one."""
        if self.left is None or self.left > 0:
            return False
        self.stop = "max_frames"
        return True

    def sounds(self) -> None:
        """Samples of it are there."""
        if self.first_audio_seconds is None:
            self.first_audio_seconds = time.perf_counter() - self._start

    def finish(self, utterance: Utterance) -> None:
        """All of it is out: count it, or raise what went wrong with it."""
        utterance.close()
        self.timings.update(utterance.timings)
        if (failure := utterance.failure()) is not None:
            raise failure
        self._codes.append(utterance.codes[: utterance.frames])
        self.frames += utterance.frames
        self.stop = utterance.stop


def _chunks(speech: Speech) -> Iterator[np.ndarray]:
    """All samples of a text."""
    utterances = Speech.utterances(speech)
    with closing(made(speech.model, utterances, speech.batch, speech.plan.live, speech)) as chunks:
        for _, pcm in chunks:
            yield pcm
