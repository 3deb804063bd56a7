"""Writes lines to stderr on a thread, so that a reader of the log who does not read cannot stop the server."""

from __future__ import annotations

import contextlib
import os
import queue
import threading

_WAITING_LINES = 10_000
_END_SECONDS = 1.0  # for which the last lines are waited for
_STDERR = 2


class LineWriter:
    """See the module. A context manager; its end waits a moment until all lines are written."""

    def __init__(self, descriptor: int = _STDERR) -> None:
        self._descriptor, self._dropped = descriptor, 0
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING_LINES)
        self._thread = threading.Thread(target=self._run, name="qwen3tts log", daemon=True)

    def __enter__(self) -> LineWriter:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(_END_SECONDS)

    def write(self, line: str) -> None:
        """Write a line; never waits. Lines above a number that wait are dropped, and the next line says how many."""
        try:
            if self._dropped:
                self._lines.put_nowait(f"{self._dropped} lines were dropped")
                self._dropped = 0
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            data = f"{line}\n".encode(errors="backslashreplace")
            with contextlib.suppress(OSError):  # nobody reads the log any more
                while data:
                    data = data[os.write(self._descriptor, data) :]
