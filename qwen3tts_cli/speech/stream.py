"""The class Speech: the speech of one text, an iterator of samples with counters."""

from __future__ import annotations

import time
import weakref
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..audio.output_chain import OutputChain
from ..common.audio_constants import SAMPLE_RATE
from ..common.lifetime import Lifetime
from ..errors import EngineError, UsageError
from ..scheduling.seeds import live_key, utterance_key
from .delivery import Delivery
from .reader import InOrder, Pending, Silence, default_batch
from .spoken import SpokenTexts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ..engine.model import Model
    from ..scheduling.consumer import Consumer
    from ..scheduling.job import Job
    from ..scheduling.scheduler import Scheduler
    from ..scheduling.stream import Stream
    from ..text.prompt import Prompt
    from .incoming import IncomingSpeech
    from .plan import SpeechPlan
    from .spoken import SpokenText


class Speech:
    """The speech of one text: an iterator of arrays of samples. Synthesizer.speak returns one.

    Each array is float32 of shape (n,) at `rate` Hz. Attributes: samples: the number of samples yielded so far. frames:
    the number of frames of the finished utterances. stop: after the end, "eos", "max_frames" or "max_seconds". voice,
    language, seed, batch, speed, rate: the values in use. first_audio_seconds: seconds from the start to the first
    samples; None before them.
    timings: seconds spent on "text", and those that the finished utterances spent on "prefill", "talker", "predictor"
    and "codec".

    >>> with synthesizer.speak("Hello.", SpeakOptions(seed=1, live=True)) as speech:
    ...     for samples in speech:
    ...         play(samples)
    ...     print(speech.seconds, speech.stop)

    Iterating raises GenerationError if an utterance runs away after all retries or a value is not finite, UsageError
    for a text that cannot be spoken, EngineError once the speech or its model is closed.
    Threads that read the speech take turns; any thread may close it. prompts: yields (text, prompt, plan) of each
    utterance, and Silence for each pause; None with `incoming`, the utterances of a text that is still coming. at_end:
    called after the last samples.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        model: Model,
        plan: SpeechPlan,
        prompts: Iterator[tuple[str, Prompt, SpeechPlan] | Silence] | None,
        incoming: IncomingSpeech | None = None,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.model, self.plan, self.index = model, plan, 0
        self.voice, self.language, self.seed = plan.voice, plan.language, plan.seed
        self.batch = plan.batch or default_batch(model)
        self.frame_samples = model.config.codec.samples_per_frame
        self.speed, self.rate = plan.speed, plan.rate
        self.chain = OutputChain(plan.speed, plan.rate, plan.max_seconds)
        self.spoken_texts = SpokenTexts(plan.speed, plan.max_seconds)
        self.frames, self.samples, self.stop = 0, 0, "eos"
        self.first_audio_seconds: float | None = None
        self.timings: Counter[str] = Counter()
        self._codes: list[np.ndarray] = []
        self._start = time.perf_counter()
        self._prompts, self._at_end = prompts, at_end
        # A weak reference, since a cycle would keep the sessions of a dropped Speech open until a garbage collection.
        me = weakref.proxy(self)
        jobs = Speech.utterances(me) if incoming is None else None
        following = partial(_next_of, me, incoming) if jobs is None else partial(next, jobs, None)
        background = incoming is not None
        reader = InOrder(scheduler, following, self.batch, plan.live, only=me, background=background, speed=plan.speed)
        self._reader, self._delivery = reader, Delivery(reader)
        self._ended = self._cancelled = False
        cancel = self._reader.cancel
        self.lifetime = Lifetime("stream", partial(_stop, cancel, incoming), stop=cancel, inherited=False)
        if incoming is not None:
            incoming.on_change = partial(_note_text, scheduler, self._reader.consumer)
            self.lifetime.watch(self)
        model.lifetime.adopt(self.lifetime)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        if (pcm := self.read()) is None:
            raise StopIteration
        return pcm

    def read(self, timeout: float | None = None) -> np.ndarray | None:
        """Wait for the next samples: float32 of shape (n,), or None at the end.

        timeout: the most seconds to wait; None: no limit. Raises TimeoutError after them; nothing is lost then.
        """
        if self._ended:
            return None
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.lifetime.alone():
            return self._samples_of(self._delivery.next(self._check, deadline))

    def _check(self) -> None:
        if self._cancelled:
            raise EngineError("the stream is closed")
        self.lifetime.check()
        self.model.lifetime.check()

    def _samples_of(self, found: tuple[Speech, np.ndarray] | None) -> np.ndarray | None:
        """The samples that are handed to the reader. found: what Delivery returns."""
        if found is None:
            self._ended = True
            self._at_end()
            return None
        return found[1]

    async def __aiter__(self) -> AsyncIterator[np.ndarray]:
        """Iterate in an asyncio event loop. Waiting takes no thread."""
        import asyncio  # here, because the import is slow

        loop, there = asyncio.get_running_loop(), asyncio.Event()
        consumer = self._reader.consumer
        consumer.background = True
        consumer.on_samples = lambda: loop.call_soon_threadsafe(there.set)
        try:
            while not self._ended:
                there.clear()
                try:
                    with self.lifetime.alone():
                        pcm = self._samples_of(self._delivery.poll(self._check))
                except Pending:
                    self._reader.scheduler.note_waiting(consumer)
                    await there.wait()
                    continue
                if pcm is not None:
                    yield pcm
        finally:
            consumer.on_samples = None

    def cancel(self) -> None:
        """Stop the speech without waiting, from any thread or a signal handler; reading raises EngineError then."""
        self._cancelled = True
        self._reader.cancel()

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
        return self.samples / self.rate

    @property
    def unread_seconds(self) -> float:
        """Seconds of generated audio, before speed, that can be read without waiting."""
        return self._reader.consumer.unread_samples() / SAMPLE_RATE

    @property
    def codes(self) -> np.ndarray:
        """The codes of the utterances that are finished: int32 of shape (frames, code groups)."""
        return (
            np.concatenate(self._codes) if self._codes else np.empty((0, self.model.config.num_code_groups), np.int32)
        )

    def utterances(self) -> Iterator[tuple[Speech, Job | Silence | None, Exception | None]]:
        """Yield (this speech, job or silence, None) for each utterance and pause in order; last (this speech, None,
        error) if one fails."""
        seen: Counter[tuple[str, object]] = Counter()
        while True:
            start = time.perf_counter()
            part, error = None, None
            try:
                part = next(self._prompts, None)
            except Exception as failure:
                error = failure
            self.timings["text"] += time.perf_counter() - start
            if part is None and error is None:
                return
            if self.at_limit:
                self.stop = "max_frames"
                return
            if error is not None:
                yield self, None, error
                return
            if isinstance(part, Silence):
                yield self, part, None
                continue
            text, prompt, plan = part
            same = text, plan.settings["voice"]
            key = utterance_key(text, plan.settings, seen[same])
            if (number := self.plan.live_number) is not None:
                key = live_key(self.plan.settings, number)
                if next(self._prompts, None) is not None:
                    error = UsageError(f"key: live:{number} is the key of one utterance; the text has several")
                    yield self, None, error
                    return
            seen[same] += 1
            yield self, plan.job(self.model, text, prompt, key, self.frames_left), None

    @property
    def spoken(self) -> list[SpokenText]:
        """The texts that were spoken to their end, with their places in the output: one for each utterance."""
        return list(self.spoken_texts.found)

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

    def add_finished(self, stream: Stream, frames: int, stop: str | None) -> None:
        """Count an utterance whose samples are all read. Raises its error, if it has one.

        frames: the frames that were kept. stop: why it ended.
        """
        self.timings.update(stream.timings)
        if stop is None:
            raise stream.failure or EngineError("the stream is closed")
        self._codes.append(stream.codes(frames))
        self.spoken_texts.end_utterance(stream.job, frames * self.frame_samples)
        self.frames += frames
        self.stop = stop


def _next_of(speech: Speech, incoming: IncomingSpeech) -> tuple[Speech, Job | None, Exception | None] | None:
    """The next utterance of a text that is still coming, as InOrder expects it."""
    if speech.at_limit:
        speech.stop = "max_frames"
        return None
    job = incoming.next_job()
    if job is None:
        return None
    return speech, job if speech.frames_left is None else job._replace(max_frames=speech.frames_left), None


def _note_text(scheduler: Scheduler, consumer: Consumer) -> None:
    consumer.notify()
    scheduler.note_text(consumer)


def _stop(cancel: Callable[[], None], incoming: IncomingSpeech | None) -> None:
    if incoming is not None:
        incoming.closed = True
    cancel()
