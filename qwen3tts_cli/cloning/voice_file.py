"""The class Voice, and the voice file: one small safetensors file, which is checked in full when it is read.

Tensors: `embedding`, F32 of shape (width,); and `codes`, I32 of shape (frames, code groups), if the voice has a
transcript. Metadata: the strings `format` and `voice`; `voice` is a JSON object of the other fields of Voice. The same
function checks a voice before it is written and after it is read, so that every file that is written can be read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..audio.array_file import array_file_bytes, parse_array_file
from ..common.json_fields import parse_json, read_bytes, short_repr
from ..errors import CheckpointError, InputError, UsageError

if TYPE_CHECKING:
    from ..models.config.model import ModelConfig

FORMAT = "qwen3tts-voice 1"
MAX_BYTES = 4 << 20
MAX_TRANSCRIPT = 16384
MAX_FRAMES = 7507  # 10 minutes and 0.5 s of appended silence
_MAX_WIDTH, _MAX_GROUPS, _MAX_CODE = 16384, 64, 65535
_MAX_SECONDS = 600
# text field: the most characters that it may have
_TEXTS = {
    "name": 64,
    "language": 64,
    "model": 256,
    "description": 4096,
    "note": 4096,
    "sha256": 64,
    "transcript": MAX_TRANSCRIPT,
}
# the value of a field that a file lacks or has as null or an empty string
_ABSENT = {
    "name": "",
    "transcript": None,
    "language": None,
    "model": "",
    "description": "",
    "note": "",
    "seconds": 0.0,
    "sha256": "",
}
# Control characters other than white space, controls of the text direction, which a terminal obeys, and surrogates.
_REFUSED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# width of the speaker vector: name of the base model
BASE_MODELS = {1024: "0.6b-base", 2048: "1.7b-base"}


@dataclass(frozen=True, eq=False)
class Voice:
    """A cloned or designed voice, which base models of one hidden size speak with. Synthesizer.clone makes one.

    name: at most 64 characters. embedding: the speaker vector, float32 of shape (width,); width is the model's hidden
    size. codes: the codes of the recording, int32 of shape (frames, code groups). transcript: the text that the
    recording says. Codes and transcript are both None for a voice of the speaker vector alone. language: the language
    of the recording; None if unknown. model: the model that made the voice. description: the text that a designed voice
    was made from. note: any text, such as licence and consent. seconds, sha256: see audio.recording.Recording.

    >>> voice = base.clone(Path("anna.wav"), "The train leaves at seven.", name="anna")
    >>> voice.embedding.shape, voice.codes.shape
    ((1024,), (103, 16))
    >>> samples = base.say("Good evening.", voice=voice)

    Raises UsageError for an embedding or codes that are no array of numbers, or codes that do not fit int32.
    """

    name: str
    embedding: np.ndarray
    codes: np.ndarray | None = None
    transcript: str | None = None
    language: str | None = None
    model: str = ""
    description: str = ""
    note: str = ""
    seconds: float = 0.0
    sha256: str = ""

    def __post_init__(self) -> None:
        # Arrays get the dtype that the engine reads, other fields the value that a voice file gives back.
        set_field = object.__setattr__
        set_field(self, "embedding", _array("embedding", self.embedding, np.float32))
        if self.codes is not None:
            set_field(self, "codes", _array("codes", self.codes, np.int32))
        for key, absent in _ABSENT.items():
            value = getattr(self, key)
            if value is None or (isinstance(value, str) and not value):
                set_field(self, key, absent)
        if isinstance(self.seconds, (np.integer, np.floating)):
            set_field(self, "seconds", float(self.seconds))

    @property
    def width(self) -> int:
        """Length of the speaker vector: the hidden size of the models that speak with this voice."""
        return len(self.embedding)

    @property
    def needs(self) -> str:
        """A model that speaks with this voice, for messages."""
        return self.model or BASE_MODELS.get(self.width, f"a base model of hidden size {self.width}")

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the vector, the codes and the transcript: the same for a copy under another name."""
        text = json.dumps([self.transcript, self.codes is not None])
        codes = b"" if self.codes is None else self.codes.astype("<i4").tobytes()
        return hashlib.sha256(text.encode() + self.embedding.astype("<f4").tobytes() + codes).hexdigest()

    def check_fits(self, config: ModelConfig, model: str) -> None:
        """Raise UsageError unless a model can speak with this voice. model: its name, for the message."""
        if config.model_type != "base":
            raise UsageError(f"voice {self.name}: {model} cannot clone; it needs {self.needs} (-m)")
        if self.width != config.talker.hidden_size:
            found = f"its vector has {self.width} numbers, {model} takes {config.talker.hidden_size}"
            raise UsageError(f"voice {self.name}: {found}; it needs {self.needs} (-m)")
        if self.codes is not None and self.codes.shape[1] != config.num_code_groups:
            found = f"{self.codes.shape[1]} codes a frame, {model} has {config.num_code_groups}"
            raise UsageError(f"voice {self.name}: {found}; it was made with {self.model or 'another codec'}")


