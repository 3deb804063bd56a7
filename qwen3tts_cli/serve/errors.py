"""The errors that a server answers with: their HTTP status and the error object of the OpenAI API."""

from __future__ import annotations

import errno
import json
import re
from dataclasses import fields
from http import HTTPStatus

from ..errors import (
    CheckpointError,
    GenerationError,
    InputError,
    ModelNotFoundError,
    OutOfMemoryError,
    OutputError,
    Qwen3TTSError,
    UsageError,
)
from ..speech.speak_options import SpeakOptions

_FIELD = re.compile(r"([a-z_]+): ")
_RETRY_SECONDS = 5  # after which a client may ask a busy server again


class ApiError(Qwen3TTSError):
    """An error that a client gets.

    status: the HTTP status. kind, code, param: `type`, `code` and `param` of the error object; param: the field of the
    request. retry: whether the same request may succeed later; None leaves that to the client. headers: more headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None,
        kind: str | None = None,
        param: str | None = None,
        retry: bool | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.kind = kind or ("invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error")
        self.retry, self.more_headers = retry, headers or {}

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """The exit code of `qwen3tts say` for this error."""
        if self.code == "model_not_found":
            return ModelNotFoundError.exit_code
        if self.code == "generation_failed":
            return GenerationError.exit_code
        refused = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
        return 2 if self.status < HTTPStatus.INTERNAL_SERVER_ERROR and self.status not in refused else 1

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer besides those that every answer has."""
        retry = {} if self.retry is None else {"x-should-retry": str(self.retry).lower()}
        return {**retry, **self.more_headers}

    def body(self, **more: object) -> dict[str, dict[str, object]]:
        """The error object. more: further fields of it."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code, **more}}

    def json(self, **more: object) -> bytes:
        """The body of the answer, UTF-8. more: further fields of the error object."""
        return json.dumps(self.body(**more), ensure_ascii=False).encode()


class UnknownModelError(ApiError):
    """The request names a model that is not opened."""

    def __init__(self, message: str) -> None:
        super().__init__(HTTPStatus.NOT_FOUND, message, code="model_not_found", param="model", retry=False)


class LoadingError(ApiError):
    """The weights of a model could not be loaded, or are not there yet where nobody can wait for them."""

    def __init__(self, message: str) -> None:
        wait = {"Retry-After": str(_RETRY_SECONDS)}
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, message, code="model_loading", headers=wait)


class BusyError(ApiError):
    """The server has as many requests, bodies or connections as it takes. code: which of these. close: whether the
    connection is closed."""

    def __init__(self, message: str, code: str = "queue_full", *, close: bool = False) -> None:
        wait = {"Retry-After": str(_RETRY_SECONDS), **({"Connection": "close"} if close else {})}
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, message, code=code, headers=wait)


class StoppingError(ApiError):
    """The server is ending."""

    def __init__(self) -> None:
        wait = {"Retry-After": str(_RETRY_SECONDS), "Connection": "close"}
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, "the server is ending", code="shutting_down", headers=wait)


class AudioLimitError(ApiError):
    """The speech of a request is longer than the server makes."""

    def __init__(self, seconds: float) -> None:
        message = f"input: the speech is longer than {seconds:g} s, the limit of this server; send the text in parts"
        super().__init__(HTTPStatus.BAD_REQUEST, message, code="audio_limit", param="input", retry=False)


class StalledError(ApiError):
    """The reader of the speech has taken nothing for a while."""

    def __init__(self, seconds: float) -> None:
        message = f"the reader took no audio for {seconds:g} s"
        super().__init__(HTTPStatus.REQUEST_TIMEOUT, message, code="stalled", retry=False)


def to_api_error(error: BaseException) -> ApiError:
    """The answer for any error. It names no file of the server."""
    if isinstance(error, ApiError):
        return error
    text = str(error)
    if isinstance(error, ModelNotFoundError):
        return UnknownModelError(text)
    if isinstance(error, (UsageError, InputError)):
        code = "invalid_value" if isinstance(error, UsageError) else "invalid_audio"
        return ApiError(HTTPStatus.BAD_REQUEST, text, code=code, param=_field(text), retry=False)
    if isinstance(error, GenerationError):
        return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, text, code="generation_failed", retry=False)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OutputError) or full:
        text = "the server cannot write the file; its log has more"
        return ApiError(HTTPStatus.INSUFFICIENT_STORAGE, text, code="storage_failed", retry=False)
    if isinstance(error, CheckpointError):
        text = "a file of the model is damaged; the log of the server has more"
        return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, text, code="model_damaged", retry=False)
    if isinstance(error, (OutOfMemoryError, MemoryError)):
        return BusyError(text or "not enough memory for this request", "out_of_memory")
    if isinstance(error, Qwen3TTSError):
        return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, text, code="engine_failed")
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; the log of the server has more", code="internal")


def _field(text: str) -> str | None:
    """The option that a message begins with, if it is one of a request."""
    found = _FIELD.match(text)
    return found[1] if found and found[1] in {field.name for field in fields(SpeakOptions)} else None
