"""A kept voice: one small safetensors file, written by this package and never trusted when read.

Tensors: `embedding` F32 (width,), and `codes` I32 (frames, groups) where the voice continues a recording. Metadata: two
strings, `format` and `voice`, the second a JSON object of the other fields of Voice.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import CheckpointError, InputError, UsageError
from .jsonfile import Section, parse_json, shown
from .safetensors import read_small, small_bytes

if TYPE_CHECKING:
    from .config import ModelConfig

FORMAT = "qwen3tts-voice 1"
MAX_BYTES = 4 << 20
MAX_TRANSCRIPT = 16384
_MAX_WIDTH, _MAX_FRAMES, _MAX_GROUPS, _MAX_CODE = 16384, 7501, 64, 65535
_MAX_SECONDS = 600
# text fields, with the most characters they may have
_TEXTS = {"name": 64, "language": 64, "model": 256, "description": 4096, "note": 4096, "sha256": 64}
# the base model whose speaker vectors have a width
BASE_MODELS = {1024: "0.6b-base", 2048: "1.7b-base"}


@dataclass(frozen=True, eq=False)
class Voice:
    """A voice that a base model speaks with.

    embedding: float32 (width,), the model's hidden size. codes: int32 (frames, groups) of the recording that says
    `transcript`, both None for a voice made from the embedding alone. language: of the recording, None if unknown.
    model: what made it. description: what a designed voice was asked to be. note: licence, consent, whatever its maker
    wants to keep with it. seconds, sha256: of the recording.
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
        # as the engine reads them
        object.__setattr__(self, "embedding", np.ascontiguousarray(self.embedding, np.float32))
        if self.codes is not None:
            object.__setattr__(self, "codes", np.ascontiguousarray(self.codes, np.int32))

    @property
    def width(self) -> int:
        """Length of the embedding: the hidden size of the models that it fits."""
        return len(self.embedding)

    @property
    def needs(self) -> str:
        """The model to name where another was opened."""
        return self.model or BASE_MODELS.get(self.width, f"a base model of hidden size {self.width}")

    @property
    def digest(self) -> str:
        """What the voice sounds like, whatever it is called: the same for a copy under another name."""
        text = json.dumps([self.transcript, self.codes is not None])
        codes = b"" if self.codes is None else self.codes.astype("<i4").tobytes()
        return hashlib.sha256(text.encode() + self.embedding.astype("<f4").tobytes() + codes).hexdigest()

    def check_fits(self, config: ModelConfig, model: str) -> None:
        """Raise UsageError unless a model can speak with this voice."""
        if config.model_type != "base":
            raise UsageError(f"voice {self.name}: {model} cannot clone; it needs {self.needs} (-m)")
        if self.width != config.talker.hidden_size:
            found = f"its vector has {self.width} numbers, {model} takes {config.talker.hidden_size}"
            raise UsageError(f"voice {self.name}: {found}; it needs {self.needs} (-m)")
        if self.codes is not None and self.codes.shape[1] != config.num_code_groups:
            found = f"{self.codes.shape[1]} codes a frame, {model} has {config.num_code_groups}"
            raise UsageError(f"voice {self.name}: {found}; it was made with {self.model or 'another codec'}")


def voice_bytes(voice: Voice) -> bytes:
    """The file of a voice. The same voice gives the same bytes on every machine. Raises InputError for a field that a
    file cannot hold."""
    plain = {f.name: getattr(voice, f.name) for f in fields(Voice) if f.name not in ("embedding", "codes")}
    arrays = {"embedding": voice.embedding} | ({} if voice.codes is None else {"codes": voice.codes})
    data = small_bytes({"format": FORMAT, "voice": json.dumps(plain, ensure_ascii=True)}, arrays)
    if len(data) > MAX_BYTES:
        raise InputError(f"voice {voice.name}: {len(data)} bytes, the limit is {MAX_BYTES}")
    return data


def read_voice(path: str | os.PathLike[str]) -> Voice:
    """Read and check a voice file. Raises UsageError where there is none, InputError for what is wrong with it."""
    path = Path(path)
    if not os.path.lexists(path):
        raise UsageError(f"voice {path}: no such file")
    try:
        metadata, arrays = read_small(path, MAX_BYTES)
        if metadata.get("format") != FORMAT:
            found = shown(metadata.get("format"))
            raise InputError(f"{path}: format: found {found}, expected {FORMAT!r}: not a voice, or of a later version")
        values = parse_json(metadata.get("voice", "").encode("utf-8", "surrogatepass"), path, "voice:")
        if not isinstance(values, dict):
            raise InputError(f"{path}: voice: found {shown(values)}, expected an object")
        section = Section(values, path, "voice")
        texts = {key: section.string(key, most, "") for key, most in _TEXTS.items()}
        transcript = section.string("transcript", MAX_TRANSCRIPT, None)
        seconds = section.number("seconds", 0, _MAX_SECONDS, 0.0)
    except CheckpointError as error:
        raise InputError(str(error)) from None
    texts = {key: _printable(path, key, text) for key, text in texts.items()}
    embedding, codes = _arrays(path, arrays)
    if (codes is None) != (not transcript):
        has, lacks = ("codes", "transcript") if codes is not None else ("transcript", "codes")
        raise InputError(f"{path}: it has {has} but no {lacks}")
    language = texts.pop("language") or None
    spoken = {"transcript": transcript or None, "language": language, "seconds": seconds}
    return Voice(embedding=embedding, codes=codes, **spoken, **texts)


def _printable(path: Path, key: str, text: str) -> str:
    """A text that may be shown on a terminal."""
    if any(not c.isprintable() and c not in "\n\t" for c in text):
        raise InputError(f"{path}: voice.{key}: found {shown(text)}, expected printable text")
    return text


def _arrays(path: Path, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    for name in arrays:
        if name not in ("embedding", "codes"):
            raise InputError(f"{path}: tensor {shown(name)}: unknown, expected embedding and codes")
    embedding, codes = arrays.get("embedding"), arrays.get("codes")
    vector = embedding is not None and embedding.dtype == np.float32 and embedding.ndim == 1
    if embedding is None or not vector or not 1 <= len(embedding) <= _MAX_WIDTH:
        found = "nothing" if embedding is None else f"{embedding.dtype} {list(embedding.shape)}"
        raise InputError(f"{path}: tensor embedding: found {found}, expected F32 of 1 to {_MAX_WIDTH} numbers")
    if codes is None:
        return embedding, None
    shape_ok = codes.ndim == 2 and 1 <= codes.shape[0] <= _MAX_FRAMES and 2 <= codes.shape[1] <= _MAX_GROUPS
    if codes.dtype != np.int32 or not shape_ok:
        found, limit = f"{codes.dtype} {list(codes.shape)}", f"(1 to {_MAX_FRAMES}, 2 to {_MAX_GROUPS})"
        raise InputError(f"{path}: tensor codes: found {found}, expected I32 {limit}")
    if codes.min() < 0 or codes.max() > _MAX_CODE:
        raise InputError(f"{path}: tensor codes: values from {codes.min()} to {codes.max()}, expected 0 to {_MAX_CODE}")
    return embedding, codes
