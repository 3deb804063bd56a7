"""The optional configuration file `qwen3tts/config.toml` in the XDG configuration folder: defaults for options.

It is a flat table of keys such as `model = "0.6b"` or `threads = 4`. Options on the command line override QWEN3TTS_*
variables, and these override the file.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import NoReturn

from ..common import user_folders
from ..common.suggest import nearest
from ..errors import UsageError

_TEXT, _WHOLE, _NUMBER, _SWITCH = "a string", "a whole number", "a finite number", "true or false"
# Options that have a key in the file and a QWEN3TTS_* variable: those that a user sets once for all runs.
_KINDS = {
    "model": _TEXT,
    "voice": _TEXT,
    "language": _TEXT,
    "instruct": _TEXT,
    "precision": _TEXT,
    "decoder_precision": _TEXT,
    "threads": _WHOLE,
    "no_cache": _SWITCH,
    "server": _TEXT,
    "batch": _WHOLE,
    "seed": _WHOLE,
    "temperature": _NUMBER,
    "top_k": _WHOLE,
    "top_p": _NUMBER,
    "repetition_penalty": _NUMBER,
    "subtalker_temperature": _NUMBER,
    "subtalker_top_k": _WHOLE,
    "subtalker_top_p": _NUMBER,
    "text_mode": _TEXT,
    "live": _SWITCH,
    "retries": _WHOLE,
    "speed": _NUMBER,
    "rate": _WHOLE,
    "audio_format": _TEXT,
    "subtype": _TEXT,
    "quiet": _SWITCH,
}
KEYS = tuple(_KINDS)
_LIMIT_BYTES = 1 << 20
_LIMIT_INTEGER = 1 << 64
_SHOWN_CHARACTERS = 60


def path() -> Path | None:
    """The path of the configuration file, which need not exist; None if there is no configuration folder."""
    return user_folders.config_file()


def load() -> dict[str, str | int | float | bool]:
    """The keys (with underscores) and values of the file; {} if there is no file. Raises UsageError.

    Whole numbers, numbers and switches have the type of their option. A string is checked later, by its option.
    """
    file = path()
    if file is None:
        return {}
    text = _read(file)
    found: dict[str, str | int | float | bool] = {}
    for key, value in _parse(file, text).items():
        where = f"{file}: line {_line(text, key)}"
        name = key.replace("-", "_")
        if name not in _KINDS:
            raise UsageError(f"{where}: unknown key {_shown(key)}{_hint(name)}")
        if name in found:
            raise UsageError(f"{where}: {key}: the key occurs twice, with - and with _")
        found[name] = _check_value(f"{where}: {key}", name, value)
    return found


def _read(file: Path) -> str:
    try:
        # O_NONBLOCK: opening a FIFO does not wait for a writer.
        with open(file, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as opened:
            data = opened.read(_LIMIT_BYTES + 1) or b""
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        # In a container the home folder may belong to another user; it has no file for this one.
        if isinstance(error, PermissionError) and not os.path.exists(file):
            return ""
        raise UsageError(f"{file}: {error.strerror}") from None
    if len(data) > _LIMIT_BYTES:
        raise UsageError(f"{file}: more than {_LIMIT_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 at byte {error.start}") from None


def _parse(file: Path, text: str) -> dict[str, object]:
    if not text:
        return {}
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for an integer of thousands of digits
        raise UsageError(f"{file}: not valid TOML: {error}") from None


def _line(text: str, key: str) -> int:
    """The number of the line of a key, counted from 1; 1 if the key is not found."""
    names = "|".join(re.escape(each) for each in (key, f'"{key}"', f"'{key}'"))
    found = re.search(rf"^[ \t]*(?:\[[ \t]*)?(?:{names})[ \t]*[=.\]]", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _check_value(where: str, name: str, value: object) -> str | int | float | bool:
    expected = _KINDS[name]
    if expected is _SWITCH:
        if not isinstance(value, bool):
            _refuse(where, value, expected)
        return value
    if isinstance(value, str):
        return value
    if expected is _TEXT or isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse(where, value, expected)
    if isinstance(value, float) and (expected is _WHOLE or not math.isfinite(value)):
        _refuse(where, value, expected)
    if abs(value) > _LIMIT_INTEGER:
        _refuse(where, value, f"{expected} of at most 64 bits" if expected is _WHOLE else expected)
    return value


def _refuse(where: str, value: object, expected: str) -> NoReturn:
    raise UsageError(f"{where}: found {_shown(value)}, expected {expected}")


def _shown(value: object) -> str:
    """A value as in TOML, in one short line; "a table" for a table and "a list" for a list."""
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > _LIMIT_INTEGER:
        return "a number of more than 64 bits"
    text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _hint(name: str) -> str:
    close = nearest(name[:_SHOWN_CHARACTERS], KEYS)
    return f", did you mean {close}?" if close else f", known are {', '.join(KEYS)}"
