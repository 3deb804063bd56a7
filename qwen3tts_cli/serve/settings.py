"""The settings of a server: every option of `qwen3tts serve`, typed, and the limits that protect it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BODY_BYTES = 1 << 20  # of a request
LARGE_BODY_BYTES = 16 << 20  # of a request with a recording or a voice file
ALL_BODIES_BYTES = 128 << 20  # of all bodies that are in memory at the same time
HEAD_BYTES = 64 << 10  # of the request line and the headers
CONNECTIONS = 256
HEAD_SECONDS = 10.0  # from the connection, or the first byte of a further request, to the end of its headers
BODY_SECONDS = 30.0  # from the end of the headers to the end of the body
KEEP_ALIVE_SECONDS = 15  # without a request on an open connection
DRAIN_SECONDS = 25.0  # for which running speech may go on after SIGTERM
MESSAGE_BYTES = 64 << 10  # of a WebSocket message
FIRST_MESSAGE_SECONDS = 10.0  # from the handshake of a WebSocket to its first message
IDLE_SECONDS = 300.0  # of a WebSocket or Wyoming connection without a message or audio in either direction
PING_SECONDS = 20.0  # between two pings of a WebSocket, and for their answer
SEND_BUFFER_BYTES = 64 << 10  # of the kernel for each connection: more would hide from us how fast a reader reads


@dataclass(frozen=True)
class ServeSettings:
    """The options of a server.

    models: names, or pathlib.Path of folders, as `Synthesizer.open` takes them; the first one is the default; None
    stands for the embedded voice. precision, threads: see `Synthesizer.open`. cache: whether packed weights are written
    into the user's cache folder. lexicon: what to say in place of words, in all requests.
    host, port: where the server listens; port 0 takes a free one. unix: the path of a Unix socket, instead of both.
    wyoming: `tcp://HOST:PORT` or `unix://PATH`, or None. zeroconf: the name under which the Wyoming server is announced
    on the local network, or None. page: whether `/` shows the page.
    api_keys: keys of which a request must have one; () needs none. insecure, wyoming_insecure: whether a public
    address may be served without a key. cors: origins of pages that may use the API. allow_hosts: values of the Host
    header that are answered although no key is needed.
    voices_dir: the folder in which clients may keep voices; None: they may not.
    max_batch: how many requests speak at once; 0: automatic. max_queue: how many wait for one of these to end.
    max_text: characters of a text. max_audio_seconds: of the speech of one request. stall: seconds after which a reader
    that takes no audio is dropped. unload_after: minutes after which the weights of an unused model are freed; None:
    never. log_json: whether each line of the log is a JSON object. log_text: whether the log has the texts.
    """

    models: tuple[str | Path | None, ...] = (None,)
    precision: str = "auto"
    threads: int | None = None
    cache: bool = True
    lexicon: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    unix: Path | None = None
    wyoming: str | None = None
    wyoming_insecure: bool = False
    zeroconf: str | None = None
    page: bool = True
    api_keys: tuple[str, ...] = ()
    insecure: bool = False
    cors: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    voices_dir: Path | None = None
    max_batch: int = 0
    max_queue: int = 32
    max_text: int = 4096
    max_audio_seconds: float = 600.0
    stall: float = 30.0
    unload_after: float | None = None
    log_json: bool = False
    log_text: bool = False
