"""What happens around every request: its id, its line in the log, its end when the client leaves, errors as JSON."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect

from ..errors import ApiError, BusyError, StalledError, StoppingError
from .log import note_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ..metrics import Metrics
    from .log import Log

_SPEAK_PATH = "/v1/speak"  # its client is `say --server`, which ends with the exit code of an error
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


class Requests:
    """ASGI middleware, the outermost one. A request has the id of its header `x-request-id`, or a random one; facts
    that a route puts into `scope["state"]["facts"]` are logged with it."""

    def __init__(self, app: ASGIApp, log: Log, metrics: Metrics) -> None:
        self.app, self._log, self._metrics = app, log, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        given = Headers(scope=scope).get("x-request-id", "")
        state["request_id"] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        state["facts"] = {}
        record = _Record(scope, send)
        try:
            if scope["type"] == "websocket":
                await self.app(scope, receive, record.send)
            else:
                await _until_left(self.app, scope, receive, record)
        finally:
            self._write(scope, record)

    def _write(self, scope: Scope, record: _Record) -> None:
        state, client = scope["state"], scope.get("client")
        route = getattr(scope.get("route"), "path", "other")
        status = record.status or 499  # the client left before there was an answer
        self._metrics.requests.labels(route, str(status)).inc()
        self._log.event(
            "request",
            client=client[0] if client else "unix",
            method=scope.get("method", "WEBSOCKET"),
            path=scope["path"][:200],
            status=status,
            bytes=record.bytes,
            seconds=time.perf_counter() - record.began,
            id=state["request_id"],
            end=record.end,
            **state["facts"],
        )


class _Record:
    """What was sent to a client. end: how an answer ended that did not end well."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self.began, self.status, self.bytes = time.perf_counter(), 0, 0
        self.end: str | None = None
        self.complete = False

    async def send(self, message: Message) -> None:
        """Pass a message on; the first one gets the request id."""
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
            self.status = message.get("status", 101)
            message.setdefault("headers", [])
            MutableHeaders(scope=message)["x-request-id"] = self._scope["state"]["request_id"]
        await self._send(message)
        self.bytes += len(message.get("body") or message.get("bytes") or message.get("text") or b"")
        if kind.endswith("http.response.body"):
            self.complete = not message.get("more_body", False)


async def _until_left(app: ASGIApp, scope: Scope, receive: Receive, record: _Record) -> None:
    """Run the application; cancel it when the client leaves."""
    body_ended = asyncio.Event()
    left = asyncio.Event()

    async def received() -> Message:
        if body_ended.is_set():
            await left.wait()
            return {"type": "http.disconnect"}
        message = await receive()
        if message["type"] == "http.disconnect":
            left.set()
        if not message.get("more_body", False):
            body_ended.set()
        return message

    async def watch(task: asyncio.Task[None]) -> None:
        await body_ended.wait()
        while not left.is_set():
            if (await receive())["type"] == "http.disconnect":
                left.set()
        if not record.complete:
            record.end = "client left"
            task.cancel()

    running = asyncio.ensure_future(app(scope, received, record.send))
    watching = asyncio.ensure_future(watch(running))
    try:
        await running
    except asyncio.CancelledError:
        if record.end is None:  # the server ends; that cancelled the application too
            raise
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


class Errors:
    """ASGI middleware: an error of the application becomes an answer with an error object. If the answer has begun, the
    connection is cut instead."""

    def __init__(self, app: ASGIApp, log: Log) -> None:
        self.app, self._log = app, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            if getattr(scope["state"].get("connection"), "refused", False):
                raise BusyError("too many connections", "too_many_connections", close=True)
            await self.app(scope, receive, noting)
        except ClientDisconnect:
            return  # the client left before the end of its request
        except Exception as error:
            answer = self._note(scope, error)
            if not started:
                await send_error(scope, send, answer)
            elif scope["type"] == "http":
                _cut(scope, answer)

    def _note(self, scope: Scope, error: Exception) -> ApiError:
        """The answer for an error; what the client does not learn of it is logged."""
        answer = note_error(self._log, error, id=scope["state"]["request_id"])
        scope["state"]["facts"].setdefault("error", answer.code)
        return answer


def _cut(scope: Scope, error: ApiError) -> None:
    """End an answer that has begun, so that the client notices that it is not complete."""
    connection = scope["state"].get("connection")
    if connection is not None:
        # HTTP/1.0 has no chunks: the end of the connection would be a clean end of the body
        connection.cut(at_once=isinstance(error, (StalledError, StoppingError)) or scope["http_version"] == "1.0")


async def send_error(scope: Scope, send: Send, error: ApiError) -> None:
    """Answer a request, or refuse a WebSocket, with an error object."""
    body = error.json(**({"exit_code": error.exit_code} if scope["path"] == _SPEAK_PATH else {}))
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    prefix = "websocket." if scope["type"] == "websocket" else ""
    await send({"type": f"{prefix}http.response.start", "status": int(error.status), "headers": raw})
    await send({"type": f"{prefix}http.response.body", "body": body})
