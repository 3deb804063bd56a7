"""The connections of a server: their number, the time for the headers of a request, the memory of the kernel.

uvicorn has no limit for the time in which a client sends the headers, and asks the kernel for no small buffer.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ..settings import CONNECTIONS, HEAD_SECONDS, SEND_BUFFER_BYTES, ServeSettings

if TYPE_CHECKING:
    import asyncio

    import h11
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_REFUSED = 64  # connections above the limit that are open until they got an answer; more are closed at once
_CLOSING_SECONDS = 10.0  # in which a client must take the rest of an answer that is cut
_REFUSED_SECONDS = 1.0  # in which these must have sent a request


class Connection(H11Protocol):
    """A connection of a client. Requests find it as `scope["state"]["connection"]`.

    refused: whether there are too many connections; the application answers with an error then. rest_seconds: after
    which a client loses the rest of an answer of which it takes nothing.
    """

    head_seconds, most, send_buffer_bytes = HEAD_SECONDS, CONNECTIONS, SEND_BUFFER_BYTES
    rest_seconds = ServeSettings.stall

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.refused = self._is_websocket = False
        self._deadline: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        self._rest = 0  # bytes of an answer that the client had not taken

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count the time for the headers; refuse a connection above the limit."""
        super().connection_made(transport)
        with suppress(OSError):  # a Unix socket does not inherit the size from the listening one
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer_bytes)
        self.refused = len(self.connections) > self.most
        if len(self.connections) > self.most + _REFUSED:
            self.abort()
            return
        self._await_head()

    def _await_head(self) -> None:
        if self._deadline is None:
            seconds = _REFUSED_SECONDS if self.refused else self.head_seconds
            self._deadline = self.loop.call_later(seconds, self._head_is_late)

    def _head_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.send_late_response()

    def send_late_response(self) -> None:
        """Answer that the headers did not come in time, and close the connection."""
        body = b'{"error": {"message": "the headers of the request did not come in time", "type": '
        body += b'"invalid_request_error", "param": null, "code": "head_timeout"}}'
        head = f"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        super().data_received(data)
        if self._is_websocket:
            return
        if self.cycle is None or self.cycle.response_complete:
            if not self.transport.is_closing():
                self._await_head()
        else:
            self._head_came()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection to the WebSocket protocol."""
        self._is_websocket = True
        self._head_came()
        super().handle_websocket_upgrade(event)
        self._watch_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._head_came()
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._watch_rest()

    def _watch_rest(self) -> None:
        """See to it that the client takes the rest of what was written: nobody else waits for that."""
        self._rest = self.unsent()
        if self._rest_timer is None and (self._rest or self._is_websocket):
            self._rest_timer = self.loop.call_later(self.rest_seconds, self._look_at_rest)

    def _look_at_rest(self) -> None:
        self._rest_timer = None
        is_open = self.transport.get_extra_info("socket").fileno() >= 0
        if not is_open or (self.cycle is not None and not self.cycle.response_complete):
            return
        may_wait = self._is_websocket and not self.transport.is_closing()
        if self._rest and self.unsent() >= self._rest and not may_wait:
            self.abort()
        else:
            self._watch_rest()

    def unsent(self) -> int:
        """Bytes that the client has not taken: in this process, and as far as the kernel says so."""
        waiting, raw = self.transport.get_write_buffer_size(), self.transport.get_extra_info("socket")
        with suppress(OSError, ValueError):
            waiting += int.from_bytes(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return waiting

    def cut(self, at_once: bool) -> None:
        """Close the connection inside an answer. at_once: drop what the client has not taken; else it has a while."""
        if at_once:
            self.abort()
        else:
            self.transport.close()
            self.loop.call_later(_CLOSING_SECONDS, self.transport.abort)

    def abort(self) -> None:
        """Close the connection at once and drop what was not sent. The client sees an error, not an end."""
        with suppress(OSError):
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
