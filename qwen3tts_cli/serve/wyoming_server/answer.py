"""The answer to one Wyoming request: `audio-start` with the first samples, `audio-chunk`s, `audio-stop`; after a text
that came in pieces also `synthesize-stopped`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.tts import SynthesizeStopped

from ...common.audio_constants import SAMPLE_RATE
from ...common.sample_conversion import to_pcm16
from ...speech.speak_options import SpeakOptions
from ..live.growing_text import GrowingText
from ..openai.voice_names import resolve_name
from .voices import choose_voice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wyoming.event import Eventable

    from ..errors import ApiError
    from ..state import ServerState
    from .requests import SpeechRequest
    from .voices import ListedVoice

CHUNK_SAMPLES = 1920  # of an audio-chunk: one frame; 2,048 at most
_FORMAT = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}


async def speak(
    request: SpeechRequest,
    state: ServerState,
    voices: dict[str, ListedVoice],
    write: Callable[[Eventable], Awaitable[None]],
) -> dict[str, object]:
    """Speak a request, and send its events. Returns facts for the log.

    voices: see list_voices. write: sends an event, and waits while the client does not read. Raises as Speaker.speak
    does, UsageError if there is no voice, OSError if the client has left.
    """
    voice = choose_voice(request.voice, voices, lambda line: state.log.event("warning", message=f"Wyoming: {line}"))
    name = voice.voice
    spoken = None if name is None else await asyncio.to_thread(resolve_name, name, voice.served, state.voices)
    options = SpeakOptions(voice=spoken, language=voice.language, lexicon=state.lexicon, live=True)
    started = False
    async with state.speaker.speak(voice.served, request.text, options) as speaking:
        async for samples in speaking:
            if not started:
                await write(AudioStart(**_FORMAT))
                started = True
            pcm = to_pcm16(samples)
            for start in range(0, len(pcm), CHUNK_SAMPLES):
                await write(AudioChunk(**_FORMAT, audio=pcm[start : start + CHUNK_SAMPLES].tobytes()))
        speech = speaking.speech
    await write(AudioStop())
    if isinstance(request.text, GrowingText):
        await write(SynthesizeStopped())
    text = " ".join(each.text for each in speech.spoken)
    return {"model": voice.served.id, "voice": voice.name, "audio": speech.seconds, "seed": speech.seed, "text": text}


async def answer_error(error: ApiError, write: Callable[[Eventable], Awaitable[None]]) -> None:
    """Send what ends a request that failed: some clients know no `error`, and wait for the other events."""
    await write(Error(text=error.message, code=error.code))
    await write(AudioStop())
    await write(SynthesizeStopped())
