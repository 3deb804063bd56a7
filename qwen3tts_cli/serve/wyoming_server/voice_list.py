"""The list of voices of a running server, which is there at any time and follows the kept voices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .voices import list_voices, make_info

if TYPE_CHECKING:
    from wyoming.event import Event

    from ..state import ServerState
    from .voices import ListedVoice

_WAIT_SECONDS = 0.03  # for the files of kept voices; clients give up after 1 s and are promised 0.1 s


class VoiceList:
    """See the module. voices: by name, see `list_voices`."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._refreshing: asyncio.Future[None] | None = None
        self.refresh()

    def refresh(self) -> None:
        """Look for kept voices again. Reads files."""
        self.voices: dict[str, ListedVoice] = list_voices(self._state.engines.served, self._state.voices.facts())
        self._event = make_info(self.voices.values()).event()

    async def describe(self) -> Event:
        """The answer to `describe`: with the voices of this moment, or, where the files are slow, of a moment ago."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.ensure_future(asyncio.to_thread(self.refresh))
        await asyncio.wait({self._refreshing}, timeout=_WAIT_SECONDS)
        return self._event
