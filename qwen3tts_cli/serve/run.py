"""One server from its start to its end: listens at once, loads the models, drains before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import threading
from typing import TYPE_CHECKING

import uvicorn

from ..errors import UsageError
from ..spoken_text.lexicon import Lexicon
from .app import make_app
from .engines import Engines
from .handling.connections import Connection
from .handling.log import Log
from .memory import check_memory
from .metrics import Metrics
from .openai.kept_voices import KeptVoices
from .settings import DRAIN_SECONDS, HEAD_BYTES, KEEP_ALIVE_SECONDS, MESSAGE_BYTES, PING_SECONDS
from .sockets import WAITING_CONNECTIONS, bind_tcp, bind_unix, is_public, url_of
from .speaking import Speaker
from .state import ServerState

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from .settings import ServeSettings
    from .wyoming_server.server import WyomingServer

_POLL_SECONDS = 0.05  # between two looks whether the last speech has ended
_TEND_SECONDS = 5.0  # between two looks whether a model is idle
_CANCEL_SECONDS = 3  # for requests to end after they were cancelled
_ACCEPTED_CONNECTIONS = 32  # in one round of the event loop
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@]+/?", re.IGNORECASE)  # not `null`, which any sandboxed page has
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Server:
    """A server. `run` returns after `stop`, or after SIGTERM, SIGINT or SIGHUP if it runs on the main thread.

    note: gets lines for people, such as the address once the server is ready. Raises as Engines and the functions of
    `sockets` do, and UsageError for a public address without a key.
    """

    def __init__(self, settings: ServeSettings, note: Callable[[str], None], log: Callable[[str], None]) -> None:
        """log: gets the lines of the log."""
        check_settings(settings)
        self.settings, self._note = settings, note
        unix = settings.unix
        self.socket: socket.socket = bind_tcp(settings.host, settings.port) if unix is None else bind_unix(unix)
        self.wyoming: WyomingServer | None = None
        try:
            if is_public(self.socket) and not (settings.api_keys or settings.insecure):
                raise UsageError(
                    f"--host {settings.host}: other machines reach it; set QWEN3TTS_API_KEY or --api-key-file, or "
                    "--insecure to serve everybody"
                )
            self.url = url_of(self.socket)
            self.log = Log(log, as_json=settings.log_json, with_text=settings.log_text)
            metrics = Metrics()
            engines = Engines(settings, lambda line: self.log.event("note", message=line))
            models = [(each.id, each.config) for each in engines.served]
            check_memory(models, settings.precision, settings.max_batch, note)
            lexicon = None if settings.lexicon is None else Lexicon.read(settings.lexicon)
            speaker, voices = Speaker(settings, engines, metrics), KeptVoices(settings.voices_dir)
            self.state = ServerState(settings, engines, speaker, metrics, self.log, voices, lexicon)
            self._uvicorn = self._make_uvicorn()
            metrics.watch(self.state.speaker.places, engines.scheduler, self._count_connections)
            self.wyoming = _make_wyoming(settings)
        except BaseException:
            self._close_socket()
            raise
        self.signal: int | None = None  # the signal that ended the server
        self._stop, self._stopped = asyncio.Event(), False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None

    def _make_uvicorn(self) -> _Uvicorn:
        class ServedConnection(Connection):
            """Has the setting of this server."""

            rest_seconds = self.settings.stall

        return _Uvicorn(
            uvicorn.Config(
                make_app(self.state),
                http=ServedConnection,
                ws="websockets-sansio",
                ws_max_size=MESSAGE_BYTES,
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PING_SECONDS,
                ws_per_message_deflate=False,
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # any client could claim to be another one
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_CANCEL_SECONDS,
                backlog=_ACCEPTED_CONNECTIONS,
                h11_max_incomplete_event_size=HEAD_BYTES,
            )
        )

    def _count_connections(self) -> int:
        return len(self._uvicorn.server_state.connections)

    def run(self) -> None:
        """Serve until the end. Raises the error of a model that cannot be opened at the start."""
        with _forwarded_log(self.log):
            asyncio.run(self._run())
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the server after the speech that runs. Any thread may call it, also before `run`."""
        self._stopped = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._stop.set)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._stopped:
            self._stop.set()
        self._listen_to_signals()
        serving = asyncio.create_task(self._uvicorn.serve(sockets=[self.socket]))
        if self.wyoming is not None:
            await self.wyoming.start(self.state)
        loading = asyncio.create_task(self._load())
        tending = asyncio.create_task(self._tend())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain()
        finally:
            for task in (loading, tending, stopped):
                task.cancel()
            self._uvicorn.should_exit = True
            if self.wyoming is not None:
                await self.wyoming.stop()
            await asyncio.gather(serving, loading, tending, stopped, return_exceptions=True)
            for connection in list(self._uvicorn.server_state.connections):
                connection.transport.abort()  # clients that have not taken the rest of an answer
            self._close_socket()
            await self.state.engines.close()

    async def _load(self) -> None:
        engines = self.state.engines
        try:
            await engines.open_all()
        except Exception as error:
            self._failure = error
            self._stop.set()
            return
        self.state.speaker.places.places = engines.max_batch
        names = ", ".join(each.id for each in engines.served)
        wyoming = "" if self.wyoming is None else f", Wyoming {self.wyoming.uri}"
        self._note(f"ready: {self.url} ({names}){wyoming}")

    async def _tend(self) -> None:
        """Free idle models."""
        while self.settings.unload_after is not None:
            await asyncio.sleep(min(_TEND_SECONDS, 60 * self.settings.unload_after))
            await self.state.engines.close_idle()

    async def _drain(self) -> None:
        """Let the speech that runs end, for a while; then fail it."""
        speaker = self.state.speaker
        speaker.stopping = True
        for listening in self._uvicorn.servers:
            listening.close()
        if self.wyoming is not None:
            await self.wyoming.drain()
        deadline = asyncio.get_running_loop().time() + (0.0 if self._failure is not None else DRAIN_SECONDS)
        while speaker.open and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        speaker.fail_all()

    def _listen_to_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return

        def end(number: int) -> None:
            if self._stop.is_set():  # told twice
                self.state.speaker.fail_all()
                self._uvicorn.force_exit = True
            self.signal = number
            self._stop.set()

        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                asyncio.get_running_loop().add_signal_handler(number, end, number)

    def _close_socket(self) -> None:
        self.socket.close()
        if self.settings.unix is not None:
            self.settings.unix.unlink(missing_ok=True)


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: the server drains in its own way."""

    servers: list[asyncio.base_events.Server] = []  # noqa: RUF012  (until uvicorn has started)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen. asyncio accepts as many connections at a time as wait in the kernel at most: fewer, so that
        those that have ended are not counted for long; the kernel may still keep more."""
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(WAITING_CONNECTIONS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def check_settings(settings: ServeSettings) -> None:
    """Refuse settings that contradict each other. Raises UsageError."""
    if settings.api_keys and "*" in settings.cors:
        raise UsageError("--cors: found *, expected the origins by name where API keys are used")
    for origin in settings.cors:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise UsageError(f"--cors: found {origin!r}, expected an origin such as https://page.example, or *")
    for name in ("zeroconf", "wyoming_insecure"):
        if settings.wyoming is None and getattr(settings, name) not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')}: needs --wyoming")


def _make_wyoming(settings: ServeSettings) -> WyomingServer | None:
    """The Wyoming server that the settings ask for, which has bound its address."""
    if settings.wyoming is None:
        return None
    try:
        from .wyoming_server.server import WyomingServer
    except ModuleNotFoundError as error:
        if error.name != "wyoming":
            raise
        raise UsageError("--wyoming needs the package wyoming: pip install 'qwen3tts-cli[serve]'") from None
    return WyomingServer(settings)


@contextlib.contextmanager
def _forwarded_log(log: Log) -> Iterator[None]:
    """Write the warnings of uvicorn into the log of the server."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.event("warning", message=record.getMessage())

    logger = logging.getLogger("uvicorn.error")
    kept, handler = (logger.level, logger.propagate), Forward(logging.WARNING)
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    # the server has logged why an answer was cut
    logger.addFilter(_is_news)
    try:
        yield
    finally:
        logger.removeFilter(_is_news)
        logger.removeHandler(handler)
        logger.setLevel(kept[0])
        logger.propagate = kept[1]


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("ASGI callable returned without completing response")
