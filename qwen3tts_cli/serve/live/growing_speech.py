"""One speech of a WebSocket: its text in, audio and messages out, from `ready` to `done` or `error`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import secrets
import time
from collections import Counter
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocketDisconnect

from ...common import arguments
from ...common.sample_conversion import to_pcm16
from ...output.formats import origin_of
from ...speech.facts import speech_facts, timing_facts
from ..errors import ApiError
from ..openai.fields import Fields
from .growing_text import GrowingText

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ...speech.spoken import SpokenText
    from ...speech.stream import Speech
    from ..openai.encoding import Encoders
    from ..openai.fields import SpeechRequest
    from ..speaking import Speaking
    from ..state import ServerState

FORMATS = ("pcm", "opus")
GONE = (WebSocketDisconnect, OSError)  # what sending raises once the client has left
_SEED_BITS = 53  # the integers that every reader of JSON keeps exactly


async def read_start(found: dict[str, Any], state: ServerState) -> SpeechRequest:
    """The request in the fields of a `start` message. Raises ApiError, UsageError and InputError."""
    known = {name: value for name, value in found.items() if value is not None}
    form = known.pop("format", FORMATS[0])
    if not isinstance(form, str) or form not in FORMATS:
        text = f"format: found {arguments.describe(form)}, expected one of {', '.join(FORMATS)}"
        raise ApiError(HTTPStatus.BAD_REQUEST, text, code="invalid_value", param="format", retry=False)
    fields = Fields({"samples": "int16", **known, "response_format": form}, state.settings.max_text)
    # on a thread, because it may read the file of a voice
    request = await asyncio.to_thread(fields.parse, state, growing=True)
    if request.options.seed is None:
        request = request._replace(options=replace(request.options, seed=secrets.randbits(_SEED_BITS)))
    return request


class GrowingSpeech:
    """See the module. text: where the text of the client goes."""

    def __init__(
        self, state: ServerState, encoders: Encoders, request: SpeechRequest, send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """send: sends a message, bytes or the object of a JSON message, and waits while the client does not read."""
        self._state, self._encoders, self._request, self._send = state, encoders, request, send
        self.text = GrowingText(state.settings.max_text)
        self._told = 0  # spoken texts that `segment` was sent for
        self._telling: asyncio.Task[None] | None = None
        self._digest = hashlib.sha256()  # of the samples as 16-bit PCM

    async def run(self) -> dict[str, object]:
        """Speak the text, until it ends. Returns facts for the log. Raises as Speaker.speak does. Cancelling the task
        stops the speech."""
        request, options, began = self._request, self._request.options, time.perf_counter()
        floats = request.response_format == "pcm" and not request.int16
        await self._send(self._ready())
        try:
            async with self._state.speaker.speak(request.served, self.text, options) as speaking:
                origin = origin_of("", options.seed)
                async with self._encoders.open(request.response_format, options.rate, origin) as encoder:
                    async for samples in speaking:
                        await self._tell(self._speech_of(speaking))
                        if request.facts:
                            self._digest.update(to_pcm16(samples))
                        data = samples.astype("<f4").tobytes() if floats else await encoder.feed(samples)
                        await self._send_audio(data)
                    await self._send_audio(await encoder.finish())
                speech = self._speech_of(speaking)
                more = self._asked_for(speech, time.perf_counter() - began)
            await self._tell(speech)
            await self._send({"type": "done", "seconds": speech.seconds, "seed": options.seed, **more})
        finally:
            if self._telling is not None:
                self._telling.cancel()
        return {
            "model": request.served.id,
            "voice": speech.voice,
            "seed": speech.seed,
            "audio": speech.seconds,
            "characters": self.text.characters,
            "text": " ".join(each.text for each in speech.spoken),
        }

    def _asked_for(self, speech: Speech, elapsed: float) -> dict[str, Any]:
        """The fields of `done` that the client has asked for. elapsed: the seconds since `start`."""
        found: dict[str, Any] = {}
        if self._request.facts:
            synthesizer = self._request.served.synthesizer
            assert synthesizer is not None  # it is not freed before the speech ends
            spent = timing_facts(Counter(speech.timings), elapsed, speech.first_audio_seconds)
            found["facts"] = speech_facts(synthesizer, speech, elapsed, self._digest.hexdigest(), spent)
        if self._request.codes:
            found["codes"] = base64.b64encode(speech.codes.astype("<i4").tobytes()).decode()
        return found

    def _speech_of(self, speaking: Speaking) -> Speech:
        """The speech, from the first samples on; its spoken texts are told from now on."""
        speech = speaking.speech
        assert speech is not None
        speech.spoken_texts.on_text = lambda _: self._tell_soon(speech)
        return speech

    def _ready(self) -> dict[str, Any]:
        options, served = self._request.options, self._request.served
        facts = {"type": "ready", "model": served.id, "format": self._request.response_format}
        ignored = {"ignored": self._request.ignored} if self._request.ignored else {}
        return {**facts, "sample_rate": options.rate, "channels": 1, "seed": options.seed, **ignored}

    async def _send_audio(self, data: bytes) -> None:
        if data:
            await self._send(data)

    def _tell_soon(self, speech: Speech) -> None:
        """Send `segment` also while this task waits for more samples."""
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell_quietly(speech))

    async def _tell_quietly(self, speech: Speech) -> None:
        with contextlib.suppress(*GONE):
            await self._tell(speech)

    async def _tell(self, speech: Speech) -> None:
        """Send `segment` for the texts that were spoken to their end."""
        spoken = speech.spoken_texts.found
        while self._told < len(spoken):
            number, self._told = self._told, self._told + 1
            await self._send(_segment(number, spoken[number]))


def _segment(number: int, spoken: SpokenText) -> dict[str, Any]:
    return {"type": "segment", "id": number, "text": spoken.text, "start": spoken.start, "end": spoken.end}
