"""Recorded answers: what models gave when others ran them. answers.json holds those of the released models and of the
embedded voice; a file in the same form can take its place.

The file is a JSON object with `format` and the sections below. A section maps the name of a model to its records, or to
the name under which the section has the same records.

    files      {"repository", "revision", "files": {name: [bytes, sha256]}}; for released models see released.py
    config     {"tensors": {file: structure.lines_digest}, "ids", "speakers", "languages": {name: id}}
    tokenizer  [[text, [token id, ..]], ..]
    decoder    [DecoderAnswer, ..]
    speech     [SpeechAnswer, ..]
    positions  [PositionsAnswer, ..]

Arrays are lists of integers, or {"dtype", "base64"} with little-endian values.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..common.json_fields import read_object
from ..errors import CheckpointError, InputError
from ..models.released import RELEASES, Release

FORMAT = "qwen3tts-answers 1"
SECTIONS = ("files", "config", "tokenizer", "decoder", "speech", "positions")
_MAX_BYTES = 64 << 20
_DTYPES = ("<i2", "<i4", "<f4")


@dataclass(frozen=True)
class DecoderAnswer:
    """Codes, int32 (frames, code groups), and samples that the official decoder makes of them in float32.

    samples: (first sample, float32 (n,)) of each recorded part. tolerance: the largest difference that passes.
    """

    id: str
    codes: np.ndarray
    samples: list[tuple[int, np.ndarray]]
    tolerance: float
    source: str


@dataclass(frozen=True)
class SpeechAnswer:
    """A greedy generation that was recorded.

    text, voice, language, text_mode, instruct, repetition_penalty: what was asked. speaker: the speaker vector, float32
    (hidden,). reference_text, reference_codes: of a cloned voice. codes: int32 (frames, code groups), -1 where a code
    was not recorded. ended: whether the model ended the utterance after the last frame; otherwise the recording was
    cut. first_only: code 0 alone is comparable, under teacher forcing. trusted: whether a difference is a failure;
    otherwise the record itself may be wrong. text_ids: the token ids of the chat template, or None.
    """

    id: str
    text: str
    voice: str | None
    language: str | None
    text_mode: str
    instruct: str | None
    repetition_penalty: float
    speaker: np.ndarray | None
    reference_text: str | None
    reference_codes: np.ndarray | None
    codes: np.ndarray
    ended: bool
    first_only: bool
    trusted: bool
    text_ids: list[int] | None
    source: str


@dataclass(frozen=True)
class PositionsAnswer:
    """Text ids that are the rows of a prompt without a codec part. argmax: the id of the largest logit of code 0 after
    each row. next_code: the greedy code 1 after the last of them, or None."""

    text_ids: list[int]
    argmax: list[int]
    next_code: int | None


class Answers:
    """The recorded answers of a file, by the names of models."""

    def __init__(self, sections: dict[str, dict[str, Any]], path: Path, released: bool = False) -> None:
        """released: whether the files of the released models are known beside those of the file."""
        self._sections, self._path = sections, path
        self.releases: dict[str, Release] = dict(RELEASES) if released else {}
        for name in sections["files"]:
            entry = self._records("files", name)
            with self._parsing(f"files of {name}"):
                files = {file: (int(size), _text(digest)) for file, (size, digest) in entry["files"].items()}
                self.releases[name] = Release(_text(entry["repository"]), _text(entry["revision"]), files)

    @property
    def models(self) -> list[str]:
        """The names of the models that have answers or known files."""
        return list(dict.fromkeys([*self.releases, *(name for each in self._sections.values() for name in each)]))

    def config(self, model: str) -> dict[str, dict[str, Any]]:
        """The section `config` of a model; empty if it has none. Raises InputError for a malformed record, as the other
        methods do."""
        with self._parsing(f"config of {model}"):
            return {key: dict(values) for key, values in (self._records("config", model) or {}).items()}

    def tokenizer(self, model: str) -> list[tuple[str, list[int]]]:
        """(text, token ids) of a model."""
        with self._parsing(f"tokenizer of {model}"):
            return [(str(text), [int(i) for i in ids]) for text, ids in self._records("tokenizer", model) or []]

    def decoder(self, model: str) -> list[DecoderAnswer]:
        """The records of the codec's decoder."""
        with self._parsing(f"decoder of {model}"):
            return [
                DecoderAnswer(
                    str(each["id"]),
                    _codes(each["codes"]),
                    [(int(part["first"]), _floats(part["values"])) for part in each["samples"]],
                    float(each["tolerance"]),
                    str(each["source"]),
                )
                for each in self._records("decoder", model) or []
            ]

    def speech(self, model: str) -> list[SpeechAnswer]:
        """The recorded utterances."""
        with self._parsing(f"speech of {model}"):
            return [_speech(each) for each in self._records("speech", model) or []]

    def positions(self, model: str) -> list[PositionsAnswer]:
        """The records of text ids without codes."""
        with self._parsing(f"positions of {model}"):
            return [
                PositionsAnswer([int(i) for i in each["text_ids"]], [int(i) for i in each["argmax"]], each["next_code"])
                for each in self._records("positions", model) or []
            ]

    def _records(self, section: str, model: str) -> Any:
        records = self._sections[section].get(model)
        return self._sections[section].get(records) if isinstance(records, str) else records

    def _parsing(self, what: str) -> _Parsing:
        return _Parsing(f"{self._path}: {what}")


