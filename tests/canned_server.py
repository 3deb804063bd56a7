"""A server that answers each request with the same bytes, for tests of clients."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from itertools import takewhile

from helpers import allowed


class Canned:
    """The server, on a thread. requests: (head, JSON of the body) of each request. hold: keep the connection open.

    left: set when a client has closed a connection that was kept open.
    """

    def __init__(self, answer, hold=False):
        self.answer, self.hold, self.requests, self.left = answer, hold, [], threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                head = b"".join(takewhile(lambda line: line != b"\r\n", stream)).decode()
                sizes = [int(line.split()[1]) for line in head.splitlines() if line.startswith("Content-Length")]
                self.requests.append((head, json.loads(stream.read(sizes[0])) if sizes else None))
                with contextlib.suppress(ConnectionError):
                    connection.sendall(self.answer)
                if self.hold:
                    with contextlib.suppress(ConnectionError):
                        stream.read(1)
                    self.left.set()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._socket.shutdown(socket.SHUT_RDWR)  # ends the accept on the thread
        self._thread.join(allowed(10))
        self._socket.close()
