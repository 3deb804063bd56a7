"""The request of `say --server`: the options of `say` as the JSON fields of POST /v1/speak and of the WebSocket.

Files are read here, since the server opens none: a kept voice and a voice file are sent as they are, a recording as
samples.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

from ...common.audio_constants import SAMPLE_RATE
from ...errors import InputError, UsageError
from ..commands.say_output import voice_file
from ..console import Console

if TYPE_CHECKING:
    from ...audio.recording import Recording

# Options of `say` that are fields of the same name. One that is None is left out.
_FIELDS = (
    "model", "language", "instruct", "design", "greedy", "temperature", "top_k", "top_p", "repetition_penalty",
    "subtalker_temperature", "subtalker_top_k", "subtalker_top_p", "text_mode", "retries", "max_frames", "max_seconds",
    "speed", "markup", "ref_text",
)  # fmt: skip
_MOST_VOICE_BYTES = 4 << 20  # as cloning/voice_file.py


def fields_of(given: dict[str, Any], seed: int, pcm16: bool, console: Console) -> dict[str, Any]:
    """The fields of a request but for its text. given: the options of `say` by name. pcm16: whether samples are to be
    16-bit PCM.

    Warnings about a recording go to the console. Raises UsageError, InputError for a voice or a recording.
    """
    fields: dict[str, Any] = {name: given[name] for name in _FIELDS if given[name] is not None}
    fields |= {"seed": seed, "split": not given["no_split"], "live": given["stream"]}
    fields |= {"sample_rate": given["rate"], "samples": "int16" if pcm16 else "float32"}
    fields["codes"] = given["codes"] is not None
    if given["lexicon"] is not None:
        fields["lexicon"] = given["lexicon"].entries
    if given["ref"] is not None:
        fields["ref_audio"] = _recording(given, console)
    elif given["voice"] is not None:
        fields |= _voice(given["voice"])
    return fields


def _voice(voice: str) -> dict[str, str]:
    """The fields of a voice: its name, and the content of its file if it is a kept voice or a voice file."""
    path = voice_file(voice)
    try:
        if path is None or not os.path.lexists(path):
            return {"voice": voice}
        with open(path, "rb") as file:
            data = file.read(_MOST_VOICE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"voice {voice}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > _MOST_VOICE_BYTES:
        raise InputError(f"voice {voice}: more than {_MOST_VOICE_BYTES} bytes, which no voice file has")
    return {"voice_file": _as_text(data)}


def _recording(given: dict[str, Any], console: Console) -> str:
    """The recording of --ref, mono at 24 kHz, as Base64 of a WAV file of 32-bit floats."""
    from ...audio.recording import load_recording, transcript_warning

    if given["voice"] is not None:
        raise UsageError("--voice and --ref are both given, leave one out")
    recording = load_recording(given["ref"], trim_silence=given["trim_silence"], append_silence=given["append_silence"])
    mismatch = transcript_warning(given["ref_text"], recording.seconds) if given["ref_text"] else None
    for line in (*recording.warnings, *([mismatch] if mismatch else [])):
        console.warning(line)
    return _as_text(_wav(recording))


def _wav(recording: Recording) -> bytes:
    import io

    import soundfile

    file = io.BytesIO()
    soundfile.write(file, recording.samples, SAMPLE_RATE, "FLOAT", format="WAV")
    return file.getvalue()


def _as_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
