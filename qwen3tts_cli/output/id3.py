"""The ID3v2.4 header of MP3 files. Sources: id3.org, "ID3 tag version 2.4.0", and "ID3v2 Chapter Frame Addendum"."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from .tagging import ChapterMark, Tags, cover_type, mark_titles, shorten, track_text

_UTF8 = b"\x03"
_FRONT_COVER = b"\x03"
_NO_OFFSET = 0xFFFFFFFF  # chapters are found by their times
_TOP_LEVEL, _ORDERED = 2, 1
_MOST_CHILDREN = 255  # of a table of contents: their number is one byte
# ffmpeg reads the size of a frame inside a CHAP frame as a plain number; below 128 both ways of writing are the same.
_MOST_TITLE_BYTES = 126


def id3_header(tags: Tags, marks: Sequence[ChapterMark] = (), cover: bytes | None = None) -> bytes:
    """The bytes that go before the first frame of an MP3 file; none if there is nothing to say.

    tags: as clean_tags returns them. Raises InputError for a cover that is neither JPEG nor PNG.
    """
    texts = {
        b"TIT2": tags.title,
        b"TPE1": tags.author,
        b"TALB": tags.album,
        b"TRCK": track_text(tags),
        b"TLAN": tags.language,
    }
    frames = [_frame(name, _UTF8 + text.encode()) for name, text in texts.items() if text]
    frames += _chapters(marks)
    if cover is not None:
        frames.append(_frame(b"APIC", _UTF8 + cover_type(cover).encode() + b"\0" + _FRONT_COVER + b"\0" + cover))
    body = b"".join(frames)
    return b"ID3\x04\x00\x00" + _syncsafe(len(body)) + body if body else b""


def _syncsafe(size: int) -> bytes:
    """28 bits in four bytes whose highest bit is 0."""
    return bytes(size >> shift & 127 for shift in (21, 14, 7, 0))


def _frame(name: bytes, body: bytes) -> bytes:
    return name + _syncsafe(len(body)) + bytes(2) + body


def _chapters(marks: Sequence[ChapterMark]) -> Iterator[bytes]:
    """A CHAP frame for each chapter, and the tables of contents: one, or one of tables for over 255 chapters."""
    names = [b"chp%d" % number for number in range(len(marks))]
    if len(names) > _MOST_CHILDREN:
        groups = [names[start : start + _MOST_CHILDREN] for start in range(0, len(names), _MOST_CHILDREN)]
        tables = [b"toc%d" % number for number in range(len(groups))]
        yield _contents(b"toc", tables, _TOP_LEVEL | _ORDERED)
        for table, group in zip(tables, groups, strict=True):
            yield _contents(table, group, _ORDERED)
    elif names:
        yield _contents(b"toc", names, _TOP_LEVEL | _ORDERED)
    for name, mark, title in zip(names, marks, mark_titles(marks), strict=True):
        times = struct.pack(">4I", round(mark.start * 1000), round(mark.end * 1000), _NO_OFFSET, _NO_OFFSET)
        yield _frame(
            b"CHAP", name + b"\0" + times + _frame(b"TIT2", _UTF8 + shorten(title, _MOST_TITLE_BYTES).encode())
        )


def _contents(name: bytes, children: Sequence[bytes], flags: int) -> bytes:
    body = b"".join(child + b"\0" for child in children)
    return _frame(b"CTOC", name + b"\0" + bytes((flags, len(children))) + body)
