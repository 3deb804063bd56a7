"""Notices a reader that takes no audio any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import StalledError

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOKS = 8  # at the bytes that wait, within the time


class Stall:
    """Watches while a reader has samples that it has not taken, between `begin` and `end`.

    seconds: without taking anything, after which a reader has stalled. unsent: the bytes that wait for the reader; None
    if they are not known: it takes something only where the task comes back for more samples.
    """

    def __init__(self, seconds: float, unsent: Callable[[], int] | None) -> None:
        self._seconds, self._unsent = seconds, unsent
        self._left, self._since = 0, 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._fail: Callable[[Exception], None] | None = None

    def begin(self, fail: Callable[[Exception], None]) -> None:
        """Watch from now on. fail: is called with StalledError once the reader has stalled."""
        self._fail = fail
        self._note_progress()
        self._wait()

    def end(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note_progress(self) -> None:
        self._since = asyncio.get_running_loop().time()
        self._left = self._unsent() if self._unsent is not None else 0

    def _wait(self) -> None:
        looks = _LOOKS if self._unsent is not None else 1
        self._timer = asyncio.get_running_loop().call_later(self._seconds / looks, self._look)

    def _look(self) -> None:
        if self._unsent is not None and self._unsent() < self._left:
            self._note_progress()
        if asyncio.get_running_loop().time() - self._since < self._seconds:
            self._wait()
        elif self._fail is not None:
            self._fail(StalledError(self._seconds))
