"""Answers that are sent while they are made: an error after the first byte is never a clean end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send


class Answer:
    """The answer to a request, sent in pieces. started: whether the status was sent; an error raised before becomes an
    answer of its own, and one raised afterwards cuts the connection. unsent: see Speaker.speak."""

    def __init__(self, send: Send, unsent: Callable[[], int] | None = None) -> None:
        self._send, self.started, self.unsent = send, False, unsent

    async def start(self, headers: Mapping[str, str], status: int = 200) -> None:
        """Send the status and the headers."""
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes) -> None:
        """Send a piece of the body. Waits while the client has not read enough of the earlier ones."""
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """End the body well."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def streaming(handle: Callable[[Request, Answer], Awaitable[None]]) -> ASGIApp:
    """The endpoint of a route whose function sends the answer while it makes it.

    handle: is cancelled when the client leaves.

    >>> async def count(request: Request, answer: Answer) -> None:
    ...     await answer.start({"Content-Type": "text/plain"})
    ...     await answer.write(b"one two")
    ...     await answer.end()
    >>> Route("/count", streaming(count), methods=["POST"])
    """
    return _Streaming(handle)


class _Streaming:
    """An object, because Starlette takes a function as an endpoint that returns its answer."""

    def __init__(self, handle: Callable[[Request, Answer], Awaitable[None]]) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["state"].get("connection")
        unsent = None if connection is None else connection.unsent
        await self._handle(Request(scope, receive, send), Answer(send, unsent))
