"""One HTTP/1.1 request over a socket, with an answer that is read while it comes.

The import of http.client would take as long as a warm server takes to begin to speak. What is here is enough for a
server of this program: one POST on a connection of its own, no redirects, no compression.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from ...errors import ServerError
from .server_address import ServerAddress

_CONNECT_SECONDS = 10
_MOST_LINE_BYTES = 1 << 16
_MOST_HEADERS = 100


class HttpAnswer:
    """An answer. status: its code. headers: by their name in lower case. A context manager that closes the connection.

    The methods raise ServerError if the connection breaks or the answer is no HTTP.
    """

    def __init__(self, address: ServerAddress, connection: Any, stream: Any) -> None:
        """Read the head. stream: the buffered reader of the connection."""
        self._address, self._connection, self._stream = address, connection, stream
        self._left: int | None = None  # bytes that are left of the body or of this chunk; None: up to the end
        self._chunked = self._ended = False
        with explained(address):
            self.status, self.headers = self._head()
            while 100 <= self.status < 200:  # an interim answer; a final one follows
                self.status, self.headers = self._head()
            self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
            length = self.headers.get("content-length", "")
            if self._chunked:
                self._left = 0
            elif length:
                self._left = self._number(length, 10)

    def read(self, size: int) -> bytes:
        """The next bytes of the body: exactly `size`, or fewer if it ends before."""
        found = b""
        with explained(self._address):
            while len(found) < size and not self._ended:
                if self._chunked and self._left == 0:
                    self._next_chunk()
                    continue
                most = size - len(found) if self._left is None else min(self._left, size - len(found))
                piece = self._stream.read(most) if most else b""
                found += piece
                self._ended = not piece
                if self._left is not None:
                    self._left -= len(piece)
                    if self._chunked and self._left == 0:
                        self._line()  # each chunk ends with an empty line
        return found

    def close(self) -> None:
        """Close the connection; the server then stops what it does for it."""
        for each in (self._stream, self._connection):
            with contextlib.suppress(OSError):
                each.close()

    def __enter__(self) -> HttpAnswer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _head(self) -> tuple[int, dict[str, str]]:
        words = self._line().split(None, 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1."):
            raise _not_http(self._address)
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
            if len(headers) > _MOST_HEADERS:
                raise _not_http(self._address)
        return self._number(words[1], 10), headers

    def _next_chunk(self) -> None:
        self._left = self._number(self._line().partition(";")[0], 16)
        self._ended = self._left == 0

    def _line(self) -> str:
        line = self._stream.readline(_MOST_LINE_BYTES)
        if not line.endswith(b"\n"):
            if len(line) == _MOST_LINE_BYTES:
                raise _not_http(self._address)
            raise ServerError(f"{self._address.text}: the server closed the connection")
        return line.rstrip(b"\r\n").decode("latin-1")

    def _number(self, text: str, base: int) -> int:
        try:
            number = int(text.strip(), base)
        except ValueError:
            raise _not_http(self._address) from None
        if number < 0:
            raise _not_http(self._address)
        return number


def post(address: ServerAddress, path: str, body: bytes, headers: dict[str, str]) -> HttpAnswer:
    """Send a POST request; returns the answer once its head is there. path: after the prefix of the address.

    Raises ServerError if the server cannot be reached.
    """
    prefix = "" if address.scheme == "unix" else address.path
    fields = {"Host": address.authority, "Content-Length": str(len(body)), "Connection": "close", **headers}
    head = "".join([f"POST {prefix}{path} HTTP/1.1\r\n", *(f"{name}: {text}\r\n" for name, text in fields.items())])
    with contextlib.ExitStack() as stack:
        with explained(address):
            connection = connect(address)
            stack.callback(connection.close)
            stream = connection.makefile("rb", 1 << 16)
            stack.callback(stream.close)
            # a server that refuses a request may answer and close before it has read the body
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(f"{head}\r\n".encode("latin-1") + body)
        answer = HttpAnswer(address, connection, stream)
        stack.pop_all()
    return answer


def connect(address: ServerAddress) -> Any:
    """A connected socket, which the caller closes, with TLS for https. Raises OSError."""
    if address.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(address.path)
        except BaseException:
            connection.close()
            raise
        return connection
    # as bytes, since the name would be encoded by encodings.idna, whose import is slow; it is ASCII
    connection = socket.create_connection((address.host.encode("ascii"), address.port), _CONNECT_SECONDS)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if address.scheme == "https":
            import ssl

            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=address.host)
        connection.settimeout(None)  # speech waits in the queue of the server, however long that is
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def explained(address: ServerAddress) -> Iterator[None]:
    """Turn an error of the connection into ServerError, which names the server."""
    try:
        yield
    except ServerError:
        raise
    except ConnectionRefusedError:
        raise _not_there(address, "connection refused") from None
    except FileNotFoundError:
        raise _not_there(address, "no such socket") from None
    except OSError as error:
        timed_out = isinstance(error, TimeoutError) and error.errno is None
        what = f"no connection within {_CONNECT_SECONDS} s" if timed_out else error.strerror or str(error)
        raise ServerError(f"{address.text}: {what}") from None


def _not_there(address: ServerAddress, what: str) -> ServerError:
    return ServerError(f"{address.text}: {what}; a server is started with: qwen3tts serve")


def _not_http(address: ServerAddress) -> ServerError:
    return ServerError(f"{address.text}: the answer is not HTTP/1.1")
