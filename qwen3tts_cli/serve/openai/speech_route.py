"""`POST /v1/audio/speech` of the OpenAI API: the audio as a body that is sent while it is made, or as events."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...errors import UsageError
from ...output.formats import origin_of
from ..errors import ApiError, StalledError, to_api_error
from ..handling.bodies import read_json
from ..handling.log import note_error
from .encoders import content_type
from .encoding import Encoders
from .fields import LARGE_FIELDS, Fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from ...speech.stream import Speech
    from ..handling.streaming import Answer
    from ..speaking import Speaking
    from ..state import ServerState
    from .encoding import Encoder
    from .fields import SpeechRequest

_BAD_REQUEST = 400
_NOT_KEPT = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # caches and proxies pass the audio on at once


class SpeechRoute:
    """The handler of the route; it is called for each request."""

    def __init__(self) -> None:
        self._encoders = Encoders()

    async def __call__(self, request: Request, answer: Answer) -> None:
        """Answer a request. Errors before the first samples are raised, later ones too unless they became an event."""
        asked = await read_request(request)
        if asked.timings and not asked.events:
            text = "timings: need stream_format sse, or POST /v1/speak: an audio file has no place for them"
            raise ApiError(_BAD_REQUEST, text, code="unsupported_value", param="timings", retry=False)
        try:
            async with speaking_of(request, asked) as (speaking, speech):
                origin = origin_of(asked.text, speech.seed)
                async with self._encoders.open(asked.response_format, speech.rate, origin) as encoder:
                    send = _send_events if asked.events else _send_audio
                    await send(asked, speaking, speech, encoder, answer)
        except StalledError:
            raise
        except Exception as error:
            if not (asked.events and answer.started):
                raise
            await answer.write(_event(to_api_error(error).body() | {"type": "error"}, "error"))
            await answer.end()
            note_late_error(request, error)


async def read_request(request: Request) -> SpeechRequest:
    """The checked request in the body of an HTTP request. Raises ApiError, UsageError, InputError."""
    server: ServerState = request.app.state.server
    fields = Fields(await read_json(request, LARGE_FIELDS), server.settings.max_text)
    # on a thread, because it may decode a recording and read the file of a voice
    asked = await asyncio.to_thread(fields.parse, server)
    request.state.facts.update(model=asked.served.id, characters=len(asked.text), text=asked.text)
    return asked


@asynccontextmanager
async def speaking_of(request: Request, asked: SpeechRequest) -> AsyncIterator[tuple[Speaking, Speech]]:
    """The speech that a request asks for, once its first samples are there. Raises as Speaker.speak does."""
    server: ServerState = request.app.state.server
    connection = getattr(request.state, "connection", None)  # None behind another ASGI server than ours
    unsent = None if connection is None else connection.unsent
    try:
        async with server.speaker.speak(asked.served, asked.text, asked.options, unsent=unsent) as speaking:
            speech = speaking.speech
            assert speech is not None  # there are samples
            request.state.facts.update(voice=speech.voice, seed=speech.seed)
            yield speaking, speech
    except UsageError as error:
        found = to_api_error(error)
        param = found.param or "input"  # what is not about an option is about the text
        raise ApiError(found.status, found.message, code=found.code, param=param, retry=False) from None


def note_late_error(request: Request, error: Exception) -> None:
    """Log an error that the client got inside an answer that had begun."""
    server: ServerState = request.app.state.server
    request.state.facts["error"] = note_error(server.log, error, id=request.state.request_id).code


def speech_headers(asked: SpeechRequest, speech: Speech) -> dict[str, str]:
    """The headers that tell how a text is spoken. Characters that a header cannot hold are percent-encoded."""
    headers = {"X-Seed": str(speech.seed), "X-Model": asked.served.id, "X-Voice": speech.voice or "none"}
    if asked.ignored:
        headers["X-Ignored"] = ", ".join(asked.ignored)
    return {name: quote(value, safe="".join(map(chr, range(32, 127)))) for name, value in headers.items()} | _NOT_KEPT


async def _send_audio(
    asked: SpeechRequest, speaking: Speaking, speech: Speech, encoder: Encoder, answer: Answer
) -> None:
    kind = content_type(asked.response_format, speech.rate)
    await answer.start({"Content-Type": kind, **speech_headers(asked, speech)})
    async for samples in speaking:
        await answer.write(await encoder.feed(samples))
    await answer.write(await encoder.finish())
    await answer.end()


async def _send_events(
    asked: SpeechRequest, speaking: Speaking, speech: Speech, encoder: Encoder, answer: Answer
) -> None:
    await answer.start({"Content-Type": "text/event-stream; charset=utf-8", **speech_headers(asked, speech)})
    async for samples in speaking:
        await answer.write(_delta(await encoder.feed(samples)))
    await answer.write(_delta(await encoder.finish()))
    done: dict[str, Any] = {"type": "speech.audio.done", "usage": await asyncio.to_thread(_usage, asked, speech)}
    if asked.timings:
        done["timings"] = timings(speech)
    await answer.write(_event(done))
    await answer.end()


def _delta(audio: bytes) -> bytes:
    if not audio:
        return b""
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(audio).decode()})


def _event(facts: dict[str, Any], name: str | None = None) -> bytes:
    """A server-sent event; the OpenAI API gives a name to none but errors."""
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {json.dumps(facts, separators=(',', ':'))}\n\n".encode()


def _usage(asked: SpeechRequest, speech: Speech) -> dict[str, int]:
    """Tokens of the text, and frames of the audio."""
    given = len(speech.model.checkpoint.tokenizer.encode(asked.text))
    return {"input_tokens": given, "output_tokens": speech.frames, "total_tokens": given + speech.frames}


def timings(speech: Speech) -> list[dict[str, Any]]:
    """The text of each utterance, and the seconds between which it is heard."""
    return [{"text": each.text, "start": each.start, "end": each.end} for each in speech.spoken]
