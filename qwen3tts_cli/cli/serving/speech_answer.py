"""The answer of POST /v1/speak: parts with samples, codes and facts, or an error with its exit code.

A part is one byte for its kind, four bytes for the length of its content (little-endian), and the content: `S` samples,
`C` codes, `W` a warning, `F` the facts, the last part of a good answer, `E` an error, the last part of a failed one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import GenerationError, ModelNotFoundError, Qwen3TTSError, ServerError, UsageError
from .http_exchange import HttpAnswer
from .server_address import ServerAddress

PATH = "/v1/speak"
CONTENT_TYPE = "application/x-qwen3tts-parts"
_MOST_PART_BYTES = 1 << 28  # codes of 10 minutes are 480 KB
_MOST_ERROR_BYTES = 1 << 16
_MOST_CHARACTERS = 2000
_KEY_CODES = ("missing_api_key", "invalid_api_key")
_KEY_HINT = "; say takes the key from QWEN3TTS_API_KEY"
_KINDS: dict[int, type[Qwen3TTSError]] = {2: UsageError, 3: ModelNotFoundError, 4: GenerationError}


def parts(address: ServerAddress, answer: HttpAnswer) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, content) of each part up to the facts.

    Raises the error that the server reports before or after the first samples; ServerError if the answer is cut off or
    is not of this program.
    """
    if answer.status != 200:
        raise refusal(address, PATH, answer.status, answer.headers, answer.read(_MOST_ERROR_BYTES))
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    if kind != CONTENT_TYPE:
        found = f"found {kind or 'no Content-Type'}, expected {CONTENT_TYPE}"
        raise ServerError(f"{address.text}: {found}{_whose(answer.headers)}")
    while True:
        head = answer.read(5)
        content = b""
        if len(head) == 5:
            size = struct.unpack("<xI", head)[0]
            if size > _MOST_PART_BYTES:
                raise ServerError(f"{address.text}: a part of {size} bytes, expected at most {_MOST_PART_BYTES}")
            content = answer.read(size)
        if len(head) < 5 or len(content) < size:
            raise ServerError(f"{address.text}: the answer was cut off")
        if head[:1] == b"E":
            raise reported(address, _object(content))
        yield head[:1], content
        if head[:1] == b"F":
            return


def facts(address: ServerAddress, content: bytes) -> dict[str, Any]:
    """The facts of a part `F`. Raises ServerError if they are no JSON object."""
    found = _object(content)
    if not found:
        raise ServerError(f"{address.text}: the facts of the answer are no JSON object")
    return found


def refusal(address: ServerAddress, path: str, status: int, headers: Mapping[str, str], body: bytes) -> Qwen3TTSError:
    """The error of an HTTP answer with another status than what was asked for. path: the one of the request."""
    error = _object(body).get("error")
    error = error if isinstance(error, dict) else {}
    message = _text(error.get("message"))
    where = f"{address.text}: "
    if not message:
        if 300 <= status < 400:
            target = headers.get("location", "")
            return ServerError(f"{where}redirects to {target[:_MOST_CHARACTERS]}, which is not followed")
        known = UsageError if 400 <= status < 500 and status not in (401, 403, 429) else ServerError
        return known(f"{where}HTTP {status} for {path}{_whose(headers)}")
    if error.get("exit_code") == GenerationError.exit_code:
        return GenerationError(message)
    if status == 401:
        return ServerError(f"{where}{message}{_KEY_HINT}")
    if status in (403, 429, 503):
        return ServerError(where + message)
    if status == 404 and error.get("code") == "model_not_found":
        return ModelNotFoundError(message)
    return UsageError(message) if 400 <= status < 500 else reported(address, error)


def reported(address: ServerAddress, error: dict[str, Any]) -> Qwen3TTSError:
    """The error of an object with `message` and `exit_code`."""
    message = _text(error.get("message")) or "generation failed, without a message"
    message += _KEY_HINT if error.get("code") in _KEY_CODES else ""
    kind = _KINDS.get(code) if isinstance(code := error.get("exit_code"), int) else None
    return ServerError(f"{address.text}: {message}") if kind is None else kind(message)


def _whose(headers: Mapping[str, str]) -> str:
    name = headers.get("server", "")
    return f"; is this qwen3tts serve? (Server: {name[:_MOST_CHARACTERS]})" if name else "; is this qwen3tts serve?"


def _object(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`; {} if there is none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    return value[:_MOST_CHARACTERS] if isinstance(value, str) else ""
