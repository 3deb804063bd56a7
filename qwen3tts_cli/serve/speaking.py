"""The speech of a request: admitted in the order of arrival, read as it is made, ended when nobody reads it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..speech.asynchronous import AsyncSpeech
from .errors import AudioLimitError, StoppingError
from .handling.stall import Stall
from .places import Places

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from ..speech.speak_options import SpeakOptions
    from ..speech.stream import Speech
    from .engines import Engines, ServedModel
    from .metrics import Metrics
    from .settings import ServeSettings

# After these seconds others may speak: in which the reader asked for no samples, or a growing text gave none.
_READER_PAUSES, _TEXT_PAUSES = 0.25, 1.0


class Speaker:
    """Speaks for all requests of a server. See the module. Only the event loop of the server may use it.

    >>> async with speaker.speak(served, "Good morning.", options) as speaking:
    ...     async for samples in speaking:
    ...         await send(samples)
    """

    def __init__(self, settings: ServeSettings, engines: Engines, metrics: Metrics) -> None:
        self.settings, self.engines, self.metrics = settings, engines, metrics
        self.places = Places(engines.max_batch, settings.max_queue)
        self.stopping = False
        self._open: set[Speaking] = set()

    def speak(
        self,
        served: ServedModel,
        text: str | AsyncIterable[str],
        options: SpeakOptions,
        *,
        stall: bool = True,
        unsent: Callable[[], int] | None = None,
    ) -> Speaking:
        """The speech of a text, for `async with`. stall: whether a reader that takes nothing is dropped. unsent: the
        bytes that wait for the reader behind the task: where they become fewer, the reader takes something.

        Entering waits for a place, the model and the first samples, and raises what fails before them: BusyError,
        LoadingError, and as Synthesizer.speak and Speech do. If the text is still coming, entering returns at once, a
        place is taken when the first text comes, and the errors are raised by the iteration.
        """
        return Speaking(self, served, text, options, Stall(self.settings.stall, unsent) if stall else None)

    @property
    def open(self) -> int:
        """How many requests are inside `speak`: those that speak, and those that wait."""
        return len(self._open)

    def fail_all(self) -> None:
        """End all speech with StoppingError."""
        self.stopping = True
        self.places.refuse_waiting(StoppingError())
        for speaking in list(self._open):
            speaking.fail(StoppingError())


class Speaking:
    """The speech of one request: an async context manager, and an async iterator of float32 arrays of shape (n,) at
    the rate of the options. One task enters, iterates and leaves. Leaving at any time cancels the speech.

    The iteration raises AudioLimitError for speech that is too long, and as Speech does. A task whose reader takes
    nothing is cancelled; leaving raises StalledError then.
    """

    def __init__(
        self,
        speaker: Speaker,
        served: ServedModel,
        text: str | AsyncIterable[str],
        options: SpeakOptions,
        stall: Stall | None,
    ) -> None:
        self.served = served
        self._speaker, self._text = speaker, text
        self._options = options if options.live or isinstance(text, str) else replace(options, live=True)
        self._stall = stall
        self._stack = AsyncExitStack()
        self._samples: AsyncSpeech | None = None
        self._waited = 0.0  # seconds in which the reader waited for samples
        self._first: np.ndarray | None = None
        self._place: _Place | None = None
        self._ended = False
        self._task: asyncio.Task[object] | None = None
        self._failure: Exception | None = None
        self._began = time.perf_counter()
        self._due: float | None = None  # when a listener who began at the first samples needs the next ones

    @property
    def speech(self) -> Speech | None:
        """The speech with its counters; None before the first samples."""
        return None if self._samples is None else self._samples.speech

    async def __aenter__(self) -> Speaking:
        speaker = self._speaker
        if speaker.stopping:
            raise StoppingError
        self._task = asyncio.current_task()
        speaker._open.add(self)
        self._stack.callback(speaker._open.discard, self)
        try:
            if isinstance(self._text, str):
                await self._begin(self._text)
                self._first = await self._next()
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._stall is not None:
            self._stall.end()
        task, self._task = self._task, None  # from here on `fail` does nothing
        await self._stack.aclose()
        if self._failure is not None and kind is not None and issubclass(kind, asyncio.CancelledError):
            if hasattr(task, "uncancel"):  # Python 3.11
                task.uncancel()
            raise self._failure from None

    async def _begin(self, text: str | AsyncIterable[str]) -> None:
        """Wait for a place and the model, and begin to speak."""
        self._began = time.perf_counter()
        places = self._speaker.places
        await places.take()
        self._place = _Place(places)
        self._stack.callback(self._place.end)
        synthesizer = await self._stack.enter_async_context(self._speaker.engines.use(self.served))
        self._samples = AsyncSpeech(synthesizer, text, self._options)
        self._stack.push_async_callback(self._samples.aclose)

    def __aiter__(self) -> Speaking:
        return self

    async def __anext__(self) -> np.ndarray:
        if self._stall is not None:
            self._stall.end()
        if self._place is not None:
            self._place.take_back()
        pcm, self._first = self._first, None
        if pcm is None and not self._ended:
            if self._samples is None:
                await self._begin(await _from_first(self._text))  # type: ignore[arg-type]
            pcm = await self._next()
        if self._stall is not None:  # also at the end, when the last samples may wait for the reader
            self._stall.begin(self.fail)
        if pcm is None:
            raise StopAsyncIteration
        if self._place is not None:
            self._place.pause_in(_READER_PAUSES)
        return pcm

    async def _next(self) -> np.ndarray | None:
        """The next samples; None at the end."""
        asked = time.perf_counter()
        if self._place is not None and not isinstance(self._text, str):
            self._place.pause_in(_TEXT_PAUSES)
        try:
            pcm = await self._samples.__anext__()  # type: ignore[union-attr]
        except StopAsyncIteration:
            self._ended = True
            if self.speech is not None and self.speech.samples:
                self._speaker.metrics.real_time_factor.observe(self._waited / self.speech.seconds)
            return None
        finally:
            self._waited += time.perf_counter() - asked
            if self._place is not None:
                self._place.take_back()
        speech = self.speech
        assert speech is not None
        if speech.seconds > (limit := self._speaker.settings.max_audio_seconds):
            raise AudioLimitError(limit)
        self._note(len(pcm) / speech.rate, asked)
        return pcm

    def _note(self, seconds: float, asked: float) -> None:
        """Count samples. seconds: their length. asked: when the reader asked for them."""
        now, metrics = time.perf_counter(), self._speaker.metrics
        metrics.audio_seconds.inc(seconds)
        if self._due is None:
            self._due = now
            metrics.first_audio_seconds.observe(now - self._began)
        elif now > self._due:
            if isinstance(self._text, str):  # a text that is still coming may have paused
                metrics.late_seconds.inc(min(now - self._due, now - asked))
            self._due = now
        self._due += seconds

    def fail(self, error: Exception) -> None:
        """End the speech: the task that reads it is cancelled and gets the error when it leaves the block."""
        if self._failure is None and self._task is not None:
            self._failure = error
            self._task.cancel()


class _Place:
    """The place of one speech, given to others while the speech pauses."""

    def __init__(self, places: Places) -> None:
        self._places, self._has = places, True
        self._timer: asyncio.TimerHandle | None = None

    def pause_in(self, seconds: float) -> None:
        """Give the place to others unless `take_back` is called within so many seconds."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._pause)

    def _pause(self) -> None:
        self._timer, self._has = None, False
        self._places.leave()

    def take_back(self) -> None:
        """End the pause, if there is one."""
        self._stop_timer()
        if not self._has:
            self._has = True
            self._places.take_back()

    def end(self) -> None:
        """Give the place to others for good."""
        self._stop_timer()
        if self._has:
            self._has = False
            self._places.leave()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _from_first(texts: AsyncIterable[str]) -> AsyncIterator[str]:
    """The same texts, once the first one has come or there is none."""
    iterator = texts.__aiter__()
    first: list[str] = []
    with suppress(StopAsyncIteration):
        first.append(await iterator.__anext__())

    async def all_texts() -> AsyncIterator[str]:
        for text in first:
            yield text
        if first:
            async for text in iterator:
                yield text

    return all_texts()
