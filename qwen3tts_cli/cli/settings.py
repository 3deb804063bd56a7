"""The optional configuration file, `qwen3tts/config.toml` in the XDG configuration folder: defaults for options.

A flat table of keys such as `model = "0.6b"` or `threads = 4`; flags and QWEN3TTS_* variables come before it.
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
# Options that have a default in the file and a QWEN3TTS_* variable: what a person sets once, not what one run is about.
_KINDS = {
    "model": _TEXT,
    "voice": _TEXT,
    "language": _TEXT,
    "instruct": _TEXT,
    "precision": _TEXT,
    "decoder_precision": _TEXT,
    "threads": _WHOLE,
    "no_cache": _SWITCH,
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
    "retries": _WHOLE,
    "audio_format": _TEXT,
    "subtype": _TEXT,
    "quiet": _SWITCH,
}
KEYS = tuple(_KINDS)
_LIMIT_BYTES = 1 << 20
_LIMIT_INTEGER = 1 << 64
_SHOWN_CHARACTERS = 60


def path() -> Path | None:
    """Where the configuration file is, or would be; None where there is no such folder."""
    return user_folders.config_file()


def load() -> dict[str, str | int | float | bool]:
    """Keys (with underscores) and values of the file, {} where there is none. Raises UsageError.

    A whole number or a switch has the type of its option; a string is left to the option, as that of a variable is.
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
            raise UsageError(f"{where}: {key}: the key stands twice, with - and with _")
        found[name] = _checked(f"{where}: {key}", name, value)
    return found


def _read(file: Path) -> str:
    try:
        # A FIFO in its place is not waited for.
        with open(file, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as opened:
            data = opened.read(_LIMIT_BYTES + 1) or b""
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        # A home folder of somebody else, as containers have it, holds nothing for this user.
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
    except (ValueError, RecursionError) as error:  # also of an integer of thousands of digits
        raise UsageError(f"{file}: not valid TOML: {error}") from None


def _line(text: str, key: str) -> int:
    """The line that a key of the table stands in, the first where it cannot be told."""
    names = "|".join(re.escape(each) for each in (key, f'"{key}"', f"'{key}'"))
    found = re.search(rf"^[ \t]*(?:\[[ \t]*)?(?:{names})[ \t]*[=.\]]", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _checked(where: str, name: str, value: object) -> str | int | float | bool:
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
    """A value as TOML has it, but short and in one line; a table or a list is not shown."""
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
