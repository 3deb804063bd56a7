"""One connection of a Wyoming client: its events become requests, which are spoken one after another.

`describe` and `ping` are answered between the audio. After an error the connection is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from wyoming.event import Event, async_write_event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop

from ...errors import Qwen3TTSError
from ..errors import BusyError, StalledError, to_api_error
from ..handling.log import note_error
from ..settings import HEAD_SECONDS, IDLE_SECONDS
from .answer import answer_error, speak
from .events import EventReader, MalformedEventError
from .requests import growing_request, refusal, text_of, whole_request

if TYPE_CHECKING:
    from wyoming.event import Eventable

    from ..live.growing_text import GrowingText
    from ..state import ServerState
    from .requests import SpeechRequest
    from .voice_list import VoiceList

_MOST_REQUESTS = 16  # of a connection, that wait
_LINGER_SECONDS = 2.0  # for which a client may read the end of an answer, while what it sends is dropped


class Connection:
    """See the module. `run` returns when the connection is closed."""

    def __init__(
        self, state: ServerState, voices: VoiceList, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._state, self._voices, self._writer = state, voices, writer
        self._events = EventReader(reader)
        self._requests: asyncio.Queue[SpeechRequest] = asyncio.Queue()
        self._growing: GrowingText | None = None  # the text that the client sends now
        self._last = time.monotonic()  # when an event came or went
        self.speaks = False  # whether a request is being answered
        peer = writer.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else "unix"

    async def write(self, event: Event | Eventable) -> None:
        """Send an event. Waits while the client has not read enough of the earlier ones."""
        self._last = time.monotonic()
        await async_write_event(event if isinstance(event, Event) else event.event(), self._writer)

    async def run(self) -> None:
        """Serve the client until it leaves, is idle for too long, or a request fails."""
        speaking = asyncio.create_task(self._speak_all())
        reading = asyncio.ensure_future(self._events.read())
        wait = HEAD_SECONDS
        try:
            while True:
                left = self._last + wait - time.monotonic()
                await asyncio.wait({speaking, reading}, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
                if speaking.done():
                    await self._fail(speaking.exception())
                    return
                if reading.done():
                    if (event := reading.result()) is None:
                        return
                    wait, self._last = IDLE_SECONDS, time.monotonic()
                    reading = asyncio.ensure_future(self._events.read())
                    await self._take(event)
                elif time.monotonic() >= self._last + wait:
                    return
        except MalformedEventError as error:
            self._state.log.event("warning", client=self._client, message=f"Wyoming: malformed event: {error}")
        except (Qwen3TTSError, OSError) as error:
            await _end(speaking)
            await self._fail(error)
        finally:
            await _end(speaking)
            await self._close(reading)

    async def _take(self, event: Event) -> None:
        """Answer an event, or keep it for the task that speaks. Raises ApiError."""
        most, growing = self._state.settings.max_text, self._growing
        if Describe.is_type(event.type):
            await self.write(await self._voices.describe())
        elif Ping.is_type(event.type):
            await self.write(Pong(text=Ping.from_event(event).text))
        elif SynthesizeStart.is_type(event.type):
            if growing is not None:
                raise refusal("synthesize-start: found inside a stream, expected synthesize-stop first")
            request = growing_request(event, most)
            self._growing = request.text
            self._add(request)
        elif SynthesizeChunk.is_type(event.type) and growing is not None:
            growing.put(text_of(event))
        elif SynthesizeStop.is_type(event.type) and growing is not None:
            growing.end()
            self._growing = None
        elif Synthesize.is_type(event.type) and growing is None:
            # inside a stream it repeats the whole text, for servers that know no streams
            self._add(whole_request(event, most))

    def _add(self, request: SpeechRequest) -> None:
        if self._requests.qsize() >= _MOST_REQUESTS:
            raise BusyError(f"more than {_MOST_REQUESTS} requests wait on this connection")
        self._requests.put_nowait(request)

    async def _speak_all(self) -> None:
        """Speak the requests in order. Raises the error of the first one that fails."""
        while True:
            request = await self._requests.get()
            self.speaks, began, status, facts = True, time.perf_counter(), 200, {}
            try:
                facts = await speak(request, self._state, self._voices.voices, self.write)
            except BaseException as error:
                status = to_api_error(error).status if isinstance(error, Qwen3TTSError) else 499
                raise
            finally:
                self.speaks = False
                self._note(status, time.perf_counter() - began, facts)

    def _note(self, status: int, seconds: float, facts: dict[str, object]) -> None:
        self._state.metrics.requests.labels("wyoming", str(status)).inc()
        shown = {"method": "WYOMING", "path": "synthesize", "status": status, "seconds": seconds, **facts}
        self._state.log.event("request", client=self._client, **shown)

    async def _fail(self, error: BaseException | None) -> None:
        """Tell the client that its request failed."""
        if error is None or (isinstance(error, OSError) and not isinstance(error, Qwen3TTSError)):
            return  # the client has left
        if isinstance(error, StalledError):
            self._writer.transport.abort()
            return
        answer = note_error(self._state.log, error)
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(answer_error(answer, self.write), _LINGER_SECONDS)

    async def _close(self, reading: asyncio.Future[Event | None]) -> None:
        """Close the connection. What the client sends is read for a while, because data that nobody has read would make
        the kernel drop the end of an answer."""
        deadline = time.monotonic() + _LINGER_SECONDS
        try:
            with contextlib.suppress(OSError, RuntimeError, MalformedEventError):
                self._writer.write_eof()
                while True:
                    await asyncio.wait({reading}, timeout=max(0.0, deadline - time.monotonic()))
                    if not reading.done() or reading.result() is None:
                        break
                    reading = asyncio.ensure_future(self._events.read())
        finally:
            reading.cancel()
            self._writer.close()


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel a task, and wait for its end."""
    task.cancel()
    await asyncio.wait({task})
