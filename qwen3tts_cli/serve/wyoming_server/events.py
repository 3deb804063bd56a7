"""Reads the events of a Wyoming client, which may be malformed, endless or slow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wyoming.event import async_read_event

if TYPE_CHECKING:
    from wyoming.event import Event

MOST_BYTES = 1 << 20  # of the data, and of the payload, of an event


class MalformedEventError(Exception):
    """What a client sent is no event."""


class EventReader:
    """Reads events from an asyncio.StreamReader, whose limit bounds the line that an event begins with."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._bounded: Any = _Bounded(reader)

    async def read(self) -> Event | None:
        """The next event; None once the client has left. Raises MalformedEventError."""
        try:
            event = await async_read_event(self._bounded)
        except (asyncio.IncompleteReadError, OSError):
            return None
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise MalformedEventError(str(error)) from None
        if event is None:
            if self._bounded.ended:
                return None
            raise MalformedEventError("no JSON")
        if not isinstance(event.type, str) or not isinstance(event.data, dict):
            raise MalformedEventError("type and data have other types")
        return event


class _Bounded:
    """The methods of a StreamReader that `async_read_event` calls. ended: whether the client has left."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.ended = False

    async def readline(self) -> bytes:
        line = await self._reader.readline()
        self.ended = not line
        return line

    async def readexactly(self, count: int) -> bytes:
        if count > MOST_BYTES:
            raise TypeError(f"{count} bytes")  # async_read_event drops every ValueError
        return await self._reader.readexactly(count)
