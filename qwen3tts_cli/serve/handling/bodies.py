"""Bodies of requests: their size, the time in which they come, and JSON objects in them."""

from __future__ import annotations

import asyncio
import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..errors import ApiError, BusyError
from ..settings import ALL_BODIES_BYTES, BODY_BYTES, BODY_SECONDS, LARGE_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


_MOST_VALUES = 1 << 18  # of a JSON body: more than any text has commas; the parser stops everything else meanwhile
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def too_large(limit: int) -> ApiError:
    """The error for a body of more than `limit` bytes."""
    message = f"the body of the request is larger than {limit} bytes"
    close = {"Connection": "close"}
    return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, code="body_too_large", retry=False, headers=close)


class BodyLimits:
    """ASGI middleware: a body that is too large or too slow raises ApiError in the application that reads it.

    large_paths: paths whose requests may have LARGE_BODY_BYTES.
    """

    def __init__(self, app: ASGIApp, large_paths: Iterable[str] = ()) -> None:
        self.app, self._large_paths = app, frozenset(large_paths)
        self._held = 0  # bytes of the bodies of running requests
        self.seconds = BODY_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = LARGE_BODY_BYTES if scope["path"] in self._large_paths else BODY_BYTES
        _check_length(scope, limit)
        loop = asyncio.get_running_loop()
        deadline, size, complete = loop.time() + self.seconds, 0, False

        async def limited() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - loop.time()))
            except asyncio.TimeoutError:
                text = f"the body of the request did not come within {self.seconds:g} s"
                close = {"Connection": "close"}
                raise ApiError(HTTPStatus.REQUEST_TIMEOUT, text, code="body_timeout", headers=close) from None
            came = len(message.get("body", b""))
            size += came
            self._held += came
            complete = not message.get("more_body", False)
            if size > limit:
                raise too_large(limit)
            if self._held > ALL_BODIES_BYTES:
                raise BusyError("too many large requests come at the same time", "too_many_bodies")
            return message

        try:
            await self.app(scope, limited, send)
        finally:
            self._held -= size


def _check_length(scope: Scope, limit: int) -> None:
    """Refuse a body by its Content-Length, before it comes."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise too_large(limit)


async def read_json(request: Request, large_fields: Iterable[str] = ()) -> dict[str, Any]:
    """The JSON object in the body of a request. Raises ApiError.

    large_fields: names, of which an object must have one to be larger than BODY_BYTES.
    """
    body = await request.body()
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise _not_json("the body of the request has too many values")
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
        if _SURROGATE.search(body):  # half a character, which no later step could encode
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # also Unicode errors
        raise _not_json("the body of the request is not JSON, UTF-8") from None
    if not isinstance(found, dict):
        raise _not_json(f"the body of the request is a JSON {type(found).__name__}, expected an object")
    if len(body) > BODY_BYTES and not any(found.get(name) for name in large_fields):
        raise too_large(BODY_BYTES)
    return found


def _not_json(text: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, text, code="invalid_json", retry=False)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
