"""Notes and progress on stderr."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import click

from ..output.files import shares_stderr

_INTERVAL_SECONDS = 0.2


class Console:
    """Lines on stderr, none where `quiet`; a progress line where stderr is a terminal.

    output: the name of an output of binary data, if there is one; where stderr goes into it too (2>&1), no lines.
    """

    def __init__(self, quiet: bool, output: str | None = None) -> None:
        self.quiet = quiet or shares_stderr(output)
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()

    def note(self, text: str) -> None:
        """Say something that is not an error."""
        if not self.quiet:
            click.echo(text, err=True)

    def warning(self, text: str) -> None:
        """Say what may be wrong."""
        self.note(f"warning: {text}")

    def progress(self, line: Callable[[], str]) -> Progress:
        """A context manager that shows `line()` again and again, on a terminal."""
        return Progress(line, not self.quiet and self.is_terminal)


class Progress:
    """One line on the terminal that is written over until the block ends, and then erased."""

    def __init__(self, line: Callable[[], str], shown: bool) -> None:
        self._line, self._shown, self._width = line, shown, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(_INTERVAL_SECONDS):
            self._write(self._line())

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write("\r" + text.ljust(self._width) + ("\r" if not text else ""))
            sys.stderr.flush()
        except (OSError, ValueError):
            return
        self._width = len(text)

    def __enter__(self) -> Progress:
        if self._shown:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._shown:
            self._thread.join()
            self._write("")
