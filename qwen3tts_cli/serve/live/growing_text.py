"""A text that a client sends in pieces, for `Speaker.speak`."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from ...speech.incoming import Flush
from ..errors import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class GrowingText:
    """An async iterable of texts, and of Flush where an utterance ends. One task may iterate; see `put`.

    most: characters that all texts together may have. Attributes: characters: those of all texts so far. ended: whether
    no more text comes.
    """

    def __init__(self, most: int) -> None:
        self._most, self.characters = most, 0
        self._items: asyncio.Queue[str | type[Flush] | None] = asyncio.Queue()
        self._can_flush = False
        self.ended = False

    def put(self, text: str) -> None:
        """Add text. Raises ApiError if all the text is too long."""
        self.characters += len(text)
        if self.characters > self._most:
            raise text_too_long(self._most)
        if text:
            self._items.put_nowait(text)
            self._can_flush = True

    def flush(self) -> None:
        """End the utterance."""
        if self._can_flush:  # else many calls would fill the memory
            self._items.put_nowait(Flush)
            self._can_flush = False

    def end(self) -> None:
        """End the text."""
        self.ended = True
        self._items.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[str | type[Flush]]:
        while (item := await self._items.get()) is not None:
            yield item


def text_too_long(most: int) -> ApiError:
    """The error for a text of more than `most` characters."""
    message = f"input: the text has more than {most} characters, the most that this server takes"
    code = "string_above_max_length"
    return ApiError(HTTPStatus.BAD_REQUEST, message, code=code, param="input", retry=False)
