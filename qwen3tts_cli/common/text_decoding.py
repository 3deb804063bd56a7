"""Bytes of a file to text: UTF-8, UTF-16 or UTF-32, found by a byte order mark or by zero bytes."""

from __future__ import annotations

import codecs
import contextlib
import re

from ..errors import UsageError
from . import file_kinds

SAY = "qwen3tts say"
_STDIN = "standard input"
_MARKS = (
    ("utf-8-sig", codecs.BOM_UTF8),
    ("utf-32", codecs.BOM_UTF32_LE),
    ("utf-32", codecs.BOM_UTF32_BE),
    ("utf-16", codecs.BOM_UTF16_LE),
    ("utf-16", codecs.BOM_UTF16_BE),
)
_COMMON = r"[\n !-~\u3001\u3002\uff0c]"
_SPACES = dict.fromkeys(b"\t\n\v\f\r\x1b\x85", " ")
_LEAST_ZEROS = 0.4  # the least share of zero bytes in UTF-16 text of Latin letters
_SAMPLE_CHARACTERS = 1 << 16


def decode(name: str, data: bytes, limit: int, reader: str = SAY, strip: bool = True) -> str:
    """Return the bytes of a file as text whose lines end in LF, without a byte order mark.

    name: the file's name, for messages. limit: the most bytes. reader: the command that hints end with. strip: also
    remove the whitespace around the text. Raises UsageError if it is not a text, or a longer one.
    """
    text = _decode(name, data, limit, reader).replace("\r\n", "\n").replace("\r", "\n")
    return text.strip() if strip else text


def _decode(name: str, data: bytes, limit: int, reader: str) -> str:
    shown = shown_name(name, data)
    if why := file_kinds.why_not_text(data[: file_kinds.HEAD_BYTES], shown, reader):
        raise UsageError(f"{name}: {why}")
    if len(data) > limit:
        raise UsageError(f"{name}: more than {limit:,} bytes of text, the limit")
    encoding = _find_encoding(data)
    if encoding is None:
        raise not_utf8(name, shown, 0, data.index(0), reader)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if (text := _decode_unmarked_utf16(data)) is not None:
            return text
        if encoding != "utf-8-sig":
            raise UsageError(f"{name}: not valid {encoding.upper()} at offset {error.start}") from None
        raise not_utf8(name, shown, error.object[error.start], error.start, reader) from None


def shown_name(name: str, data: bytes) -> str:
    """Return the name of a file in the commands of hints. data: its first bytes."""
    return "in.pdf" if name == _STDIN and data.startswith(b"%PDF") else "FILE" if name == _STDIN else name


def not_utf8(name: str, shown: str, byte: int, offset: int, reader: str = SAY) -> UsageError:
    """Return the error for a byte that is no text. shown: see `shown_name`. reader: see `decode`."""
    if byte == 0:
        return UsageError(f"{name}: binary data (a zero byte at offset {offset}), expected a text in UTF-8")
    hint = f"; if it is Latin-1: iconv -f CP1252 -t UTF-8 {file_kinds.shell_quote(shown)} | {reader}"
    return UsageError(f"{name}: not valid UTF-8: byte 0x{byte:02X} at offset {offset}{hint}")


def _decode_unmarked_utf16(data: bytes) -> str | None:
    """Decode UTF-16 without a byte order mark and without zero bytes, which Chinese and Japanese text may be.

    Returns None for other bytes. The text must contain an ideographic comma or full stop: one of its two bytes is a
    control character, which text in older encodings lacks.
    """
    for encoding in ("utf-16-le", "utf-16-be"):
        with contextlib.suppress(UnicodeDecodeError):
            text = data.decode(encoding)
            if ("\u3001" in text or "\u3002" in text) and _is_text(text):
                return text
    return None


def _find_encoding(data: bytes) -> str | None:
    """The encoding that a byte order mark or zero bytes show, else UTF-8; None if the bytes are not text."""
    for encoding, mark in _MARKS:
        if data.startswith(mark):
            return encoding
    if 0 not in data:
        return "utf-8-sig"
    plain = data.replace(b"\0", b"")
    if len(data) - len(plain) < _LEAST_ZEROS * len(data) and _is_text(plain.decode("utf-8", "replace")):
        return None  # UTF-8 with zero bytes between words, such as the output of find -print0
    best, most = None, -1
    for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        # The wrong byte order is often valid too, but it turns spaces and line ends into other characters.
        common = len(re.findall(_COMMON, text[:_SAMPLE_CHARACTERS]))
        if common > most and _is_text(text):
            best, most = encoding, common
    return best


def _is_text(text: str) -> bool:
    """Whether a decoded text is free of control characters and of unassigned and private code points."""
    import unicodedata

    never = ("Cc", "Cn", "Co", "Cs")
    sample = text[:_SAMPLE_CHARACTERS].translate(_SPACES)
    return "\0" not in text and "\ufffd" not in text and all(unicodedata.category(c) not in never for c in sample)
