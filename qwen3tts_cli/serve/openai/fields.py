"""The fields of a request to speak: a JSON object becomes a checked SpeechRequest."""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ...cloning.clone import CLONING_MODELS
from ...cloning.voice_file import MAX_TRANSCRIPT, parse_voice
from ...common import arguments
from ...common.audio_constants import RATES, SAMPLE_RATE
from ...errors import InputError, OutputError, UsageError
from ...output.ffmpeg import require_ffmpeg
from ...speech.speak_options import SpeakOptions
from ...text.languages_and_voices import resolve_language
from ...text.prompt import follows_instructions
from ..errors import ApiError
from .encoders import FORMATS, sample_rates
from .voice_names import BUILT_IN, check_has_voice, resolve_name

if TYPE_CHECKING:
    from ...audio.recording import Recording
    from ...cloning.voice_file import Voice
    from ...spoken_text.lexicon import Lexicon
    from ..engines import ServedModel
    from ..state import ServerState
    from .recordings import Recordings

# Fields that are options of SpeakOptions under the same name.
OPTIONS = (
    "language", "instruct", "design", "text_mode", "seed", "greedy", "temperature", "top_k", "top_p",
    "repetition_penalty", "subtalker_temperature", "subtalker_top_k", "subtalker_top_p", "max_frames", "max_seconds",
    "retries", "split", "markup", "speed", "key",
)  # fmt: skip
GROWING_OPTIONS = ("idle_ms", "lines")  # more of them, for a text that comes in pieces
LARGE_FIELDS = ("ref_audio", "voice_file", "lexicon")  # a body with one of these may be larger
_MAX_INSTRUCTIONS = 4096  # characters, as in the OpenAI API
_LONGEST = {
    "instructions": _MAX_INSTRUCTIONS,
    "instruct": _MAX_INSTRUCTIONS,
    "design": _MAX_INSTRUCTIONS,
    "ref_text": MAX_TRANSCRIPT,
}
_STREAM_FORMATS = ("audio", "sse")
_SAMPLE_TYPES = ("float32", "int16")


class SpeechRequest(NamedTuple):
    """A request to speak, all of whose fields are checked.

    served: the model. text, options: what to speak and how. response_format: one of encoders.FORMATS. events: whether
    the answer is a stream of events. timings: whether it lists when each utterance is heard. ignored: the fields that
    the model cannot use. int16, codes, facts: of `/v1/speak` and the WebSocket: whether samples are sent as 16-bit
    integers, and whether codes and, which `/v1/speak` always sends, facts are sent.
    """

    served: ServedModel
    text: str
    options: SpeakOptions
    response_format: str
    events: bool
    timings: bool
    ignored: tuple[str, ...]
    int16: bool
    codes: bool
    facts: bool


