"""Read the JSON files of an untrusted checkpoint: bounded size, strict JSON, fields checked for type and range.

Any content of a file gives either a value or one CheckpointError that names file, field, value found and limit.
"""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from ..errors import CheckpointError

# parsed values need far more memory than their text, so the number of values is bounded too
MAX_JSON_ITEMS = 1 << 20
MAX_JSON_CONTAINERS = 1 << 18
_INTEGER_DIGITS = 20
_SHOWN_CHARACTERS = 60
_SHOWN_ITEMS = 16
_REQUIRED: Any = object()


class _Refused(ValueError):
    """The JSON is well-formed but refused; the message says why."""


def short_repr(value: object) -> str:
    """Return a value of a parsed JSON file as short, printable text of one line, for error messages."""
    if isinstance(value, dict):
        return f"an object of {len(value)} fields"
    if isinstance(value, list):
        plain = len(value) <= _SHOWN_ITEMS and not any(isinstance(v, (dict, list, str)) for v in value)
        return repr(value) if plain else f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
        return ascii(short) if not short.isprintable() else repr(short)
    return repr(value)


def open_regular(path: Path) -> tuple[int, int]:
    """Open a regular file for reading; return (file descriptor, size in bytes).

    Raises CheckpointError, also for a FIFO or a device, which is opened without blocking.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise CheckpointError(f"{path}: {kind}, expected a file")
    return descriptor, status.st_size


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the contents of a regular file of at most `limit` bytes.

    Raises CheckpointError, also for a Git LFS pointer or a web page in place of the file.
    """
    descriptor, size = open_regular(path)
    with open(descriptor, "rb") as file:
        if size > limit:
            raise CheckpointError(f"{path}: {size} bytes, the limit is {limit}")
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > limit:
        raise CheckpointError(f"{path}: more than {limit} bytes")
    if data[:1] not in (b"{", b"#"):  # JSON files and merges.txt begin with these
        from .file_kinds import HEAD_BYTES, why_not_model_file

        if why := why_not_model_file(data[:HEAD_BYTES], path):
            raise CheckpointError(f"{path}: {why}")
    return data


def parse_json(data: bytes, path: Path, what: str = "") -> Any:
    """Parse strict JSON: UTF-8, no duplicate key, no NaN or Infinity, no integer above 20 digits, a bounded number of
    values.

    what: the part of the file that `data` comes from, for messages. Raises CheckpointError.
    """
    where = f"{path}: {what}" if what else f"{path}:"
    # commas and brackets inside strings are counted too; valid files stay far below either limit
    if data.count(b",") > MAX_JSON_ITEMS or data.count(b"[") + data.count(b"{") > MAX_JSON_CONTAINERS:
        limit = f"{MAX_JSON_ITEMS} commas and {MAX_JSON_CONTAINERS} opening brackets"
        raise CheckpointError(f"{where} too many JSON values, the limit is {limit}")
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_int=_integer, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{where} not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise CheckpointError(f"{where} not valid JSON: {error.msg} ({place})") from None
    except _Refused as error:
        raise CheckpointError(f"{where} {error}") from None
    except RecursionError:
        raise CheckpointError(f"{where} JSON is nested too deeply") from None


def read_object(path: Path, limit: int) -> Section:
    """Read the JSON object in a file of at most `limit` bytes. Raises CheckpointError."""
    values = parse_json(read_bytes(path, limit), path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: found {short_repr(values)}, expected an object")
    return Section(values, path)


class Section:
    """A JSON object together with its file and field name. Each getter checks the type and range of one field.

    A field that is missing or null has the value `default`; without a default it is an error. Every method raises
    CheckpointError.
    """

    def __init__(self, values: dict[str, Any], path: Path, name: str = "") -> None:
        self.values, self.path, self.name = values, path, name

    def fail(self, key: str, found: str, expected: str) -> NoReturn:
        """Raise CheckpointError for a field, with the value found and the value expected."""
        field = f"{self.name}.{key}" if self.name else key
        raise CheckpointError(f"{self.path}: {field}: found {found}, expected {expected}")

    def integer(self, key: str, low: int, high: int, default: Any = _REQUIRED) -> int:
        """Return an integer field in [low, high]; a boolean or a float is an error."""
        expected = f"an integer from {low} to {high}"
        value = self._get(key, default, expected)
        if value is default:
            return value
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fail(key, short_repr(value), expected)
        return value

    def number(self, key: str, low: float, high: float, default: Any = _REQUIRED) -> float:
        """Return a finite number in [low, high]."""
        expected = f"a number from {low:g} to {high:g}"
        value = self._get(key, default, expected)
        if value is default:
            return value
        real = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not real or not math.isfinite(value) or not low <= value <= high:
            self.fail(key, short_repr(value), expected)
        return float(value)

    def boolean(self, key: str, default: Any = _REQUIRED) -> bool:
        """Return a field that is true or false."""
        value = self._get(key, default, "true or false")
        if value is not default and not isinstance(value, bool):
            self.fail(key, short_repr(value), "true or false")
        return value

    def string(self, key: str, limit: int, default: Any = _REQUIRED) -> str:
        """Return a string of at most `limit` characters without lone surrogates."""
        value = self._get(key, default, "a string")
        if value is default:
            return value
        if not isinstance(value, str) or len(value) > limit:
            self.fail(key, short_repr(value), f"a string of at most {limit} characters")
        if any("\ud800" <= c <= "\udfff" for c in value):
            self.fail(key, short_repr(value), "a string without lone surrogates")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: Any = _REQUIRED) -> str:
        """Return a string that is one of `choices`."""
        value = self._get(key, default, " or ".join(choices))
        if value is not default and (not isinstance(value, str) or value not in choices):
            self.fail(key, short_repr(value), " or ".join(choices))
        return value

    def integers(self, key: str, low: int, high: int, most: int) -> tuple[int, ...]:
        """Return a list of 1 to `most` integers in [low, high] as a tuple."""
        expected = f"a list of 1 to {most} integers from {low} to {high}"
        value = self._get(key, _REQUIRED, expected)
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            self.fail(key, short_repr(value), expected)
        for item in value:
            if not isinstance(item, int) or isinstance(item, bool) or not low <= item <= high:
                self.fail(key, short_repr(item), expected)
        return tuple(value)

    def fixed(self, key: str, value: object) -> None:
        """Check a field that must be `value`, null or missing."""
        found = self.values.get(key)
        if found is not None and (type(found) is not type(value) or found != value):
            self.fail(key, short_repr(found), short_repr(value))

    def section(self, key: str, default: Any = _REQUIRED) -> Section:
        """Return a field that is an object as a Section."""
        value = self._get(key, default, "an object")
        if value is default:
            return value
        if not isinstance(value, dict):
            self.fail(key, short_repr(value), "an object")
        return Section(value, self.path, f"{self.name}.{key}" if self.name else key)

    def _get(self, key: str, default: Any, expected: str) -> Any:
        value = self.values.get(key)
        if value is None:
            if default is _REQUIRED:
                self.fail(key, "null" if key in self.values else "nothing", expected)
            return default
        return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"key {short_repr(twice)} occurs twice in one object")
    return result


def _integer(text: str) -> int:
    # int() takes quadratic time for a long string of digits, and the interpreter has its own limit with another error
    if len(text) > _INTEGER_DIGITS:
        raise _Refused(f"an integer of {len(text)} digits, the limit is {_INTEGER_DIGITS}")
    return int(text)


def _no_constant(text: str) -> NoReturn:
    raise _Refused(f"{text} is not a JSON number")
