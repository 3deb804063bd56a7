"""Who reads the samples: a consumer reads the streams of its jobs one after another, and waits for the next samples."""

from __future__ import annotations

import queue
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..common.audio_constants import SAMPLE_RATE
from .attempts import Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import numpy as np

    from .job import Job


class Consumer:
    """The reader of the streams of one speech, or of several speeches one after another.

    live: whether somebody listens while the samples are made. group: consumers of the same group share their part of
    the engine; None: a group of its own. background: whether the reader is no thread that may step the engine itself.
    speed: seconds of generated samples that are heard in a second. on_samples: called, from any thread, when samples or
    the end of a stream are there; it must not block.
    """

    def __init__(self, live: bool, *, group: Hashable = None, background: bool = False, speed: float = 1.0) -> None:
        self.live, self.group, self.background = live, self if group is None else group, background
        self.on_samples: Callable[[], None] | None = None
        self.generations: deque[Generation] = deque()  # in the order in which they are read; those not read to the end
        self.loop: object = None  # the engine loop that has its jobs; a forked child has another one
        self.taken = 0  # samples that the reader has taken
        self.parked = False  # whether a generation waits until the reader takes samples
        self._rate = SAMPLE_RATE * speed  # generated samples that are heard in a second
        self._playback_start: float | None = None  # later by every time that playback ran dry
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._signalled = False

    def notify(self) -> None:
        """Wake the reader. May be called from a signal handler and a finaliser."""
        if not self._signalled:
            self._signalled = True
            self._signals.put(None)
        if (call := self.on_samples) is not None:
            with suppress(RuntimeError):  # the event loop of the reader is closed
                call()

    def begin_to_look(self) -> None:
        """Forget earlier calls of `notify`. The reader calls it before it looks for samples."""
        self._signalled = False
        with suppress(queue.Empty):
            while True:
                self._signals.get_nowait()

    @property
    def notified(self) -> bool:
        """Whether `notify` was called after `begin_to_look`."""
        return self._signalled

    def wait(self, seconds: float) -> None:
        """Wait for `notify`, for at most so many seconds."""
        if not self._signalled:
            with suppress(queue.Empty):
                self._signals.get(timeout=max(0.0, seconds))

    @property
    def is_open(self) -> bool:
        """Whether a job of the consumer has not ended."""
        return any(not each.ended for each in list(self.generations))

    def add_taken(self, samples: int) -> None:
        """Record that the reader has taken so many samples."""
        if self._playback_start is None and samples:
            self._playback_start = time.perf_counter()
        self.taken += samples

    def unread_samples(self) -> int:
        """Samples that the reader can take before it must wait for the generation of more."""
        total = 0
        for generation in list(self.generations):
            total += generation.unread
            if not generation.ended:
                break
        return total

    def lead_seconds(self, now: float) -> float | None:
        """Seconds of audio that the reader has ahead: audio made minus time since playback began, but no less than what
        it has not taken yet. None if there were no samples yet.
        """
        samples = self.unread_samples()
        unread = samples / self._rate
        if self._playback_start is None:
            return unread if samples else None
        lead = self.taken / self._rate + unread - (now - self._playback_start)
        if lead < 0:  # playback stopped: it continues with the next samples
            self._playback_start -= lead
        return max(lead, unread)


class Generation:
    """A job in the scheduler: its utterance, and the samples that its reader has not taken yet.

    Only the engine loop changes it, except for `cancelled`, which any thread may set, and `chunks`, from which the
    reader takes. admitted: whether its session was opened. ended: no more samples come. failure: why it failed.
    """

    def __init__(self, job: Job, consumer: Consumer, chunk_frames: int, number: int, now: float) -> None:
        """number: counts the jobs of a scheduler in the order of arrival. now: the time of arrival."""
        self.job, self.consumer, self.number, self.stepped_at = job, consumer, number, now
        self.utterance = Utterance(job, chunk_frames)
        self.admitted = self.ended = self.cancelled = False
        self.failure: Exception | None = None
        self.chunks: deque[np.ndarray] = deque()
        self.released = self.read = 0  # samples put into `chunks` and taken out of it
        self.position_bytes = 0  # memory for one position, known when the job is to be admitted
        self.reserved_bytes = 0  # memory that the session is expected to take

    @property
    def unread(self) -> int:
        """The number of samples that the reader can take."""
        return self.released - self.read

    def release(self) -> None:
        """Hand the samples that may be released to the reader."""
        for pcm in self.utterance.take():
            self.released += len(pcm)
            self.chunks.append(pcm)

    def end(self, failure: Exception | None) -> None:
        """End the generation and close its session. failure: why it failed, or None. Raises nothing of its own."""
        if self.ended:
            return
        self.failure = failure
        try:
            self.utterance.close()
        except Exception as error:
            self.failure = failure or error
        finally:
            self.ended = True
            self.consumer.notify()