class Fields:
    """Checks the fields of one request; see `parse`."""

    def __init__(self, found: dict[str, Any], max_text: int) -> None:
        """found: the JSON object of the request. max_text: the most characters of `input`."""
        # null is the default, as if the field were not there
        self._found = {name: value for name, value in found.items() if value is not None}
        self._longest = {**_LONGEST, "input": max_text}

    def parse(self, server: ServerState, *, growing: bool = False) -> SpeechRequest:
        """The request. Reads the files of kept voices, and decodes a recording. Raises ApiError, UsageError and
        InputError; unknown fields are ignored. growing: whether the text comes later, in pieces."""
        served = server.engines.find(self._text("model"))
        text = "" if growing else self._input()
        ignored = self._ignored(served)
        response_format = self._choice("response_format", FORMATS, "mp3")
        rate = self._sample_rate(response_format)
        if response_format == "aac":
            _check_ffmpeg()
        names = (*OPTIONS, *GROWING_OPTIONS) if growing else OPTIONS
        options = {name: self._found[name] for name in names if name in self._found}
        for name in ("instruct", "design"):
            self._text(name)
        if language := self._text("language"):
            _check_language(served, language)
        if (
            (instructions := self._text("instructions"))
            and not ignored
            and options.setdefault("instruct", instructions) != instructions
        ):
            _refuse("instructions", "instructions: instruct is given too and differs, leave one out")
        voice, recording = self._voice(served, server)
        ref_text = self._text("ref_text") if recording is not None else None
        # an option of another type than SpeakOptions takes raises UsageError that names it
        spoken = SpeakOptions(
            **options,
            voice=voice,
            ref_audio=recording,
            ref_text=ref_text,
            rate=rate,
            lexicon=self._lexicon() or server.lexicon,
            live=self._switch("live", True),
        )
        return SpeechRequest(
            served=served,
            text=text,
            options=spoken,
            response_format=response_format,
            events=self._choice("stream_format", _STREAM_FORMATS, "audio") == "sse",
            timings=self._switch("timings"),
            ignored=ignored,
            int16=self._choice("samples", _SAMPLE_TYPES, "float32") == "int16",
            codes=self._switch("codes"),
            facts=self._switch("facts"),
        )

    # ---------------------------------------------------------------- fields by their type
    def _text(self, name: str) -> str | None:
        value = self._found.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            _refuse(name, f"{name}: found {arguments.describe(value)}, expected a string", "invalid_type")
        if len(value) > (most := self._longest.get(name, len(value))):
            text = f"{name}: found a string of {len(value)} characters, expected at most {most}"
            _refuse(name, text, "string_above_max_length")
        return value

    def _choice(self, name: str, known: tuple[str, ...], default: str) -> str:
        value = self._found.get(name, default)
        if not isinstance(value, str) or value not in known:
            _refuse(name, f"{name}: found {arguments.describe(value)}, expected one of {', '.join(known)}")
        return value

    def _switch(self, name: str, default: bool = False) -> bool:
        value = self._found.get(name, default)
        if not isinstance(value, bool):
            _refuse(name, f"{name}: found {arguments.describe(value)}, expected true or false", "invalid_type")
        return value

    # ---------------------------------------------------------------- fields by their meaning
    def _input(self) -> str:
        if "input" not in self._found:
            _refuse("input", "input: missing, expected the text to speak", "missing_required_parameter")
        text = self._text("input") or ""
        if not text.strip():
            _refuse("input", "input: found an empty string, expected the text to speak", "empty_string")
        return text

    def _ignored(self, served: ServedModel) -> tuple[str, ...]:
        """The fields that are not used. Raises ApiError for them if the request is strict."""
        strict = self._switch("strict")
        usable = follows_instructions(served.config) and "design" not in self._found
        if not self._text("instructions") or usable:
            return ()
        if strict:
            _refuse(
                "instructions", f"instructions: {served.id} cannot follow them, leave them out", "unsupported_value"
            )
        return ("instructions",)

    def _sample_rate(self, response_format: str) -> int:
        rates, known = sample_rates(response_format), ", ".join(map(str, RATES))
        rate = self._found.get("sample_rate", self._found.get("rate", SAMPLE_RATE))
        if isinstance(rate, bool) or rate not in RATES:
            _refuse("sample_rate", f"sample_rate: found {arguments.describe(rate)}, expected one of {known}")
        if rate not in rates:
            text = f"sample_rate: found {rate}, {response_format} has only {', '.join(map(str, rates))}"
            _refuse("sample_rate", text)
        return int(rate)

    def _voice(self, served: ServedModel, server: ServerState) -> tuple[str | Voice | None, Recording | None]:
        """The voice of the request, and the recording to clone instead of one."""
        name = self._found.get("voice")
        if isinstance(name, dict):
            name = name.get("id")
        if name is not None and not isinstance(name, str):
            expected = 'a string or an object {"id": ...} of one'
            _refuse("voice", f"voice: found {arguments.describe(name)}, expected {expected}", "invalid_type")
        recording = self._recording(served, server.recordings)
        voice = self._voice_file(served)
        if recording is not None or voice is not None:
            # the field is required in the OpenAI API, so clients send a built-in voice where they mean none
            other = "ref_audio" if recording is not None else "voice_file"
            if (name and name.strip().lower() not in BUILT_IN) or None not in (recording, voice):
                _refuse("voice", f"voice: leave out either the voice or {other}")
            return voice, recording
        if "ref_text" in self._found:
            _refuse("ref_text", "ref_text: there is no ref_audio that it could be of")
        voice = None if name is None else resolve_name(name, served, server.voices)
        if "design" not in self._found:
            check_has_voice(served, voice)
        return voice, None

    def _recording(self, served: ServedModel, recordings: Recordings) -> Recording | None:
        data = self._data("ref_audio")
        if data is None:
            return None
        if served.config.model_type != "base":
            text = f"ref_audio: {served.id} cannot clone a voice; {CLONING_MODELS} can"
            _refuse("ref_audio", text, "unsupported_value")
        try:
            return recordings.read(data)
        except InputError as error:
            _refuse("ref_audio", f"ref_audio: {error}", "invalid_audio")

    def _lexicon(self) -> Lexicon | None:
        rows = self._found.get("lexicon")
        if rows is None:
            return None
        from ...spoken_text.lexicon import Entry, Lexicon

        columns = (str, str, str, bool, bool)
        for row in rows if isinstance(rows, list) else [rows]:
            if not isinstance(row, list) or tuple(map(type, row)) != columns[: max(2, len(row))]:
                expected = "an array of arrays: from, to, language, any case, whole word"
                _refuse("lexicon", f"lexicon: found {arguments.describe(row)}, expected {expected}", "invalid_type")
        return Lexicon(Entry(*row) for row in rows)

    def _voice_file(self, served: ServedModel) -> Voice | None:
        data = self._data("voice_file")
        if data is None:
            return None
        try:
            voice = parse_voice(data, Path("voice_file"))
            voice.check_fits(served.config, served.id)
            return voice
        except (InputError, UsageError) as error:
            _refuse("voice_file", str(error))

    def _data(self, name: str) -> bytes | None:
        """The bytes of a field of base64, or of a data URL. No other URL is read."""
        text = self._text(name)
        if not text:
            return None
        if text.startswith("data:"):
            head, comma, text = text.partition(",")
            if not comma or not head.endswith(";base64"):
                _refuse(name, f"{name}: found a data URL that is not base64")
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            _refuse(name, f"{name}: not base64; no path and no URL is read")


def _check_language(served: ServedModel, name: str) -> None:
    try:
        resolve_language(served.config, name)
    except UsageError as error:
        _refuse("language", str(error))


def _check_ffmpeg() -> None:
    try:
        require_ffmpeg("aac")
    except OutputError:
        text = "response_format: aac needs the program ffmpeg, which the server does not have; mp3 and opus do not"
        _refuse("response_format", text, "format_unavailable")


def _refuse(param: str, message: str, code: str = "invalid_value") -> NoReturn:
    raise ApiError(HTTPStatus.BAD_REQUEST, message, code=code, param=param, retry=False)
