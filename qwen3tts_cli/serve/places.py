"""Who may speak now: a limited number of places, and a queue in the order of arrival.

A request that pauses, because its reader has enough or its text has not come, gives its place to others meanwhile. It
gets one again at once, since its listener has heard the beginning: there may be more speakers than places then, and the
scheduler leaves some of them out of its steps.
"""

from __future__ import annotations

import asyncio
from collections import deque

from .errors import BusyError


class Places:
    """See the module. places: how many speak at once. queue: how many wait. Only one event loop may use it."""

    def __init__(self, places: int, queue: int) -> None:
        self.places, self.queue, self.taken = places, queue, 0
        self._turns: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._turns)

    async def take(self) -> None:
        """Wait for a place. Raises BusyError at once if the queue is full. Cancelling the task leaves the queue."""
        if self.taken < self.places and not self._turns:
            self.taken += 1
            return
        if len(self._turns) >= self.queue:
            raise BusyError(f"{self.taken} requests speak and {len(self._turns)} wait, the most that this server takes")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # the place came when the task was cancelled
            elif turn in self._turns:
                self._turns.remove(turn)
            raise

    def take_back(self) -> None:
        """Take a place without waiting, after a pause."""
        self.taken += 1

    def leave(self) -> None:
        """Give a place back; the first one that waits gets it."""
        self.taken -= 1
        while self._turns and self.taken < self.places:
            turn = self._turns.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)

    def refuse_waiting(self, error: Exception) -> None:
        """Let all that wait raise an error."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_exception(error)
