"""The text to speak: argument, file or stdin."""

from __future__ import annotations

import os
import sys

from ..errors import InputError, UsageError

LIMIT_BYTES = 16_000_000
_STDIN = "standard input"


def read_text(text: str | None, file: str | None) -> str | None:
    """The text, or None where there is none and nobody pipes one in.

    An argument is returned unchanged; text from a file or stdin loses a byte order mark and the whitespace around it,
    and each of its lines ends in LF, whatever system wrote it.
    Raises UsageError (both given, invalid UTF-8, too long, empty, no such file) and InputError (unreadable).
    """
    if text is not None and file is not None:
        raise UsageError("TEXT and --file are both given, leave one out")
    if text is not None and text != "-":
        _check_argument("TEXT", text)
        result, name = text, "TEXT"
    elif file is not None and file != "-":
        result, name = _decode(file, _read_file(file)), file
    else:
        if sys.stdin is None or (text is None and file is None and sys.stdin.isatty()):
            return None
        result, name = _decode(_STDIN, sys.stdin.buffer.read(LIMIT_BYTES + 1)), _STDIN
    if not result.strip():
        raise UsageError(f"{name}: the text is empty")
    return result


def check_arguments(**arguments: str | None) -> None:
    """Raise UsageError for an argument that is no valid Unicode."""
    for name, value in arguments.items():
        if value is not None:
            _check_argument(f"--{name.replace('_', '-')}", value)


def _check_argument(name: str, value: str) -> None:
    # Python hands over bytes that are not UTF-8 as lone surrogates.
    for place, character in enumerate(value):
        if "\ud800" <= character <= "\udfff":
            code = ord(character)
            what = f"byte 0x{code - 0xDC00:02X}" if 0xDC80 <= code <= 0xDCFF else f"lone surrogate U+{code:04X}"
            raise UsageError(f"{name}: not valid UTF-8: {what} at character {place}")


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as opened:
            return opened.read(LIMIT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UsageError(f"--file {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--file {path}: {error}") from None
    except OSError as error:
        raise InputError(f"--file {path}: {os.strerror(error.errno) if error.errno else error}") from None


def _decode(name: str, data: bytes) -> str:
    if len(data) > LIMIT_BYTES:
        raise UsageError(f"{name}: more than {LIMIT_BYTES:,} bytes of text, the limit")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").strip()
    except UnicodeDecodeError as error:
        found = error.object[error.start]
        raise UsageError(f"{name}: not valid UTF-8: byte 0x{found:02X} at offset {error.start}") from None
