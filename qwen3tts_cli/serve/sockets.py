"""The listening sockets of a server, bound before anything slow begins."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path

from ..errors import Qwen3TTSError, UsageError
from .settings import SEND_BUFFER_BYTES

WAITING_CONNECTIONS = 1024  # that the kernel keeps until they are accepted


class BindError(Qwen3TTSError, OSError):
    """The server cannot listen at an address."""


def bind_tcp(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; 0: a free port. Raises UsageError for an unknown host, BindError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise UsageError(f"--host: {host!r} is no address of this machine") from None
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # accepted connections inherit it
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(WAITING_CONNECTIONS)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        hint = "; another program listens there" if error.errno == errno.EADDRINUSE else ""
        raise BindError(f"cannot listen at {host} port {port}: {error.strerror}{hint}") from None
    return bound


def bind_unix(path: Path) -> socket.socket:
    """A socket that listens at a path; one that no program listens at any more is replaced. Raises BindError."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_dead(path):
            path.unlink()
        bound.bind(str(path))
        bound.listen(WAITING_CONNECTIONS)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        in_use = error.errno == errno.EADDRINUSE
        reason = "another program listens there, or it is no socket" if in_use else error.strerror or error
        raise BindError(f"cannot listen at {path}: {reason}") from None
    return bound


def _is_dead(path: Path) -> bool:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return True
    return False


def url_of(bound: socket.socket) -> str:
    """The address of a bound socket, for people: `http://127.0.0.1:8000` or `unix:/path`."""
    address = bound.getsockname()
    if isinstance(address, (str, bytes)):
        return f"unix:{os.fsdecode(address)}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"


def is_public(bound: socket.socket) -> bool:
    """Whether other machines may reach a bound socket."""
    address = bound.getsockname()
    return not isinstance(address, (str, bytes)) and not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
