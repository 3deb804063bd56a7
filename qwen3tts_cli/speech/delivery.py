"""The last step before samples leave the Python API: the output chain of each speech, and its counters."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..errors import EngineError
from .reader import Pending

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from .reader import InOrder
    from .stream import Speech


class Delivery:
    """Reads samples in order, passes them through the output chain of their speech, and counts them.

    A speech ends where the next one begins. The remaining output of a speech also comes before an error, unless it is
    an EngineError: the model or the speech was closed. After an error nothing follows, or the same EngineError.
    """

    def __init__(self, reader: InOrder) -> None:
        self.reader = reader
        self._ready: deque[tuple[Speech, np.ndarray]] = deque()
        self._current: Speech | None = None
        self._failure: Exception | None = None
        self._ended = False

    def poll(self, check: Callable[[], None]) -> tuple[Speech, np.ndarray] | None:
        """The next (speech, samples), float32 of shape (n,), or None at the end. Never waits for the engine.

        check: raises if the reading must stop; see InOrder.poll. Raises Pending if there are no samples yet, and the
        errors of the utterances in their turn. An interrupt, such as KeyboardInterrupt, may lose samples: later calls
        raise EngineError.
        """
        try:
            return self._look(check)
        except Exception:
            raise
        except BaseException:
            self._ended, self._failure = True, EngineError("the stream was interrupted")
            self.reader.cancel()
            self._ready.clear()
            raise

    def _look(self, check: Callable[[], None]) -> tuple[Speech, np.ndarray] | None:
        while not self._ready:
            if self._failure is not None:
                failure = self._failure
                if not isinstance(failure, EngineError):
                    self._failure = None
                raise failure
            if self._ended:
                return None
            try:
                found = self.reader.poll(check)
            except Pending:
                raise
            except Exception as error:
                self._ended, self._failure = True, error
                self.reader.cancel()
                if not isinstance(error, EngineError):
                    self._end_current()
                continue
            if found is None:
                self._ended = True
                self._end_current()
                continue
            speech, generated = found
            if speech is not self._current:
                self._end_current()
                self._current = speech
            speech.spoken_texts.add_samples(len(generated))
            self._count(speech, speech.chain.feed(generated))
        return self._ready.popleft()

    def next(self, check: Callable[[], None], deadline: float | None = None) -> tuple[Speech, np.ndarray] | None:
        """What `poll` returns, once it is there.

        check: see `poll`. deadline: a time of time.monotonic. Raises TimeoutError after it; nothing is lost then.
        """
        while True:
            try:
                return self.poll(check)
            except Pending:
                if not self.reader.scheduler.wait(self.reader.consumer, deadline):
                    raise TimeoutError("no samples in the given time") from None

    def _end_current(self) -> None:
        speech, self._current = self._current, None
        if speech is None:
            return
        self._count(speech, speech.chain.finish())
        if speech.chain.was_cut or (speech.chain.is_full and speech.stop == "max_frames"):
            speech.stop = "max_seconds"

    def _count(self, speech: Speech, samples: np.ndarray) -> None:
        if not len(samples):
            return
        if not speech.samples and speech.plan.live:
            speech.first_audio_seconds = None  # a listener hears what the chain yields, not what was decoded
            speech.note_first_audio()
        speech.samples += len(samples)
        self._ready.append((speech, samples))
