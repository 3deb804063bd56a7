"""Voices that clients keep: `POST /v1/audio/voices` and `DELETE /v1/audio/voices/{id}` of the OpenAI API.

A voice is cloned from an uploaded recording, or made from a description: a VoiceDesign model speaks a text once, and a
Base model clones the voice from that audio. One voice is made at a time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from ...audio.recording import load_recording
from ...cloning.clone import CALIBRATION_TEXT
from ...cloning.voice_file import check_texts
from ...common.arguments import describe
from ...common.audio_constants import SAMPLE_RATE
from ...common.json_fields import short_repr
from ...errors import GenerationError, InputError, OutputError, UsageError
from ...speech.speak_options import SpeakOptions
from ...text.languages_and_voices import language_name
from ..errors import ApiError, UnknownModelError
from ..handling.bodies import read_json

if TYPE_CHECKING:
    from starlette.requests import Request

    from ...audio.recording import Recording
    from ..engines import ServedModel
    from ..state import ServerState
    from .kept_voices import KeptVoice

_TYPES = ("audio_sample", "prompt")
_MAX_FIELDS, _MAX_FILES = 32, 2
_MAX_FIELD_BYTES = 1 << 16
_MOST_DIGITS = 20  # of a seed


class _Form(NamedTuple):
    """The fields of a request for a voice. texts: by their names. sample: the content of `audio_sample`, or None."""

    texts: dict[str, str]
    sample: bytes | None

    def text(self, name: str) -> str | None:
        """A field without surrounding space; None if it is missing or blank."""
        return self.texts.get(name, "").strip() or None

    def integer(self, name: str) -> int | None:
        """A field of decimal digits. Raises ApiError."""
        text = self.text(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
            raise _refusal(f"{name}: found {short_repr(text)}, expected an integer", name, "invalid_value")
        return int(text)

    def required(self, name: str) -> str:
        """A field that must be there. Raises ApiError."""
        if (text := self.text(name)) is None:
            raise _refusal(f"{name}: missing, expected a text", name, "missing_required_parameter")
        return text


class VoicesRoutes:
    """The handlers of both routes."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def create(self, request: Request) -> Response:
        """Make a voice and keep it. Raises ApiError, UsageError and InputError for a request that cannot be met."""
        server: ServerState = request.app.state.server
        server.voices.check_writable()  # before the upload is read
        form = await _read_form(request)
        kind = form.text("type") or _TYPES[0]
        if kind not in _TYPES:
            raise _refusal(f"type: found {kind!r}, expected one of {', '.join(_TYPES)}", "type", "invalid_value")
        name = form.required("name")
        key = await asyncio.to_thread(server.voices.check_free, name)
        consent = form.text("consent")
        facts = {
            "name": name,
            "language": form.text("language"),
            "note": "" if consent is None else f"consent: {consent}",
        }
        _check_texts(**facts)
        base = _base(server, form.text("model"))
        async with self._turn:
            if kind == _TYPES[0]:
                kept = await _clone_sample(server, base, form, key, facts)
            else:
                kept = await _design(server, base, form, key, facts)
        request.state.facts.update(model=base.id, voice=kept.id)
        return JSONResponse(_voice(kept))

    async def delete(self, request: Request) -> Response:
        """Delete a voice that a client has kept."""
        server: ServerState = request.app.state.server
        found = await asyncio.to_thread(server.voices.remove, request.path_params["voice"])
        request.state.facts.update(voice=found)
        return JSONResponse({"id": found, "object": "audio.voice.deleted", "deleted": True})


async def _clone_sample(
    server: ServerState, base: ServedModel, form: _Form, key: str, facts: dict[str, Any]
) -> KeptVoice:
    if form.sample is None:
        text = "audio_sample: missing, expected the file of a recording"
        raise _refusal(text, "audio_sample", "missing_required_parameter")
    try:
        recording = await asyncio.to_thread(server.recordings.read, form.sample)
    except InputError as error:
        raise _refusal(f"audio_sample: {error}", "audio_sample", "invalid_audio") from None
    return await _clone(server, base, recording, form.text("ref_text"), key, facts)


