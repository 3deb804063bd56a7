"""What a finished file says about itself: tags, chapter marks, a cover; and the cues of subtitles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError

MOST_CHARACTERS = 1000  # of a tag; a longer one is a text, and readers of some formats stop at 64 KB
_MOST_COVER_BYTES = 16 << 20
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# ISO 639-2/T codes of the languages that the released models speak
_LANGUAGES = {
    "chinese": "zho", "english": "eng", "german": "deu", "italian": "ita", "portuguese": "por",
    "spanish": "spa", "japanese": "jpn", "korean": "kor", "french": "fra", "russian": "rus",
}  # fmt: skip
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of segments that hold the size of a picture


@dataclass(frozen=True)
class Tags:
    """The tags of a file; an empty text or None is a tag that the file does not get.

    track, tracks: the number of the file, from 1, and of how many. language: a code, a locale name or an English name.
    """

    title: str = ""
    author: str = ""
    album: str = ""
    track: int | None = None
    tracks: int | None = None
    language: str = ""


@dataclass(frozen=True)
class ChapterMark:
    """A chapter of a file; start and end in seconds from the first sample."""

    title: str
    start: float
    end: float


@dataclass(frozen=True)
class Cue:
    """A text of a subtitle; start and end in seconds from the first sample."""

    start: float
    end: float
    text: str


def one_line(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text without line breaks and control characters, at most `most` characters long."""
    text = _CONTROLS.sub(" ", text[: 10 * most]).encode("utf-8", "replace").decode("utf-8")
    return " ".join(text.split())[:most].rstrip()


def shorten(text: str, most: int) -> str:
    """The beginning of a text that has at most `most` bytes of UTF-8, whole characters."""
    return text.encode("utf-8")[:most].decode("utf-8", "ignore")


def clean_tags(tags: Tags) -> Tags:
    """The tags as they are written: each text one line, the language as language_code gives it."""
    return Tags(
        one_line(tags.title),
        one_line(tags.author),
        one_line(tags.album),
        tags.track,
        tags.tracks,
        language_code(tags.language),
    )


def track_text(tags: Tags) -> str:
    """The track as ID3 and MP4 write it: `3/12`, `3`, or an empty text."""
    if tags.track is None:
        return ""
    return str(tags.track) if tags.tracks is None else f"{tags.track}/{tags.tracks}"


def mark_titles(marks: Sequence[ChapterMark]) -> list[str]:
    """The title of each chapter in one line; a chapter without a title has its number."""
    return [one_line(mark.title) or str(number) for number, mark in enumerate(marks, 1)]


def language_code(language: str) -> str:
    """The three-letter code of ISO 639-2 of a language, which may be a code, a locale name or an English name; an
    empty text if it is not known."""
    from ..text.languages_and_voices import language_name

    name = language_name(language)
    first = re.split("[-_.@]", name, maxsplit=1)[0]
    return _LANGUAGES.get(name, first if re.fullmatch("[a-z]{3}", first) else "")


def cover_type(cover: bytes) -> str:
    """The media type of a cover: image/jpeg or image/png. Raises InputError for anything else, a picture without a
    size, and one over 16 MB."""
    if len(cover) > _MOST_COVER_BYTES:
        raise InputError(f"cover: {len(cover)} bytes, at most {_MOST_COVER_BYTES} are read")
    if cover.startswith(b"\x89PNG\r\n\x1a\n"):
        kind, size = "image/png", _png_size(cover)
    elif cover.startswith(b"\xff\xd8\xff"):
        kind, size = "image/jpeg", _jpeg_size(cover)
    else:
        raise InputError("cover: neither a JPEG nor a PNG file")
    if not all(size):
        raise InputError("cover: a damaged picture, it has no width and height")
    return kind


def _png_size(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR" or len(data) < 33:
        return 0, 0
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height, read from the first segment that has them."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_SIZES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return 0, 0