class _Parsing:
    """A block whose errors mean that a record is malformed. Raises InputError in their place."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, (LookupError, TypeError, ValueError, AttributeError, binascii.Error, OverflowError)):
            raise InputError(f"{self.what}: malformed answers ({type(error).__name__}: {error})") from None


def load_answers(path: Path | None = None) -> Answers:
    """The answers of a file; None: those of the package. Raises InputError for a file that holds none."""
    released = path is None
    path = path or Path(__file__).with_name("answers.json")
    try:
        root = read_object(path, _MAX_BYTES)
        root.fixed("format", FORMAT)
        sections = {name: root.section(name, None) for name in SECTIONS}
    except CheckpointError as error:
        raise InputError(str(error)) from None
    return Answers({name: {} if each is None else each.values for name, each in sections.items()}, path, released)


def array_of(value: Any) -> np.ndarray:
    """An array of a record. Raises ValueError for a dtype that is not among those of the format."""
    if isinstance(value, list):
        return np.array(value, np.int32)
    if value["dtype"] not in _DTYPES:
        raise ValueError(f"dtype {value['dtype']}")
    return np.frombuffer(base64.b64decode(value["base64"], validate=True), value["dtype"])


def _floats(value: Any) -> np.ndarray:
    """Samples as float32; 16-bit integers have full scale 32768."""
    array = array_of(value)
    return array.astype(np.float32) / np.float32(32768 if array.dtype == np.dtype("<i2") else 1)


def _codes(rows: list[list[int]]) -> np.ndarray:
    """Rows of codes as int32 (frames, code groups); a row that is shorter than the first is filled with -1."""
    groups = len(rows[0])
    codes = np.array([row + [-1] * (groups - len(row)) for row in rows], np.int32)
    if codes.ndim != 2:
        raise ValueError("codes that are no rows of integers")
    return codes


def _text(value: Any) -> str | None:
    """A text or None. Raises TypeError for anything else."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"expected a text or null, found {type(value).__name__}")
    return value


def _speech(each: dict[str, Any]) -> SpeechAnswer:
    speaker, reference = each.get("speaker"), each.get("reference_codes")
    return SpeechAnswer(
        id=str(each["id"]),
        text=str(each["text"]),
        voice=_text(each.get("voice")),
        language=_text(each.get("language")),
        text_mode=str(each["text_mode"]),
        instruct=_text(each.get("instruct")),
        repetition_penalty=float(each["repetition_penalty"]),
        speaker=None if speaker is None else np.ascontiguousarray(array_of(speaker), np.float32),
        reference_text=_text(each.get("reference_text")),
        reference_codes=None if reference is None else _codes(reference),
        codes=_codes(each["codes"]),
        ended=bool(each["ended"]),
        first_only=bool(each.get("first_only", False)),
        trusted=bool(each.get("trusted", True)),
        text_ids=None if each.get("text_ids") is None else [int(i) for i in each["text_ids"]],
        source=str(each["source"]),
    )
