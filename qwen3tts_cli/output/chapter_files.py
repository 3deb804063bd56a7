"""Names of files that are made from titles: safe on Linux, macOS and Windows."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

MOST_BYTES = 80
_RESERVED = frozenset('<>:"/\\|?*')
_REPLACEMENT = "_"
# Format characters that are part of words and emoji; the others change the order of letters or cannot be seen.
_JOINERS = "\u200c\u200d"
_LEFT_OUT = ("Cf", "Cn", "Co", "Cs")


def file_names(chapters: Sequence[tuple[int, str]], extension: str) -> list[str]:
    """The name of a file for each (number, title). Different numbers give different names, also where case does not
    count. All numbers have the same width, at least 2."""
    width = max([2, *(len(str(number)) for number, _ in chapters)])
    return [file_name(number, title, width, extension) for number, title in chapters]


def file_name(number: int, title: str, width: int, extension: str) -> str:
    """A name such as `01 Title.opus`, NFC, at most MOST_BYTES bytes of UTF-8; `01.opus` if the title leaves nothing.

    Reserved characters become `_`. The number comes first, so that no name is reserved or begins with a dot.
    """
    prefix, suffix = f"{number:0{width}d}", f".{extension}"
    room = MOST_BYTES - len(prefix) - 1 - len(suffix.encode())
    text = _cut(_safe(title), room).rstrip(" .")
    return f"{prefix} {text}{suffix}" if text else prefix + suffix


def _safe(title: str) -> str:
    """The beginning of a title, long enough for MOST_BYTES, without characters that a file name cannot have."""
    line = " ".join(title[: 1 << 16].replace("\0", " ").split())
    kept = []
    for character in unicodedata.normalize("NFC", line):
        category = unicodedata.category(character)
        if category in _LEFT_OUT and character not in _JOINERS:
            continue
        kept.append(_REPLACEMENT if character in _RESERVED or category == "Cc" else character)
        if len(kept) == MOST_BYTES:
            break
    return unicodedata.normalize("NFC", "".join(kept))


def _cut(text: str, room: int) -> str:
    """The first characters, as a reader sees them, in at most `room` bytes; code points if the first has more."""
    import regex

    shown = ""
    for match in regex.finditer(r"\X", text):
        if len((shown + match.group()).encode()) > room:
            break
        shown += match.group()
    return shown or text.encode()[:room].decode("utf-8", "ignore")
