"""One WebSocket: messages of the client in, one speech after another out.

                 start                      end
  [no speech] ─────────► [text is coming] ─────► [speaking to the end] ── done ──► [no speech]
                                 │                        │
                                 └─── cancel, error ──────┴──► [no speech; text of the client is dropped]

A message that is wrong ends the connection. An error of a speech does not: the client may start another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ...errors import Qwen3TTSError
from ..errors import ApiError, StalledError
from ..guards import is_key, key_error
from ..handling.log import note_error
from ..settings import FIRST_MESSAGE_SECONDS, IDLE_SECONDS
from .growing_speech import GONE, GrowingSpeech, read_start
from .messages import Cancel, End, Flush, Start, Text, parse_message

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from ..openai.encoding import Encoders
    from ..state import ServerState
    from .messages import ClientMessage

_POLICY_VIOLATION = 1008  # RFC 6455, section 7.4.1


class Session:
    """See the module. websocket: is accepted. authorized: whether the client has given its key already."""

    def __init__(self, websocket: WebSocket, state: ServerState, encoders: Encoders, authorized: bool) -> None:
        self._websocket, self._state, self._encoders, self._authorized = websocket, state, encoders, authorized
        self._last = time.monotonic()  # when a message came or went
        self._speech: GrowingSpeech | None = None  # the one that takes text
        self._task: asyncio.Task[None] | None = None  # speaks
        self._dropping = False  # whether the text of the client belongs to a speech that has ended early

    async def run(self) -> None:
        """Serve the client until it leaves, is idle for too long, or sends what is wrong."""
        receiving = asyncio.ensure_future(self._websocket.receive())
        wait = FIRST_MESSAGE_SECONDS
        try:
            while True:
                left = self._last + wait - time.monotonic()
                tasks = {receiving} if self._task is None else {receiving, self._task}
                await asyncio.wait(tasks, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
                if self._task is not None and self._task.done():
                    task, self._task = self._task, None
                    task.result()
                if receiving.done():
                    message = receiving.result()
                    if message["type"] == "websocket.disconnect":
                        return
                    receiving = asyncio.ensure_future(self._websocket.receive())
                    wait, self._last = IDLE_SECONDS, time.monotonic()
                    await self._take(parse_message(message.get("text")))
                elif time.monotonic() >= self._last + wait:
                    raise _timeout(wait)
        except StalledError as error:
            self._websocket.state.facts["error"] = error.code
            self._websocket.state.connection.abort()
        except Qwen3TTSError as error:
            await self._stop()
            await self._end(error)
        except GONE:
            return
        finally:
            receiving.cancel()
            await self._stop()

    async def _send(self, message: dict[str, Any] | bytes) -> None:
        """Send audio, or the object of a JSON message. Waits while the client does not read."""
        self._last = time.monotonic()
        if isinstance(message, bytes):
            await self._websocket.send_bytes(message)
        else:
            await self._websocket.send_text(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    async def _end(self, error: Exception) -> None:
        """Tell the client what was wrong, and close the connection."""
        with contextlib.suppress(*GONE):
            await self._send_error(error)
            await self._websocket.close(_POLICY_VIOLATION)

    async def _send_error(self, error: Exception) -> None:
        request = self._websocket.state
        answer = note_error(self._state.log, error, id=request.request_id)
        request.facts["error"] = answer.code
        facts = {"code": answer.code, "message": answer.message, "param": answer.param, "exit_code": answer.exit_code}
        await self._send({"type": "error", **facts})

    # ---------------------------------------------------------------- messages of the client
    async def _take(self, message: ClientMessage) -> None:
        """Do what a message says. Raises ApiError for one that is wrong."""
        if not self._authorized:
            self._check_key(message)
        if isinstance(message, Start):
            await self._start(message)
        elif isinstance(message, Cancel):
            await self._stop()
            self._dropping = True
            await self._send({"type": "cancelled"})
        elif not self._dropping:
            await self._add(message)

    def _check_key(self, message: ClientMessage) -> None:
        key = message.key if isinstance(message, Start) else None
        if not key or not is_key(key, self._state.settings.api_keys):
            raise key_error(bool(key))
        self._authorized = True

    async def _start(self, message: Start) -> None:
        if self._task is not None:
            raise _refusal("start: a speech is running; send cancel, or send end and wait for done")
        self._speech, self._dropping = None, False
        try:
            request = await read_start(message.fields, self._state)
        except Qwen3TTSError as error:
            await self._fail_speech(error)
            return
        self._speech = GrowingSpeech(self._state, self._encoders, request, self._send)
        self._task = asyncio.create_task(self._speak(self._speech))

    async def _add(self, message: Text | Flush | End) -> None:
        speech = self._speech
        if speech is None or (speech.text.ended and isinstance(message, Text)):
            raise _refusal("no speech takes text now; send start first")
        if isinstance(message, Text):
            try:
                speech.text.put(message.text)
            except ApiError as error:  # too much text
                await self._stop()
                await self._fail_speech(error)
        elif isinstance(message, Flush):
            speech.text.flush()
        elif not speech.text.ended:
            speech.text.end()

    async def _speak(self, speech: GrowingSpeech) -> None:
        """Speak, and tell the client what failed."""
        try:
            facts = await speech.run()
            self._state.log.event("speech", id=self._websocket.state.request_id, **facts)
        except StalledError:
            raise
        except Exception as error:
            if isinstance(error, GONE) and not isinstance(error, Qwen3TTSError):
                raise
            await self._fail_speech(error)

    async def _fail_speech(self, error: Exception) -> None:
        """Tell the client that its speech has failed. Text of it that is on its way is dropped."""
        self._dropping = True
        await self._send_error(error)

    async def _stop(self) -> None:
        """Stop the speech that runs."""
        task, self._task = self._task, None
        self._speech = None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _refusal(message: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, code="unexpected_message", param="type", retry=False)


def _timeout(seconds: float) -> ApiError:
    text = f"no message came within {seconds:g} s"
    return ApiError(HTTPStatus.REQUEST_TIMEOUT, text, code="message_timeout", retry=False)
