"""The messages of clients on a WebSocket: JSON objects with a `type`, checked and typed."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, NamedTuple

from ...common import arguments
from ..errors import ApiError


class Start(NamedTuple):
    """Begin to speak. fields: the other fields, which are not checked yet. key: an API key, or None."""

    fields: dict[str, Any]
    key: str | None


class Text(NamedTuple):
    """More text."""

    text: str


class Flush:
    """The utterance ends here."""


class Cancel:
    """Stop speaking at once."""


class End:
    """The text ends here."""


ClientMessage = Start | Text | Flush | Cancel | End
_KEY_FIELDS = ("key", "api_key")
_WITHOUT_FIELDS = {"flush": Flush, "cancel": Cancel, "end": End}


def parse_message(data: str | None) -> ClientMessage:
    """The message in a text frame. data: its text; None for a binary frame. Unknown fields are ignored.

    Raises ApiError.
    """
    if data is None:
        raise _refusal("found a binary message, expected JSON in a text message", "invalid_json")
    try:
        found = json.loads(data, parse_constant=_refuse_constant)
        json.dumps(found, ensure_ascii=False).encode()  # half a character, \ud800, which no later step could encode
    except (ValueError, RecursionError):
        raise _refusal("the message is not JSON", "invalid_json") from None
    if not isinstance(found, dict):
        raise _refusal(f"the message is a JSON {type(found).__name__}, expected an object", "invalid_json")
    kind = found.pop("type", None)
    if kind == "start":
        keys = [_text(found, name) for name in _KEY_FIELDS]
        for name in _KEY_FIELDS:
            found.pop(name, None)
        return Start(found, keys[0] or keys[1])
    if kind == "text":
        return Text(_text(found, "text") or "")
    if isinstance(kind, str) and kind in _WITHOUT_FIELDS:
        return _WITHOUT_FIELDS[kind]()
    known = "start, text, flush, cancel or end"
    raise _refusal(f"type: found {arguments.describe(kind)}, expected {known}", "invalid_value", "type")


def _text(found: dict[str, Any], name: str) -> str | None:
    value = found.get(name)
    if value is not None and not isinstance(value, str):
        raise _refusal(f"{name}: found {arguments.describe(value)}, expected a string", "invalid_type", name)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _refusal(message: str, code: str, param: str | None = None) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, code=code, param=param, retry=False)
