"""The address of the Wyoming server: a URI on the command line, a bound socket, a URI again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...common.json_fields import short_repr
from ...errors import UsageError
from ..sockets import bind_tcp, bind_unix, is_public

if TYPE_CHECKING:
    import socket

_EXPECTED = "tcp://HOST:PORT or unix:///PATH"


def parse_uri(uri: str) -> Path | tuple[str, int]:
    """The path of a Unix socket, or the host and the port, of a URI. Raises UsageError."""
    try:
        parts = urlsplit(uri)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    # unix://PATH without a third slash has the first name of a relative path in the place of the host
    path = uri.partition("://")[2]
    if scheme == "unix" and path:
        return Path(path)
    if scheme != "tcp" or host is None or port is None or uri.rstrip("/").count("/") > 2 or "@" in uri:
        raise UsageError(f"--wyoming: found {short_repr(uri)}, expected {_EXPECTED}")
    return host, port


def bind(uri: str, insecure: bool) -> socket.socket:
    """A socket that is bound to the address of a URI; port 0 takes a free one.

    insecure: whether other machines may reach it. Raises UsageError, BindError.
    """
    address = parse_uri(uri)
    if isinstance(address, Path):
        return bind_unix(address)
    try:
        bound = bind_tcp(*address)
    except UsageError:
        raise UsageError(f"--wyoming: {address[0]!r} is no address of this machine") from None
    if is_public(bound) and not insecure:
        bound.close()
        raise UsageError(
            f"--wyoming {uri}: other machines reach it, and Wyoming has no keys; add --wyoming-insecure to serve "
            "everybody there"
        )
    return bound


def uri_of(bound: socket.socket) -> str:
    """The URI of a bound socket."""
    address = bound.getsockname()
    if isinstance(address, str):
        return f"unix://{address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"tcp://{host}:{address[1]}"
