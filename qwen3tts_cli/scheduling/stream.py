"""A stream: the reader's end of a job."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .consumer import Consumer, Generation
    from .job import Job
    from .scheduler import Scheduler


class Stream:
    """The samples of one job. Scheduler.submit returns one. One thread at a time may read; any thread may cancel.

    Dropping the last reference cancels the job. Attributes, valid once `ended` is true: frames, stop, timings,
    abandoned, failure; see attempts.Utterance.
    """

    def __init__(self, scheduler: Scheduler, generation: Generation) -> None:
        self._scheduler, self._generation = scheduler, generation

    @property
    def job(self) -> Job:
        """The job of this stream."""
        return self._generation.job

    @property
    def consumer(self) -> Consumer:
        """The consumer that reads this stream."""
        return self._generation.consumer

    @property
    def ended(self) -> bool:
        """Whether no more samples come, and the session is closed."""
        return self._generation.ended

    @property
    def has_samples(self) -> bool:
        """Whether `take` would return samples."""
        return bool(self._generation.chunks)

    @property
    def frames(self) -> int:
        """The number of frames generated so far, of the current attempt."""
        return self._generation.utterance.frames

    @property
    def stop(self) -> str | None:
        """Why the utterance ended well, "eos" or "max_frames"; None if it has not."""
        return self._generation.utterance.stop

    @property
    def abandoned(self) -> list[int]:
        """The frames of each attempt that ran away and was made again."""
        return self._generation.utterance.abandoned

    @property
    def timings(self) -> dict[str, float]:
        """Seconds spent on "prefill", "talker", "predictor" and "codec"."""
        return self._generation.utterance.timings

    @property
    def failure(self) -> Exception | None:
        """Why the job failed; to be raised after its samples."""
        return self._generation.failure

    def codes(self, frames: int) -> np.ndarray:
        """The codes of the first frames: int32 of shape (at most `frames`, code groups)."""
        parts = list(self._generation.utterance.codes)
        groups = self._generation.job.model.config.num_code_groups
        return np.concatenate([np.empty((0, groups), np.int32), *parts])[:frames]

    def take(self) -> np.ndarray | None:
        """The next samples if there are any, float32 of shape (n,); else None. Never waits."""
        generation = self._generation
        if not generation.chunks:
            return None
        pcm = generation.chunks.popleft()
        generation.read += len(pcm)
        generation.consumer.add_taken(len(pcm))
        self._scheduler.note_taken(generation.consumer)
        return pcm

    def read(self, timeout: float | None = None) -> np.ndarray | None:
        """Wait for the next samples. Returns float32 of shape (n,), or None at the end.

        timeout: the most seconds to wait; None: no limit. Raises TimeoutError after them; nothing is lost then. Raises
        the error of the job after its samples.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self.consumer.begin_to_look()
            if (pcm := self.take()) is not None:
                return pcm
            if self.ended and not self._generation.chunks:
                self.forget()
                if self.failure is not None:
                    raise self.failure
                return None
            if not self._scheduler.wait(self.consumer, deadline):
                raise TimeoutError("no samples in the given time")

    def cancel(self) -> None:
        """Stop the job: its session is closed before the next frame. Never waits; a signal handler may call it."""
        self._generation.cancelled = True
        if not self._generation.ended:
            self._scheduler.note_cancelled(self._generation)

    def forget(self) -> None:
        """Take the stream out of the consumer's order of reading: it was read to its end, or never will be."""
        with suppress(ValueError):
            self.consumer.generations.remove(self._generation)

    def __del__(self) -> None:
        self.cancel()
        self.forget()
