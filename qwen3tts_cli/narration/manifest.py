"""The manifest of `batch`: its rows, all checked before the first is spoken."""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from ..common import user_folders
from ..common.audio_constants import FINISHED_FORMATS
from ..common.json_fields import short_repr
from ..errors import InputError, UsageError

LIMIT_BYTES = 256_000_000
KEYS = ("text", "out", "voice", "language", "instruct", "design", "ref", "ref_text", "seed")
_LONGEST_NAME = 200  # bytes of each part of `out`
_LONGEST_PATH = 1000  # bytes of `out`
_DEEPEST = 50  # levels of folders, and of lists and objects: json.dumps has to write what json.loads has read
_MOST_DIGITS = 400  # of an integer in a key that is copied
_OWN_NAMES = (".segments", ".qwen3tts-")  # how the names of the folders of segments and of temporary files begin


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


def read_manifest(path: Path, extension: str, folder: Path) -> list[Row]:
    """Read and check all rows. extension: of the outputs that name none. folder: that of the outputs.

    A .csv file is CSV with a header, any other JSON Lines. Raises UsageError with the line of the first fault,
    InputError if the file cannot be read.
    """
    text = _read(path)
    found = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _json_rows(path, text)
    rows = [_row(path, line, number, facts, extension) for number, (line, facts) in enumerate(found)]
    if not rows:
        raise UsageError(f"{path}: no rows")
    _check_names(path, rows)
    _check_places(path, rows, folder)
    return rows


def _read(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except IsADirectoryError:
        raise UsageError(f"{path}: a folder, expected a manifest") from None
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > LIMIT_BYTES:
        raise UsageError(f"{path}: more than {LIMIT_BYTES:,} bytes, the limit")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _refuse(path, line, f"not valid UTF-8: byte 0x{data[error.start]:02X}")


def _refuse(path: Path, line: int, why: str) -> NoReturn:
    raise UsageError(f"{path}, line {line}: {why}")


# -------------------------------------------------------------------- JSON Lines
class _Refused(ValueError):
    """The JSON is well-formed but refused; the message says why."""


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            facts = json.loads(
                content, object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_no_number
            )
        except json.JSONDecodeError as error:
            _refuse(path, line, f"no JSON object: {error.msg} (column {error.colno})")
        except _Refused as error:
            _refuse(path, line, str(error))
        except RecursionError:
            facts = None
        if facts is None or _is_deep(facts):
            _refuse(path, line, f"no JSON object, or one with lists and objects more than {_DEEPEST} deep")
        if not isinstance(facts, dict):
            _refuse(path, line, f"no JSON object: found {short_repr(facts)}")
        if re.search(r"\\u[dD]", content) and not _is_unicode(facts):
            _refuse(path, line, "half of a surrogate pair (\\ud800 to \\udfff)")
        yield line, facts


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    facts = dict(pairs)
    if len(facts) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _Refused(f"{short_repr(twice)} is there twice")
    return facts


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise _Refused(f"an integer of {len(digits)} digits, at most {_MOST_DIGITS} are possible")
    return int(digits)


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise _Refused(f"the number {text[:20]} is too large")
    return number


def _no_number(text: str) -> NoReturn:
    raise _Refused(f"{text} is not a JSON number")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST + 1):
        nested = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [child for children in nested for child in children]
        if not level:
            return False
    return True


