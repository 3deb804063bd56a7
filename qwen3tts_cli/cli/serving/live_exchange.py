"""`say --live --server`: sends a text while it comes, and yields what comes back, over the WebSocket of the server."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...errors import Qwen3TTSError, ServerError, UsageError
from . import speech_answer
from .http_exchange import connect, explained

if TYPE_CHECKING:
    from .server_address import ServerAddress

PATH = "/v1/audio/speech/stream"
_CLOSE_SECONDS = 1


class LiveExchange:
    """An iterator of parts, as speech_answer.parts yields them. A context manager that closes the connection.

    A thread reads the text, since it may come while audio does. The iteration raises the error that the server reports;
    an error of reading the text comes after the speech of what was read before it.
    """

    def __init__(
        self, address: ServerAddress, headers: dict[str, str], fields: dict[str, Any], texts: Iterator[str]
    ) -> None:
        """Connect and begin to read. headers: with the key. fields: those of the message `start`.

        Raises ServerError and UsageError.
        """
        try:
            import websockets.sync.client  # noqa: F401
        except ModuleNotFoundError as error:
            text = f"--live: with a server it needs the package {error.name}: pip install 'qwen3tts-cli[serve]'"
            raise UsageError(text) from None
        self._address, self._texts = address, texts
        self._failure: Exception | None = None  # of reading the text
        with explained(address):
            self._socket = connect(address)
        try:
            self._connection = self._handshake(headers)
        except BaseException:
            self._socket.close()
            raise
        start = {"type": "start", **fields, "format": "pcm", "facts": True}
        self._giver = threading.Thread(target=self._give, args=(start,), daemon=True)  # it may wait for text for ever
        self._giver.start()

    def _handshake(self, headers: dict[str, str]) -> Any:
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect as open_websocket

        prefix = "" if self._address.scheme == "unix" else self._address.path
        key = {name: text for name, text in headers.items() if name == "Authorization"}
        try:
            with explained(self._address):
                return open_websocket(
                    f"ws://{self._address.authority}{prefix}{PATH}",
                    sock=self._socket,  # with TLS, if the server has it
                    additional_headers=key,
                    compression=None,
                    close_timeout=_CLOSE_SECONDS,
                    max_size=None,
                )
        except InvalidStatus as error:
            answer = error.response
            head = {name.lower(): value for name, value in answer.headers.raw_items()}
            raise speech_answer.refusal(self._address, PATH, answer.status_code, head, answer.body or b"") from None
        except WebSocketException as error:
            raise ServerError(f"{self._address.text}: {error}") from None

    def _give(self, start: dict[str, Any]) -> None:
        """Send the text as it comes, on a thread of its own. The iteration reports errors of the connection."""
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed, OSError):
            self._send(start)
            try:
                for text in self._texts:
                    self._send({"type": "text", "text": text})
            except Qwen3TTSError as error:
                self._failure = error
            self._send({"type": "end"})

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.send(json.dumps(message))

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, bytes):
                    yield b"S", message
                elif (found := self._object(message)).get("type") == "error":
                    raise self._failure or speech_answer.reported(self._address, found)
                elif found.get("type") == "done":
                    break
        except ConnectionClosed as error:
            raise ServerError(f"{self._address.text}: the server closed the connection: {error}") from None
        if self._failure is not None:
            raise self._failure
        if codes := found.get("codes"):
            yield b"C", base64.b64decode(codes)
        yield b"F", json.dumps(found.get("facts")).encode()

    def _object(self, message: str) -> dict[str, Any]:
        try:
            found = json.loads(message)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ServerError(f"{self._address.text}: a message of the server is no JSON object")
        return found

    def __enter__(self) -> LiveExchange:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:  # do not wait for a server that is still sending
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._connection.close()
