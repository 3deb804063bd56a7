"""The optional configuration file, `qwen3tts/config.toml` in the XDG configuration folder: defaults for options.

A flat table of keys such as `model = "0.6b"` or `threads = 4`; flags and QWEN3TTS_* variables come before it.
"""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UsageError

# Options that have a default in the file and a QWEN3TTS_* variable: what a person sets once, not what one run is about.
KEYS = (
    "model",
    "voice",
    "language",
    "instruct",
    "precision",
    "decoder_precision",
    "threads",
    "batch",
    "seed",
    "temperature",
    "top_k",
    "top_p",
    "repetition_penalty",
    "subtalker_temperature",
    "subtalker_top_k",
    "subtalker_top_p",
    "text_mode",
    "retries",
    "subtype",
    "audio_format",
    "quiet",
)
_LIMIT_BYTES = 1 << 20


def _folder(variable: str, default: str) -> Path:
    # The XDG specification: a relative path is invalid and to be ignored.
    value = os.environ.get(variable, "")
    base = Path(value) if os.path.isabs(value) else Path.home() / default
    return base / "qwen3tts"


def path() -> Path:
    """Where the configuration file is, or would be."""
    return _folder("XDG_CONFIG_HOME", ".config") / "config.toml"


def state_folder() -> Path:
    """Where the command remembers what it has said once."""
    return _folder("XDG_STATE_HOME", ".local/state")


def cache_folder() -> Path:
    """Where the command keeps what it could find out again."""
    return _folder("XDG_CACHE_HOME", ".cache")


def load() -> dict[str, str | int | float | bool]:
    """Keys (with underscores) and values of the file, {} where there is none. Raises UsageError."""
    file = path()
    try:
        with open(file, "rb") as opened:
            data = opened.read(_LIMIT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    if len(data) > _LIMIT_BYTES:
        raise UsageError(f"{file}: more than {_LIMIT_BYTES} bytes")
    return {_known(file, key): _plain(file, key, value) for key, value in _parse(file, data).items()}


def _parse(file: Path, data: bytes) -> dict[str, object]:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: not valid TOML: {error}") from None


def _known(file: Path, key: str) -> str:
    name = key.replace("-", "_")
    if name not in KEYS:
        import difflib

        close = difflib.get_close_matches(name, KEYS, 1)
        hint = f", did you mean {close[0]}?" if close else f", known are {', '.join(KEYS)}"
        raise UsageError(f"{file}: unknown key {key}{hint}")
    return name


def _plain(file: Path, key: str, value: object) -> str | int | float | bool:
    wants_switch = key == "quiet"
    if isinstance(value, bool) != wants_switch or not isinstance(value, (str, int, float)):
        expected = "true or false" if wants_switch else "a string or a number"
        raise UsageError(f"{file}: {key}: found {value!r}, expected {expected}")
    return value