def check_texts(**texts: object) -> None:
    """Raise UsageError unless a voice file can hold these text fields. Called before the voice is made.

    texts: the text of each field by its name; None for a field that the voice does not have; `name` must be a text.
    """
    for key, value in texts.items():
        if (value is not None or key == "name") and (wrong := _wrong_text(key, value)):
            raise UsageError(wrong)


def as_text(model: str) -> str:
    """The name of a model as a voice file can hold it: at most 256 characters, with "?" for refused characters."""
    return _REFUSED.sub("?", model)[: _TEXTS["model"]]


def voice_bytes(voice: Voice) -> bytes:
    """The bytes of a voice file, the same on every machine. Raises UsageError for a field that a file cannot hold."""
    if wrong := _wrong(voice):
        raise UsageError(f"voice {short_repr(voice.name)}: {wrong}")
    plain = {key: getattr(voice, key) for key in _ABSENT}
    arrays = {"embedding": voice.embedding} | ({} if voice.codes is None else {"codes": voice.codes})
    return array_file_bytes({"format": FORMAT, "voice": json.dumps(plain, ensure_ascii=True)}, arrays)


def read_voice(path: str | os.PathLike[str]) -> Voice:
    """Read and check a voice file. Raises UsageError if it does not exist, InputError if it is not a valid voice file.

    >>> voice = read_voice("anna.safetensors")
    """
    path = Path(path)
    if not os.path.lexists(path):
        raise UsageError(f"voice {path}: no such file")
    try:
        return parse_voice(read_bytes(path, MAX_BYTES), path)
    except CheckpointError as error:
        raise InputError(str(error)) from None


def parse_voice(data: bytes, path: Path) -> Voice:
    """The voice that the bytes of a voice file hold, at most MAX_BYTES. path: the name of the file in messages.

    Raises InputError if they are not those of a valid voice file.
    """
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: {len(data)} bytes, the limit is {MAX_BYTES}")
    try:
        metadata, arrays = parse_array_file(data, path)
        if metadata.get("format") != FORMAT:
            found = short_repr(metadata.get("format"))
            raise InputError(f"{path}: format: found {found}, expected {FORMAT!r}: not a voice, or of a later version")
        values = parse_json(metadata.get("voice", "").encode("utf-8", "surrogatepass"), path, "voice:")
        if not isinstance(values, dict):
            raise InputError(f"{path}: voice: found {short_repr(values)}, expected an object")
    except CheckpointError as error:
        raise InputError(str(error)) from None
    for name in arrays:
        if name not in ("embedding", "codes"):
            raise InputError(f"{path}: tensor {short_repr(name)}: unknown, expected embedding and codes")
    if wrong := _wrong_arrays(arrays.get("embedding"), arrays.get("codes")):
        raise InputError(f"{path}: {wrong}")
    plain: dict[str, Any] = {key: values.get(key) for key in _ABSENT}
    voice = Voice(embedding=arrays["embedding"], codes=arrays.get("codes"), **plain)
    if wrong := _wrong(voice):
        raise InputError(f"{path}: voice.{wrong}")
    return voice


