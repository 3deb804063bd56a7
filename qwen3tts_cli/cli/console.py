"""Notes, warnings and the progress line, on stderr."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import click

from ..output.files import shares_stderr

_INTERVAL_SECONDS = 0.2


class Console:
    """Writes lines to stderr, and a progress line if stderr is a terminal. quiet: write nothing.

    output: the path of an output of binary data, or None. If stderr is the same file (2>&1), nothing is written.
    """

    def __init__(self, quiet: bool, output: str | None = None) -> None:
        self.quiet = quiet or shares_stderr(output)
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()

    def note(self, text: str) -> None:
        """Write a line that is not an error."""
        if not self.quiet:
            click.echo(text, err=True)

    def warning(self, text: str) -> None:
        """Write a line that begins with `warning: `."""
        self.note(f"warning: {text}")

    def progress(self, line: Callable[[], str]) -> Progress:
        """A context manager that shows `line()` repeatedly while its block runs, if stderr is a terminal."""
        return Progress(line, not self.quiet and self.is_terminal)


class Progress:
    """One line on the terminal that is overwritten until the block ends, and then erased."""

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