def _is_unicode(facts: dict[str, Any]) -> bool:
    try:
        json.dumps(facts, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


# -------------------------------------------------------------------- CSV
def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    header: list[str] | None = None
    for line, cells in _csv_records(path, text):
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if len(set(header)) < len(header):
                _refuse(path, line, "two columns of the same name")
            if "text" not in header:
                _refuse(path, line, f"the header has no column text: {short_repr(','.join(header))}")
            continue
        if len(cells) != len(header):
            _refuse(path, line, f"cells: found {len(cells)}, the header has {len(header)}")
        yield line, {name: cell for name, cell in zip(header, cells, strict=True) if cell}


def _csv_records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of each record of RFC 4180. The module csv limits the length of a cell for all callers."""
    separator = re.compile(r",|\r\n|\n|\r|\Z")
    position, line, begins = 0, 1, 1
    cells: list[str] = []
    while position < len(text) or cells:
        if text.startswith('"', position):
            end = text.find('"', position + 1)
            while end >= 0 and text.startswith('"', end + 1):
                end = text.find('"', end + 2)
            if end < 0:
                _refuse(path, line, "a quoted cell has no end")
            cell = text[position + 1 : end].replace('""', '"')
            line += cell.count("\n") + cell.count("\r") - cell.count("\r\n")
            end += 1
        else:
            end = separator.search(text, position).start()  # type: ignore[union-attr]
            cell = text[position:end]
            if cell.lstrip().startswith('"'):
                _refuse(path, line, "a space before the quote of a cell")
        cells.append(cell)
        if (found := separator.match(text, end)) is None:
            _refuse(path, line, f"found {short_repr(text[end])} behind a quoted cell, expected a comma")
        position = found.end()
        if found.group() != ",":
            yield begins, cells
            cells, line = [], line + 1
            begins = line


# -------------------------------------------------------------------- rows
def _row(path: Path, line: int, number: int, facts: dict[str, Any], extension: str) -> Row:
    given: dict[str, Any] = {}
    for name in KEYS:
        value = facts.get(name)
        if value is None or (value == "" and name != "text"):
            continue
        expected = None
        if name == "seed":
            if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,20}\s*", value):
                value = int(value)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
                expected = "an integer from 0 to 2**64 - 1"
        elif not isinstance(value, str):
            expected = "a text"
        if expected:
            _refuse(path, line, f"{name}: found {short_repr(value)}, expected {expected}")
        given[name] = value
    if not given.get("text", "").strip():
        _refuse(path, line, "text: there is none")
    if "ref_text" in given and "ref" not in given:
        _refuse(path, line, "ref_text: there is no recording (ref)")
    if "ref" in given and "voice" in given:
        _refuse(path, line, "voice and ref are both given, leave one out")
    for name in ("ref", "voice"):
        if name in given and (name == "ref" or user_folders.is_voice_file(given[name])):
            file = path.parent / given[name]
            if not os.path.isfile(file):
                _refuse(path, line, f"{name}: {short_repr(given[name])} is no file, seen from the manifest")
            given[name] = file
    given["out"] = _output(path, line, given.get("out", str(number)), extension)
    return Row(number, line, **given, more={name: value for name, value in facts.items() if name not in KEYS})


def _output(path: Path, line: int, out: str, extension: str) -> str:
    """The checked path of an output in the output folder, with its extension. Raises UsageError."""
    pure, why = PurePosixPath(out), ""
    longest = max((len(part.encode()) for part in pure.parts), default=0)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or out.endswith("/"):
        why = "not the path of a file inside the output folder"
    elif "\\" in out or ":" in out or any(unicodedata.category(character) == "Cc" for character in out):
        why = "a path has no backslash, colon or control character"
    elif any(part.casefold().startswith(_OWN_NAMES) for part in pure.parts):
        why = "a name that batch uses itself"
    elif len(out.encode()) > _LONGEST_PATH or len(pure.parts) > _DEEPEST or longest > _LONGEST_NAME:
        why = f"longer than {_LONGEST_NAME} bytes in a part, {_LONGEST_PATH} in all, or {_DEEPEST} parts"
    if why:
        _refuse(path, line, f"out: {short_repr(out)}: {why}")
    return str(pure) if pure.suffix[1:].lower() in FINISHED_FORMATS else f"{pure}.{extension}"


def _check_names(path: Path, rows: list[Row]) -> None:
    """Raise UsageError for outputs of the same name, or one in another, on any file system."""
    files: dict[str, int] = {}
    folders: dict[str, int] = {}
    for row in rows:
        name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", row.out).casefold())
        above = [name[: found.start()] for found in re.finditer("/", name)]
        if name in files:
            _refuse(path, row.line, f"out: {short_repr(row.out)} is also that of line {files[name]}")
        if other := folders.get(name) or next((files[each] for each in above if each in files), None):
            _refuse(path, row.line, f"out: {short_repr(row.out)} and that of line {other} are a file and a folder")
        files[name] = row.line
        folders.update((each, row.line) for each in above if each not in folders)


def _check_places(path: Path, rows: list[Row], folder: Path) -> None:
    """Raise UsageError for outputs that links lead out of the folder or to one file, that are no regular files, or
    that would replace the manifest or a recording."""
    root = os.path.realpath(folder)
    place, name = os.path.split(os.path.realpath(path))
    if place == root and re.fullmatch(r"manifest(\.[0-9]+-of-[0-9]+)?\.jsonl", name):
        raise UsageError(f"{path}: the result has this name, choose another output folder")
    inputs = {os.path.realpath(each) for row in rows for each in (row.ref, row.voice) if isinstance(each, Path)}
    targets: dict[str, int] = {}
    parents: dict[str, str] = {}
    for row in rows:
        parent, name = os.path.split(os.path.join(root, row.out))
        if parent not in parents:
            above = parents[parent] = os.path.realpath(parent)
            while not os.path.lexists(above):
                above = os.path.dirname(above)
            if not os.path.isdir(above):
                _refuse(path, row.line, f"out: {above} is not a folder")
        target = os.path.realpath(os.path.join(parents[parent], name))
        shown = f"out: {short_repr(row.out)}"
        if not target.startswith(root.rstrip("/") + "/"):
            _refuse(path, row.line, f"{shown}: a link leads out of the output folder")
        if os.path.exists(target) and not os.path.isfile(target):
            _refuse(path, row.line, f"{shown}: there is a folder or another thing that is not a file")
        if target in inputs:
            _refuse(path, row.line, f"{shown} would replace a recording or voice file of the manifest")
        if (other := targets.setdefault(target, row.line)) != row.line:
            _refuse(path, row.line, f"{shown} is the same file as that of line {other}, by a link")
