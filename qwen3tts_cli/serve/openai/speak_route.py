"""`POST /v1/speak`, which `qwen3tts say --server` uses: samples, codes and facts as length-prefixed parts.

A part is a byte for its kind, the length of its content as 4 bytes, little-endian, and the content:

    S   samples at the rate of the request: float32 or int16, little-endian
    C   codes: int32, little-endian, (frames, code groups); before the last part, if the request asks for them
    W   a warning, UTF-8; before the last part
    F   a JSON object: the facts of `qwen3tts say --json`; the last part of a good answer
    E   a JSON object with `message`, `code` and `exit_code`; the last part of an answer that failed

An answer without a part F or E was cut off.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...common.sample_conversion import to_pcm16
from ...speech.facts import speech_facts, timing_facts
from ..errors import StalledError, to_api_error
from .speech_route import note_late_error, read_request, speaking_of, speech_headers, timings

if TYPE_CHECKING:
    from starlette.requests import Request

    from ...speech.stream import Speech
    from ..handling.streaming import Answer
    from ..speaking import Speaking
    from .fields import SpeechRequest

CONTENT_TYPE = "application/x-qwen3tts-parts"


async def speak(request: Request, answer: Answer) -> None:
    """Answer a request. Errors before the first samples are raised; later ones become the part E."""
    began = time.perf_counter()
    asked = await read_request(request)
    warnings: list[str] = []
    if asked.options.markup:  # warnings about a recording are those that a client gets when it reads it
        asked = asked._replace(options=replace(asked.options, on_warning=warnings.append))
    try:
        async with speaking_of(request, asked) as (speaking, speech):
            await answer.start({"Content-Type": CONTENT_TYPE, **speech_headers(asked, speech)})
            await _send(asked, speaking, speech, began, answer, warnings)
    except StalledError:
        raise
    except Exception as error:
        if not answer.started:
            raise
        failure = to_api_error(error)
        facts = {"message": failure.message, "code": failure.code, "exit_code": failure.exit_code}
        await answer.write(_part(b"E", json.dumps(facts).encode()))
        await answer.end()
        note_late_error(request, error)


async def _send(
    asked: SpeechRequest, speaking: Speaking, speech: Speech, began: float, answer: Answer, warnings: list[str]
) -> None:
    digest, first = hashlib.sha256(), time.perf_counter() - began
    async for samples in speaking:
        pcm = to_pcm16(samples).tobytes()
        digest.update(pcm)
        await answer.write(_part(b"S", pcm if asked.int16 else samples.astype("<f4").tobytes()))
    if asked.codes:
        await answer.write(_part(b"C", np.ascontiguousarray(speech.codes, "<i4").tobytes()))
    for line in warnings:
        await answer.write(_part(b"W", line.encode()))
    elapsed = time.perf_counter() - began
    synthesizer = asked.served.synthesizer
    assert synthesizer is not None  # it is not freed before the speech ends
    spent = timing_facts(Counter(speech.timings), elapsed, first)
    facts = speech_facts(synthesizer, speech, elapsed, digest.hexdigest(), spent)
    if asked.timings:
        facts["segments"] = timings(speech)
    await answer.write(_part(b"F", json.dumps(facts).encode()))
    await answer.end()


def _part(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content
