"""The address of a server of this program, as `say --server` takes it: a URL, or unix:PATH."""

from __future__ import annotations

import urllib.parse
from typing import NamedTuple, NoReturn

from ...common import user_folders
from ...errors import UsageError

_UNIX = "unix:"
_PORTS = {"http": 80, "https": 443}


class ServerAddress(NamedTuple):
    """text: as the user typed it, for messages. scheme: "http", "https" or "unix". host, port: of a TCP server.

    authority: the Host header. path: the path of a socket, or the part of the URL before /v1.
    """

    text: str
    scheme: str
    host: str
    port: int
    authority: str
    path: str


def parse(text: str) -> ServerAddress:
    """Parse an address. A URL may end in /v1, as clients of the OpenAI API write it. Raises UsageError."""
    if text.startswith(_UNIX):
        return _unix(text)
    # other characters would get into the head of the request
    if not text.isascii() or not text.isprintable() or " " in text:
        _refuse(text, "characters that a URL cannot have")
    try:
        parts = urllib.parse.urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        _refuse(text, str(error))
    if parts.scheme not in _PORTS or not host:
        _refuse(text, "neither a URL nor a socket")
    if "@" in parts.netloc:
        _refuse(text, "a name or password in the URL; a key is set in QWEN3TTS_API_KEY")
    if parts.query or parts.fragment:
        _refuse(text, "a query or fragment")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return ServerAddress(text, parts.scheme, host, port or _PORTS[parts.scheme], parts.netloc, path)


def _unix(text: str) -> ServerAddress:
    path = text.removeprefix(_UNIX)
    path = path.removeprefix("//") if path.startswith("///") else path
    path = user_folders.expand_home(path) or path
    if not path or "\0" in path:
        _refuse(text, "no path of a socket")
    return ServerAddress(text, "unix", "", 0, "localhost", path)


def _refuse(text: str, found: str) -> NoReturn:
    expected = "expected http://HOST:PORT, https://HOST or unix:PATH"
    raise UsageError(f"--server {text}: {found}, {expected}")