async def _design(server: ServerState, base: ServedModel, form: _Form, key: str, facts: dict[str, Any]) -> KeptVoice:
    designer = next((each for each in server.engines.served if each.config.model_type == "voice_design"), None)
    if designer is None:
        text = "type: voices from a prompt need a VoiceDesign model; start the server also with -m 1.7b-design"
        raise _refusal(text, "type", "unsupported_value")
    description = form.required("prompt")
    _check_texts(prompt=description)
    script = form.text("script_hint")
    if script is not None and len(script) > server.settings.max_text:
        text = f"script_hint: {len(script)} characters, expected at most {server.settings.max_text}"
        raise _refusal(text, "script_hint", "string_above_max_length")
    spoken = script or CALIBRATION_TEXT
    language = facts["language"] or (None if script else "english")
    if script is None and language_name(language) not in ("english", "auto"):
        text = f"script_hint: missing, expected a few sentences in the language {language}"
        raise _refusal(text, "script_hint", "missing_required_parameter")
    options = SpeakOptions(design=description, language=language, seed=form.integer("seed"), split=False, live=True)
    samples = await _spoken(server, designer, spoken, options)
    recording = await asyncio.to_thread(load_recording, (samples, SAMPLE_RATE))
    facts = {**facts, "language": language, "description": description}
    return await _clone(server, base, recording, spoken, key, facts)


async def _spoken(server: ServerState, designer: ServedModel, text: str, options: SpeakOptions) -> np.ndarray:
    """The whole speech of a text: float32 of shape (n,). Speech that runs away is made again with another seed, as
    often as options.retries says."""

    async def attempt(options: SpeakOptions) -> np.ndarray:
        async with server.speaker.speak(designer, text, options) as speaking:
            return np.concatenate([chunk async for chunk in speaking])

    for _ in range(options.retries):
        with suppress(GenerationError):
            return await attempt(options)
        options = replace(options, seed=None)
    return await attempt(options)


async def _clone(
    server: ServerState, base: ServedModel, recording: Recording, text: str | None, key: str, facts: dict[str, Any]
) -> KeptVoice:
    def ignore(line: str) -> None:
        """Warnings about a recording have no place in the answer."""

    async with server.engines.use(base) as synthesizer:
        voice = await asyncio.to_thread(lambda: synthesizer.clone(recording, text, on_warning=ignore, **facts))
    return await asyncio.to_thread(server.voices.keep, voice, key)


def _base(server: ServerState, name: str | None) -> ServedModel:
    """The model that makes voices: the base model that is named, else the first one. Raises ApiError without any."""
    found = [each for each in server.engines.served if each.config.model_type == "base"]
    if not found:
        text = "voices need a Base model, and this server has none; start it also with -m 0.6b-base"
        raise ApiError(HTTPStatus.BAD_REQUEST, text, code="unsupported_value", param="model", retry=False)
    try:
        named = server.engines.find(name)
    except UnknownModelError:  # the OpenAI API has names of its own for what makes voices
        named = None
    return named if named in found else found[0]


def _voice(kept: KeptVoice) -> dict[str, Any]:
    facts = {"id": kept.id, "object": "audio.voice", "created_at": kept.created, "name": kept.name}
    if kept.description:
        return {**facts, "type": "prompt", "prompt": kept.description}
    return {**facts, "type": "audio_sample"}


async def _read_form(request: Request) -> _Form:
    """The fields of a multipart form or of a JSON object. Raises ApiError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return _Form(_texts(await read_json(request)), None)
    if kind != "multipart/form-data":
        text = f"Content-Type: found {kind or 'none'}, expected multipart/form-data or application/json"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text, code="unsupported_media_type", retry=False)
    texts: dict[str, str] = {}
    sample = None
    try:
        async with request.form(max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES) as form:
            for name, value in form.multi_items():
                if not isinstance(value, UploadFile):
                    texts[name] = value
                elif name == "audio_sample":
                    sample = await value.read()
    except OSError as error:  # a large upload goes to a temporary file
        raise OutputError(f"the upload cannot be stored: {error.strerror or error}") from None
    except HTTPException as error:
        text = f"the body is no valid multipart form: {error.detail}"
        raise ApiError(HTTPStatus.BAD_REQUEST, text, code="invalid_form", retry=False) from None
    return _Form(texts, sample)


def _texts(found: dict[str, Any]) -> dict[str, str]:
    """The fields of a JSON object as those of a form. Raises ApiError for a value that is neither text nor integer."""
    for name, value in found.items():
        if not isinstance(value, (str, int, type(None))) or isinstance(value, bool):
            raise _refusal(f"{name}: found {describe(value)}, expected a string", name, "invalid_type")
    return {name: str(value) for name, value in found.items() if value is not None}


def _check_texts(**texts: str | None) -> None:
    """Raise ApiError for a text that a voice file cannot hold. texts: by the name of the field of the request."""
    for name, text in texts.items():
        try:
            check_texts(**{"description" if name == "prompt" else name: text})
        except UsageError as error:
            raise _refusal(str(error), name, "invalid_value") from None


def _refusal(text: str, param: str, code: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, text, code=code, param=param, retry=False)
