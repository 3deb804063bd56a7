"""Read the streams of utterances in order: submit the next utterances early, and cut the speech at its frame limit."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from ..common.machine import available_bytes
from ..errors import EngineError
from ..scheduling.consumer import Consumer
from ..scheduling.guard import expected_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.model import Model
    from ..scheduling.job import Job
    from ..scheduling.scheduler import Scheduler
    from ..scheduling.stream import Stream
    from .stream import Speech

USUAL_BATCH = 8  # more utterances hardly raise the throughput of a CPU
USUAL_POSITIONS = 512  # positions of an utterance of half a minute with its prompt
_ASSUMED_FREE_BYTES = 2 << 30  # if the system does not tell the free memory


def default_batch(model: Model) -> int:
    """How many utterances to generate together on this machine: 1 to 8, within a quarter of the free memory."""
    free = available_bytes() or _ASSUMED_FREE_BYTES
    return max(1, min(USUAL_BATCH, free // 4 // (model.position_bytes * USUAL_POSITIONS)))


class Silence:
    """A pause between utterances. samples: its length before the output chain, in samples at 24 kHz; at least 1."""

    def __init__(self, samples: int) -> None:
        self.samples = samples


class Pending(Exception):
    """There is nothing to read yet, or no utterance to submit yet."""


class _Entry:
    """An utterance that was submitted: its speech, its job and its stream. error: why there is no job.

    A pause has no stream: its job is its silence.
    """

    def __init__(
        self, speech: Speech, job: Job | Silence | None, stream: Stream | None, error: Exception | None
    ) -> None:
        self.speech, self.job, self.stream, self.error = speech, job, stream, error
        self.taken = 0  # samples taken from the stream and handed on
        self.skip = 0  # samples at the start of the stream that were handed on before it was generated again
        self.limit: int | None = None  # frames to which the utterance is cut, once its stream was cancelled


class InOrder:
    """Reads the samples of utterances strictly in order.

    An utterance is submitted while fewer than `batch` have not ended. Its frame limit, and whether it is needed, are
    known when its turn has come: it is then cut to the frames that are left, or generated again if an attempt of it was
    abandoned behind the cut, where nobody would have noticed. So the samples do not depend on `batch`.

    utterances: returns the next (speech, job, error), job or error being None; None at the end. A pause is Silence in
    place of a job. It raises Pending if there is none yet; another exception is raised to the reader in its turn.
    live: whether somebody listens, who hears `speed` seconds of generated samples in a second. only: the speech that
    all utterances belong to, or None if they belong to several.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        utterances: Callable[[], tuple[Speech, Job | Silence | None, Exception | None] | None],
        batch: int,
        live: bool,
        *,
        only: Speech | None = None,
        background: bool = False,
        speed: float = 1.0,
    ) -> None:
        self.scheduler, self.consumer = scheduler, Consumer(live, background=background, speed=speed)
        self._utterances, self._batch, self._live, self._only = utterances, batch, live, only
        self._window: deque[_Entry] = deque()  # submitted and not yet read completely
        self._more, self._heard = True, False
        self._failure: Exception | None = None  # the error of `utterances`, raised once the window is empty

    def poll(self, check: Callable[[], None]) -> tuple[Speech, np.ndarray] | None:
        """The next (speech, samples), float32 of shape (n,), or None at the end. Never waits for the engine.

        check: raises if the reading must stop. Raises Pending if there are no samples yet, and the errors of the
        utterances in their turn. If an exception interrupts it that is no error, such as KeyboardInterrupt, samples may
        be lost: later calls raise EngineError.
        """
        self.consumer.begin_to_look()  # before `check`: what changes after it wakes the reader
        check()
        try:
            return self._look()
        except Exception:
            raise
        except BaseException:
            self._more, self._failure = False, EngineError("the stream was interrupted")
            self.cancel()
            self._window.clear()
            raise

    def _look(self) -> tuple[Speech, np.ndarray] | None:
        while True:
            self._submit()
            if not self._window:
                if self._failure is not None:
                    raise self._failure
                if self._more:
                    raise Pending
                return None
            entry = self._window[0]
            pcm = self._read(entry)
            if pcm is not None:
                self._heard = True
                return entry.speech, pcm

    def _read(self, entry: _Entry) -> np.ndarray | None:
        """The next samples of the first entry; None if the window or the entry has changed. Raises Pending."""
        speech, stream = entry.speech, entry.stream
        if entry.error is not None:
            self._window.popleft()
            raise entry.error
        if isinstance(entry.job, Silence):
            self._window.popleft()
            return None if speech.at_limit else np.zeros(entry.job.samples, np.float32)
        if speech.at_limit:
            speech.stop = "max_frames"
            self._leave(entry)
            return None
        if entry.limit is not None:
            return self._end(entry)
        ended, left = stream.ended, speech.frames_left
        if ended and left is not None and not (self._live and stream.has_samples) and self._must_repeat(entry, left):
            self._repeat(entry, left)
            return None
        if not ended and not self._live:
            raise Pending
        pcm = stream.take()
        if pcm is None:
            if not ended:
                raise Pending
            return self._end(entry)
        speech.note_first_audio()
        return self._cut(entry, pcm, left)

    def _cut(self, entry: _Entry, pcm: np.ndarray, left: int | None) -> np.ndarray | None:
        """The part of the samples that is handed on. Cancels the stream at the limit of `left` frames."""
        skipped = min(entry.skip, len(pcm))
        entry.skip -= skipped
        pcm = pcm[skipped:]
        if left is not None:
            room = left * entry.speech.frame_samples - entry.taken
            if len(pcm) >= room and entry.stream.frames > left:
                entry.limit = left
                entry.stream.cancel()
            pcm = pcm[:room]
        entry.taken += len(pcm)
        return pcm if len(pcm) else None

    def _repeat(self, entry: _Entry, left: int) -> None:
        """Generate the utterance of the first entry again, with the frames that are left as its limit."""
        self._leave(entry)
        again = self._entry(entry.speech, entry.job._replace(max_frames=left), None)
        again.taken = again.skip = entry.taken
        self._window.appendleft(again)
        self.consumer.generations.rotate(1)  # it was submitted last and is read first

    def _must_repeat(self, entry: _Entry, left: int) -> bool:
        """Whether an attempt was abandoned, or failed, behind the cut."""
        stream = entry.stream
        if entry.job.max_frames is not None and entry.job.max_frames <= left:
            return False
        return any(n > left for n in stream.abandoned) or (stream.failure is not None and stream.frames > left)

    def _end(self, entry: _Entry) -> None:
        """Take the first entry, all of whose samples are read, out of the window. Raises its error."""
        stream, limit = entry.stream, entry.limit
        if not stream.ended:
            raise Pending  # its session is being closed
        self._leave(entry)
        if limit is not None:
            entry.speech.add_finished(stream, limit, "max_frames")
        else:
            entry.speech.add_finished(stream, stream.frames, stream.stop)

    def _leave(self, entry: _Entry) -> None:
        self._window.popleft()
        entry.stream.cancel()
        entry.stream.forget()

    # ---------------------------------------------------------------- submitting
    def _submit(self) -> None:
        """Submit the next utterances as far as they are wanted."""
        while self._more and self._has_room():
            try:
                following = self._utterances()
            except Pending:
                return
            except Exception as failure:
                self._failure, following = failure, None
            if following is None:
                self._more = False
                return
            self._window.append(self._entry(*following))

    def _entry(self, speech: Speech, job: Job | Silence | None, error: Exception | None) -> _Entry:
        needs_stream = job is not None and not isinstance(job, Silence)
        return _Entry(speech, job, self.scheduler.submit(job, self.consumer) if needs_stream else None, error)

    def _has_room(self) -> bool:
        if not self._window:
            return True
        if self._live and not self._heard:
            return False  # nothing delays the first samples
        unfinished = sum(each.stream is not None and not each.stream.ended for each in self._window)
        return unfinished < self._batch and len(self._window) < 2 * self._batch and not self._takes_all_frames()

    def _takes_all_frames(self) -> bool:
        """Whether the utterances in the window are expected to use all the frames left: more would be discarded."""
        if self._only is None or self._only.frames_left is None:
            return False
        left = self._only.frames_left * self._only.model.config.codec.frame_seconds
        return sum(expected_seconds(each.job.text) for each in self._window if each.stream is not None) >= left

    def cancel(self) -> None:
        """Stop all utterances and wake the reader. Never waits; any thread and a signal handler may call it."""
        for entry in list(self._window):
            if entry.stream is not None:
                entry.stream.cancel()
        self.consumer.notify()
