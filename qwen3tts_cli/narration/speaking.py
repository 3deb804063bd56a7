"""Speak the segments that the folder of segments lacks: several together, each checked, and written on a thread."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EngineError, GenerationError
from ..hearing.segment_checks import check_segment
from ..scheduling.consumer import Consumer
from ..speech.reader import default_batch
from ..speech.utterance_prompts import make_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..hearing.word_errors import Verifier
    from ..scheduling.stream import Stream
    from ..speech.synthesizer import Synthesizer
    from .segment_store import SegmentStore
    from .segments import Segment

_POLL_SECONDS = 0.2
_FULL_SCALE = 1 << 23


@dataclass(frozen=True)
class Outcome:
    """What came of a segment. samples: those that were written, float32 of shape (n,) at 24 kHz, None if it failed.

    attempts: how often it was generated; None: not known. seed: of the last round. word_errors: the word error rate;
    None: not heard. failure: why it failed; None: it did not.
    """

    segment: Segment
    samples: np.ndarray | None
    attempts: int | None
    seed: int
    word_errors: float | None = None
    failure: str | None = None


def record_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome for the log of a run."""
    return {
        "segment": outcome.segment.digest,
        "attempts": outcome.attempts,
        "seed": outcome.seed,
        "word_errors": outcome.word_errors,
        "failure": outcome.failure,
    }


def outcome_of(segment: Segment, record: dict[str, Any] | None) -> Outcome | None:
    """The outcome of a segment that an earlier run has spoken well. record: what that run logged, or None. Returns None
    for a record of other types."""
    if record is None or record.get("failure") is not None:
        return None
    attempts, seed, words = (record.get(name) for name in ("attempts", "seed", "word_errors"))
    if (
        not isinstance(attempts, (int, type(None)))
        or not isinstance(seed, int)
        or not isinstance(words, (int, float, type(None)))
    ):
        return None
    return Outcome(segment, None, attempts, seed, words)


def as_written(samples: np.ndarray) -> np.ndarray:
    """The samples as a file of segments gives them back: float32 of shape (n,) with 24 bits of an integer."""
    # float32 has 24 bits: scaling by a power of two, rounding and the limits are all exact
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1) * np.float32(1 / _FULL_SCALE)


class _Attempt:
    """A round of attempts of a segment that is in the scheduler. rounds: those before it."""

    def __init__(self, segment: Segment, stream: Stream, rounds: int, attempts: int) -> None:
        self.segment, self.stream, self.rounds, self.attempts = segment, stream, rounds, attempts
        self.chunks: list[np.ndarray] = []


class Speaking:
    """Speaks segments into a folder of segments.

    batch: segments generated together; 0: automatic. retries: further rounds for a segment that fails a check.
    verifier: hears each segment; None: no one does. max_wer: the greatest word error rate. done: called with each
    Outcome, in the order in which they end, on the thread that calls `speak`.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        store: SegmentStore,
        *,
        batch: int,
        retries: int,
        done: Callable[[Outcome], None],
        verifier: Verifier | None = None,
        max_wer: float = 0.3,
    ) -> None:
        self._synthesizer, self._store, self._done = synthesizer, store, done
        self._batch = batch or default_batch(synthesizer.model)
        self._retries, self._verifier, self._max_wer = retries, verifier, max_wer
        self._events: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._running: list[_Attempt] = []
        self._spoken: queue.Queue[Outcome | None] = queue.Queue(2 * self._batch + 2)
        self._write_error: Exception | None = None
        self.failed: list[Outcome] = []

    def speak(self, segments: Iterable[Segment], *, stop_at_failure: bool) -> None:
        """Speak segments. Segments that fail are in `failed` afterwards.

        stop_at_failure: begin no further segment after one has failed; those that have begun are finished. Raises
        OutputError if a segment cannot be written, and EngineError; what was spoken until then is kept.
        """
        writer = threading.Thread(target=self._write_all, name="qwen3tts segments", daemon=True)
        writer.start()
        waiting = iter(segments)
        try:
            self._run(waiting, stop_at_failure)
        finally:
            for each in self._running:
                each.stream.cancel()
            self._running.clear()
            self._spoken.put(None)
            writer.join()
        self._raise_write_error()

    def _run(self, waiting: Iterator[Segment], stop_at_failure: bool) -> None:
        more = True
        while more or self._running:
            more = more and not (stop_at_failure and self.failed)
            while more and len(self._running) < self._batch:
                segment = next(waiting, None)
                if segment is None:
                    more = False
                    break
                self._submit(segment, 0, 0)
            if self._running:
                with suppress(queue.Empty):
                    self._events.get(timeout=_POLL_SECONDS)
                self._synthesizer.lifetime.check()
                self._raise_write_error()
                self._collect()

    def _submit(self, segment: Segment, rounds: int, attempts: int) -> None:
        model, plan = self._synthesizer.model, segment.plan
        with self._synthesizer.lifetime.alone():
            prompt = make_prompt(model, model.checkpoint.tokenizer, segment.text, plan)
        job = plan.job(model, segment.text, prompt, segment.key, None)._replace(seed=segment.seed(rounds))
        consumer = Consumer(False, group=self, background=True)
        consumer.on_samples = lambda: self._events.put(None)
        self._running.append(_Attempt(segment, self._synthesizer.scheduler.submit(job, consumer), rounds, attempts))

    def _collect(self) -> None:
        for attempt in list(self._running):
            attempt.stream.consumer.begin_to_look()
            ended = attempt.stream.ended  # before the samples: what came before the end is there then
            while (pcm := attempt.stream.take()) is not None:
                attempt.chunks.append(pcm)
            if ended:
                self._running.remove(attempt)
                attempt.stream.forget()
                self._judge(attempt)

    def _judge(self, attempt: _Attempt) -> None:
        """Check what was generated; hand it to the writer, begin another round, or note the failure."""
        stream, segment = attempt.stream, attempt.segment
        if isinstance(stream.failure, EngineError):
            raise stream.failure
        attempts = attempt.attempts + len(stream.abandoned) + 1
        samples = np.concatenate(attempt.chunks) if attempt.chunks else np.empty(0, np.float32)
        words, why = None, None
        if stream.failure is not None:
            if not isinstance(stream.failure, GenerationError):
                raise stream.failure
            why = str(stream.failure)
        elif (why := check_segment(samples, text=segment.text)) is None and self._verifier is not None:
            words = self._verifier.check(samples, segment.text, segment.plan.language)
            if words > self._max_wer:
                why = f"word error rate {words:.2f}, {self._max_wer:.2f} is allowed"
        greedy = segment.plan.talker.greedy and segment.plan.predictor.greedy
        if why is not None and stream.failure is None and attempt.rounds < self._retries and not greedy:
            self._submit(segment, attempt.rounds + 1, attempts)
            return
        outcome = Outcome(segment, None if why else samples, attempts, segment.seed(attempt.rounds), words, why)
        if why is not None:
            self.failed.append(outcome)
            self._done(outcome)
            return
        self._spoken.put(outcome)
        self._done(outcome)

    # ---------------------------------------------------------------- the thread that writes
    def _write_all(self) -> None:
        while (outcome := self._spoken.get()) is not None:
            if self._write_error is None:
                try:
                    self._store.write(outcome.segment.digest, outcome.samples)
                except Exception as error:
                    self._write_error = error

    def _raise_write_error(self) -> None:
        if self._write_error is not None:
            raise self._write_error
