"""Who may use the server: checks of the Host and Origin headers, and of API keys."""

from __future__ import annotations

import hmac
import ipaddress
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from .errors import ApiError
from .handling.requests import send_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

_OPEN_PATHS = ("/health", "/ready", "/")
_OPEN_PREFIXES = ("/page/",)  # the files of the page
# Lists that clients ask for without a key. Routes must not show kept voices there unless `authorized` is set.
_LISTS = ("/v1/models", "/v1/audio/models", "/v1/audio/voices")
_LIST_PREFIXES = ("/v1/models/",)
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class HostGuard:
    """ASGI middleware against pages of other sites, which a browser lets send requests to this server.

    Where no key is needed, the Host header must be `localhost`, the address of this end of the connection, or one of
    `allowed`: another name may be one that an attacker has pointed at this machine. A request that changes something,
    and a WebSocket, must come from a page of this server, of one of the `origins`, or from no page.
    """

    def __init__(self, app: ASGIApp, *, with_keys: bool, allowed: Iterable[str], origins: Iterable[str]) -> None:
        self.app, self._with_keys = app, with_keys
        self._allowed = frozenset(each.lower() for each in allowed)
        self._origins = frozenset(each.lower().rstrip("/") for each in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            error = self._error(scope)
            if error is not None:
                scope["state"]["facts"]["error"] = error.code
                await send_error(scope, send, error)
                return
        await self.app(scope, receive, send)

    def _error(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._with_keys and not self._is_allowed(host, scope):
            text = f"the Host header is {host!r}; start the server with --allow-host {_name_of(host) or 'NAME'}"
            return ApiError(HTTPStatus.MISDIRECTED_REQUEST, text, code="unknown_host", retry=False)
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        if origin is not None and changes and not self._is_own(origin, host):
            text = f"pages of {origin!r} may not use this server; start it with --cors ORIGIN"
            return ApiError(HTTPStatus.FORBIDDEN, text, code="unknown_origin", retry=False)
        return None

    def _is_allowed(self, host: str, scope: Scope) -> bool:
        server = scope.get("server")
        if server is None or server[1] is None:  # a Unix socket, which no browser reaches
            return True
        name = _name_of(host)
        if name is None:
            return False
        if name == "localhost" or name in self._allowed or host.lower() in self._allowed:
            return True
        address = _address(name)
        return address is not None and address == _address(server[0])

    def _is_own(self, origin: str, host: str) -> bool:
        if "*" in self._origins or origin.lower() in self._origins:
            return True
        try:
            parts = urlsplit(origin)
            mine = urlsplit(f"{parts.scheme}://{host}")
            default = _PORTS.get(parts.scheme)
            here = (mine.hostname, mine.port or default)
            plain = origin.lower() == f"{parts.scheme}://{parts.netloc}".lower() and "@" not in parts.netloc
            return plain and parts.hostname is not None and (parts.hostname, parts.port or default) == here
        except ValueError:
            return False


def _name_of(host: str) -> str | None:
    """The name or address in a Host header, in lower case and without the port; None if it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018  (raises ValueError for a malformed port)
    except ValueError:
        return None
    plain = parts.netloc == host and "@" not in host and not any(c.isspace() or c in "/\\?#" for c in host)
    return parts.hostname if plain else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


class KeyGuard:
    """ASGI middleware that asks for an API key, `Authorization: Bearer KEY`, if there are keys.

    `scope["state"]["authorized"]` tells routes whether the request had one, or none is needed. Lists answer without.
    A WebSocket may give its key later, so that its route has to check: see `is_key`.
    """

    def __init__(self, app: ASGIApp, keys: Iterable[str]) -> None:
        self.app, self._keys = app, tuple(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            given = bearer(Headers(scope=scope).get("authorization"))
            authorized = not self._keys or (given is not None and is_key(given, self._keys))
            scope["state"]["authorized"] = authorized
            wrong = given is not None and not authorized
            if scope["type"] == "http" and not authorized and not _is_open(scope, wrong):
                raise key_error(wrong)
        await self.app(scope, receive, send)


def bearer(header: str | None) -> str | None:
    """The key in an Authorization header; None without one. An empty key is no key."""
    scheme, _, key = (header or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def is_key(given: str, keys: Iterable[str]) -> bool:
    """Whether a key is one of several, in a time that does not depend on the keys."""
    found = False
    for key in keys:
        found |= hmac.compare_digest(given.encode(), key.encode())
    return found


def key_error(wrong: bool) -> ApiError:
    """The error for a missing or a wrong key."""
    text = "the API key is wrong" if wrong else "an API key is missing; send the header Authorization: Bearer KEY"
    code = "invalid_api_key" if wrong else "missing_api_key"
    challenge = {"WWW-Authenticate": "Bearer"}
    return ApiError(HTTPStatus.UNAUTHORIZED, text, code=code, retry=False, headers=challenge)


def _is_open(scope: Scope, wrong: bool) -> bool:
    """Whether a request needs no key. wrong: whether it has a wrong one, which its sender should learn."""
    path = scope["path"]
    if path in _OPEN_PATHS or path.startswith(_OPEN_PREFIXES):
        return True
    is_list = path in _LISTS or path.startswith(_LIST_PREFIXES)
    return is_list and not wrong and scope["method"] in _SAFE_METHODS
