"""The class Speech: the speech of one text, an iterator of samples with counters."""

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
from .scheduler import default_batch, run_utterances
from .seeds import utterance_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..text.prompt import Prompt
    from .plan import SpeechPlan


class Speech:
    """The speech of one text: an iterator of arrays of samples. Synthesizer.speak returns one.

    Each array is float32 of shape (n,) at 24 kHz. Attributes: samples: the number of samples yielded so far. frames:
    the number of frames of the finished utterances. stop: after the end, "eos" or "max_frames". voice, language, seed,
    batch: the values in use. first_audio_seconds: seconds from the start to the first samples; None before them.
    timings: seconds spent on "text", and those that the finished utterances spent on "prefill", "talker", "predictor"
    and "codec".

    >>> with synthesizer.speak("Hello.", SpeakOptions(seed=1, live=True)) as speech:
    ...     for samples in speech:
    ...         play(samples)
    ...     print(speech.seconds, speech.stop)

    Iterating raises GenerationError if an utterance runs away after all retries or a value is not finite, UsageError
    for a text that cannot be spoken, EngineError once the speech or its model is closed.
    Threads that read the speech take turns; any thread may close it. prompts: yields (text, prompt) of each utterance.
    at_end: called after the last samples.
    """

    def __init__(
        self,
        model: Model,
        plan: SpeechPlan,
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
        # A weak reference, since a cycle would keep the sessions of a dropped Speech open until a garbage collection.
        self._chunks = _all_samples(weakref.proxy(self))
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
        """Stop and close every session. If another thread reads the speech, its reading ends at the next frame."""
        self.lifetime.close()

    def __enter__(self) -> Speech:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """Seconds of audio yielded so far."""
        return self.samples / SAMPLE_RATE

    @property
    def codes(self) -> np.ndarray:
        """The codes of the utterances that are finished: int32 of shape (frames, code groups)."""
        return (
            np.concatenate(self._codes) if self._codes else np.empty((0, self.model.config.num_code_groups), np.int32)
        )

    def utterances(self) -> Iterator[tuple[Speech, Utterance]]:
        """Yield (this speech, utterance) in order, each utterance made from the next prompt.

        If making a prompt fails, the last utterance holds the error.
        """
        seen: Counter[str] = Counter()
        while True:
            start = time.perf_counter()
            text, prompt, error = "", None, None
            try:
                text, prompt = next(self._prompts, (None, None))
            except Exception as failure:
                error = failure
            self.timings["text"] += time.perf_counter() - start
            if text is None:
                return
            if self.at_limit:
                self.stop = "max_frames"
                return
            key = utterance_key(text, self.plan.settings, seen[text])
            seen[text] += 1
            yield self, Utterance(self.model, self.plan, text, prompt, key, error)
            if error is not None:
                return

    @property
    def frames_left(self) -> int | None:
        """How many of `max_frames` are left; None if there is no limit."""
        return None if self.plan.max_frames is None else self.plan.max_frames - self.frames

    @property
    def at_limit(self) -> bool:
        """Whether no frames are left."""
        return self.frames_left is not None and self.frames_left <= 0

    def note_first_audio(self) -> None:
        """Record the time of the first samples; later calls do nothing."""
        if self.first_audio_seconds is None:
            self.first_audio_seconds = time.perf_counter() - self._start

    def add_finished(self, utterance: Utterance) -> None:
        """Count an utterance whose samples are all yielded. Raises its error, if it has one."""
        utterance.close()
        self.timings.update(utterance.timings)
        if (failure := utterance.failure()) is not None:
            raise failure
        self._codes.append(utterance.codes[: utterance.frames])
        self.frames += utterance.frames
        self.stop = utterance.stop


def _all_samples(speech: Speech) -> Iterator[np.ndarray]:
    utterances = Speech.utterances(speech)
    with closing(run_utterances(speech.model, utterances, speech.batch, speech.plan.live, speech)) as chunks:
        for _, pcm in chunks:
            yield pcm
