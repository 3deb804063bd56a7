"""The Wyoming server: listens beside the HTTP server, for the same models and in the same queue."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import EngineError
from ..handling.log import note_error
from ..settings import CONNECTIONS, SEND_BUFFER_BYTES
from .address import bind, uri_of
from .connection import Connection
from .voice_list import VoiceList

if TYPE_CHECKING:
    from ..settings import ServeSettings
    from ..state import ServerState
    from .announcement import Announcement

_LINE_BYTES = 64 << 10  # of the line that an event begins with


class WyomingServer:
    """See the module. The socket is bound at once, and `uri` is its address; clients are served from `start` on.

    Raises UsageError for an address that cannot be used, BindError, and as `announcement.check` does.
    """

    def __init__(self, settings: ServeSettings) -> None:
        assert settings.wyoming is not None
        self.socket = bind(settings.wyoming, settings.wyoming_insecure)
        self.uri = uri_of(self.socket)
        self._path = Path(self.socket.getsockname()) if self.socket.family == socket.AF_UNIX else None
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._listening: asyncio.base_events.Server | None = None
        self._announcement: Announcement | None = None
        self._announcing: asyncio.Task[None] | None = None
        if settings.zeroconf is not None:
            from .announcement import Announcement  # needs the extra zeroconf

            try:
                self._announcement = Announcement(settings.zeroconf, self.socket)
            except BaseException:
                self.close()
                raise

    async def start(self, state: ServerState) -> None:
        """Serve clients; they may ask for a description while the models are loaded."""
        voices = VoiceList(state)

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._connections) >= CONNECTIONS:
                writer.transport.abort()
                return
            with contextlib.suppress(OSError):  # a Unix socket does not inherit the size from the listening one
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            connection = Connection(state, voices, reader, writer)
            task = asyncio.create_task(connection.run())
            self._connections[task] = connection
            task.add_done_callback(ended)

        def ended(task: asyncio.Task[None]) -> None:
            del self._connections[task]
            if not task.cancelled() and (error := task.exception()) is not None:
                note_error(state.log, error)

        start = asyncio.start_unix_server if self.socket.family == socket.AF_UNIX else asyncio.start_server
        self._listening = await start(serve, sock=self.socket, limit=_LINE_BYTES)  # type: ignore[operator]
        if self._announcement is not None:
            self._announcing = asyncio.create_task(self._announce(self._announcement, state))

    async def _announce(self, announcement: Announcement, state: ServerState) -> None:
        try:
            await announcement.start()
        except EngineError as error:
            state.log.event("warning", message=str(error))

    async def drain(self) -> None:
        """Take no more clients, and leave those that nothing is spoken for."""
        if self._announcement is not None:
            announcement, self._announcement = self._announcement, None
            if self._announcing is not None:
                self._announcing.cancel()
                await asyncio.gather(self._announcing, return_exceptions=True)
            await announcement.stop()
        if self._listening is not None:
            self._listening.close()
        for task, connection in list(self._connections.items()):
            if not connection.speaks:
                task.cancel()

    async def stop(self) -> None:
        """End all connections, and free the address."""
        await self.drain()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.close()

    def close(self) -> None:
        """Free the address, if `start` was never called. May be called again."""
        self.socket.close()
        path, self._path = self._path, None
        if path is not None:
            path.unlink(missing_ok=True)
