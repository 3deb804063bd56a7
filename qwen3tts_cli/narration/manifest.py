"""The manifest of `batch`: its rows, all checked before the first is spoken."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..common import user_folders
from ..common.json_fields import short_repr
from ..errors import InputError, UsageError

LIMIT_BYTES = 256_000_000
KEYS = ("text", "out", "voice", "language", "instruct", "design", "ref", "ref_text", "seed")
_LONGEST_NAME = 200  # bytes of each part of `out`
_FORMATS = ("wav", "flac", "ogg", "opus", "mp3", "m4b", "m4a", "aac")


@dataclass(frozen=True)
class Row:
    """A row of a manifest. number: from 0. line: in the file, from 1. out: the path of its file in the output folder,
    with an extension. ref: the path of a recording. more: the keys that are copied to the result."""

    number: int
    line: int
    text: str
    out: str
    voice: str | Path | None = None
    language: str | None = None
    instruct: str | None = None
    design: str | None = None
    ref: Path | None = None
    ref_text: str | None = None
    seed: int | None = None
    more: dict[str, Any] = field(default_factory=dict)


def read_manifest(path: Path, extension: str) -> list[Row]:
    """Read and check all rows. extension: of the outputs that name none.

    A .csv file is CSV with a header, any other JSON Lines. Raises UsageError with the line of the first fault,
    InputError if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except IsADirectoryError:
        raise UsageError(f"{path}: a folder, expected a manifest") from None
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > LIMIT_BYTES:
        raise UsageError(f"{path}: more than {LIMIT_BYTES:,} bytes, the limit")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not valid UTF-8: byte 0x{data[error.start]:02X}") from None
    found = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _json_rows(path, text)
    rows, outputs = [], {}
    for line, facts in found:
        row = _row(path, line, len(rows), facts, extension)
        same = os.path.normcase(row.out).casefold()
        if same in outputs:
            raise UsageError(f"{path}, line {line}: out: {short_repr(row.out)} is also that of line {outputs[same]}")
        outputs[same] = line
        rows.append(row)
    if not rows:
        raise UsageError(f"{path}: no rows")
    return rows


def _json_rows(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            facts = json.loads(content)
        except (ValueError, RecursionError):
            raise UsageError(f"{path}, line {line}: no JSON object") from None
        if not isinstance(facts, dict):
            raise UsageError(f"{path}, line {line}: no JSON object")
        rows.append((line, facts))
    return rows


def _csv_rows(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[str, Any]]] = []
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            begins, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                if len(set(header)) < len(header):
                    raise UsageError(f"{path}, line {begins}: two columns of the same name")
                continue
            if len(cells) != len(header):
                raise UsageError(f"{path}, line {begins}: {len(cells)} cells, the header has {len(header)}")
            rows.append(
                (begins, {name: cell for name, cell in zip(header, cells, strict=True) if cell or name == "text"})
            )
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: no CSV: {error}") from None
    return rows


def _row(path: Path, line: int, number: int, facts: dict[str, Any], extension: str) -> Row:
    def wrong(name: str, expected: str) -> UsageError:
        return UsageError(f"{path}, line {line}: {name}: found {short_repr(facts.get(name))}, expected {expected}")

    given: dict[str, Any] = {}
    for name in KEYS:
        value = facts.get(name)
        if value is None:
            continue
        if name == "seed":
            if isinstance(value, str) and value.strip().isdecimal() and value.isascii() and len(value) <= 20:
                value = int(value)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
                raise wrong(name, "an integer from 0 to 2**64 - 1")
        elif not isinstance(value, str):
            raise wrong(name, "a text")
        elif any("\ud800" <= character <= "\udfff" for character in value):
            raise wrong(name, "a text of valid Unicode")
        given[name] = value
    if not given.get("text", "").strip():
        raise UsageError(f"{path}, line {line}: text: there is none")
    if given.get("ref_text") and not given.get("ref"):
        raise UsageError(f"{path}, line {line}: ref_text: there is no recording (ref)")
    if given.get("ref") and given.get("voice"):
        raise UsageError(f"{path}, line {line}: voice and ref are both given, leave one out")
    if user_folders.is_voice_file(given.get("voice") or ""):
        given["voice"] = path.parent / given["voice"]
    given["out"] = _output(path, line, given.get("out") or str(number), extension)
    if ref := given.pop("ref", None):
        given["ref"] = path.parent / ref
        if not given["ref"].is_file():
            raise UsageError(f"{path}, line {line}: ref: {short_repr(ref)} is no file beside the manifest")
    return Row(number, line, **given, more={name: value for name, value in facts.items() if name not in KEYS})


def _output(path: Path, line: int, out: str, extension: str) -> str:
    """The checked path of an output in the output folder, with its extension. Raises UsageError."""
    parts = PurePosixPath(out).parts
    hostile = not parts or out.startswith("/") or "\\" in out or ":" in out or any(ord(c) < 32 for c in out)
    if hostile or any(part in ("..", ".segments") or len(part.encode()) > _LONGEST_NAME for part in parts):
        raise UsageError(f"{path}, line {line}: out: {short_repr(out)} is not a path inside the output folder")
    joined = PurePosixPath(*parts)
    if joined.name.startswith("manifest.") and joined.suffix == ".jsonl":
        raise UsageError(f"{path}, line {line}: out: {short_repr(out)} is the name of the result")
    return str(joined) if joined.suffix[1:].lower() in _FORMATS else f"{joined}.{extension}"