def _wrong(voice: Voice) -> str | None:
    """A message for the first field that a voice file cannot hold; None for a valid voice."""
    for key in _TEXTS:
        value = getattr(voice, key)
        if (value is not None or key not in ("transcript", "language")) and (wrong := _wrong_text(key, value)):
            return wrong
    seconds = voice.seconds
    real = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not real or not 0 <= seconds <= _MAX_SECONDS:  # NaN is in no range
        return f"seconds: found {_found(seconds)}, expected a number from 0 to {_MAX_SECONDS}"
    if (voice.codes is None) != (voice.transcript is None):
        has, lacks = ("codes", "transcript") if voice.codes is not None else ("transcript", "codes")
        return f"{lacks}: the voice has {has} but no {lacks}"
    return _wrong_arrays(voice.embedding, voice.codes)


def _wrong_text(key: str, value: object) -> str | None:
    if not isinstance(value, str):
        return f"{key}: found {_found(value)}, expected a text"
    if len(value) > _TEXTS[key]:
        return f"{key}: {len(value)} characters, expected at most {_TEXTS[key]}"
    if found := _REFUSED.search(value):
        what = f"U+{ord(found[0]):04X} at character {found.start()}"
        return f"{key}: found {what}, expected printable text without control characters"
    return None


def _wrong_arrays(embedding: np.ndarray | None, codes: np.ndarray | None) -> str | None:
    vector = embedding is not None and embedding.dtype == np.float32 and embedding.ndim == 1
    if embedding is None or not vector or not 1 <= len(embedding) <= _MAX_WIDTH:
        found = "nothing" if embedding is None else f"{embedding.dtype} {list(embedding.shape)}"
        return f"tensor embedding: found {found}, expected F32 of 1 to {_MAX_WIDTH} numbers"
    if not np.isfinite(embedding).all():
        return "tensor embedding: values that are not finite"
    if codes is None:
        return None
    shape_ok = codes.ndim == 2 and 1 <= codes.shape[0] <= MAX_FRAMES and 2 <= codes.shape[1] <= _MAX_GROUPS
    if codes.dtype != np.int32 or not shape_ok:
        found, limit = f"{codes.dtype} {list(codes.shape)}", f"(1 to {MAX_FRAMES}, 2 to {_MAX_GROUPS})"
        return f"tensor codes: found {found}, expected I32 {limit}"
    if codes.min() < 0 or codes.max() > _MAX_CODE:
        return f"tensor codes: values from {codes.min()} to {codes.max()}, expected 0 to {_MAX_CODE}"
    return None


def _array(key: str, value: object, dtype: type) -> np.ndarray:
    """A contiguous array of `dtype`. Raises UsageError unless `value` is an array of numbers that fit it."""
    try:
        given = np.asarray(value)
        if given.dtype.kind not in ("iu" if dtype is np.int32 else "iuf"):
            raise UsageError(f"voice: {key}: found {given.dtype} {list(given.shape)}, expected {np.dtype(dtype)}")
        with np.errstate(over="ignore"):
            array = np.require(given, dtype, "C")
    except (TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"voice: {key}: found {_found(value)}, expected an array") from None
    if dtype is np.int32 and not np.array_equal(array, given):
        raise UsageError(f"voice: {key}: values that do not fit {np.dtype(dtype)}")
    return array


def _found(value: object) -> str:
    """A short description of a value of a wrong type."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 1 << 64 else "an integer of more than 64 bits"
    return short_repr(value) if value is None or isinstance(value, (bool, float, str)) else type(value).__name__
