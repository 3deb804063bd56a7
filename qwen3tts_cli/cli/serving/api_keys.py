"""The API keys of a server: from a file, and from the variable QWEN3TTS_API_KEY."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import UsageError

VARIABLE = "QWEN3TTS_API_KEY"
_LIMIT_BYTES = 1 << 16


def read_keys(path: str | None) -> tuple[str, ...]:
    """All keys: the one of the variable, and those of a file, one a line; lines that begin with # are left out.

    Raises UsageError for a file that cannot be read or has no key, and for a key that no header can hold.
    """
    found = {VARIABLE: os.environ.get(VARIABLE, "").split()}
    if path is not None:
        found[path] = _lines(path)
        if not found[path]:
            raise UsageError(f"--api-key-file {path}: found no key, expected one a line")
    for source, keys in found.items():
        for key in keys:
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise UsageError(f"{source}: found a key with spaces or special characters, expected ASCII")
    return tuple(dict.fromkeys(key for keys in found.values() for key in keys))


def _lines(path: str) -> list[str]:
    try:
        with open(Path(path), "rb") as file:
            data = file.read(_LIMIT_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise UsageError(f"--api-key-file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--api-key-file {path}: is not UTF-8") from None
    if len(data) > _LIMIT_BYTES:
        raise UsageError(f"--api-key-file {path}: has more than {_LIMIT_BYTES} bytes")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
