"""Subtitles and lists of chapters beside an audio file: SRT, WebVTT, cue sheets. All are parts of a text file in UTF-8.

Times are rounded to the nearest millisecond. Cues never overlap and last at least 1 ms. Sources: W3C "WebVTT: The Web
Video Text Tracks Format"; the appendix on cue sheets in the manual of CDRWIN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..errors import UsageError
from .tagging import ChapterMark, Cue, Tags, clean_tags, mark_titles, one_line

MOST_CUE_SHEET_TRACKS = 99
_CUE_SHEET_TYPES = {"wav": "WAVE", "flac": "WAVE", "mp3": "MP3"}
_SECTORS = 75  # in a second
_MOST_CHARACTERS = 100_000  # of a cue


def srt(cues: Iterable[Cue], end: float | None = None) -> Iterator[str]:
    """The parts of an SRT file, one a cue. Cues without text are left out.

    end: the length of the audio in seconds, at which the last cue then ends.
    """
    for number, (start, stop, text) in enumerate(_timeline(cues, end), 1):
        shown = "\n".join(_lines(text)).replace("-->", "->")  # SRT has no other way to write it
        yield f"{number}\n{_clock(start, ',')} --> {_clock(stop, ',')}\n{shown}\n\n"


def vtt(cues: Iterable[Cue], end: float | None = None) -> Iterator[str]:
    """The parts of a WebVTT file: its header, then one a cue. Cues without text are left out. end: as in `srt`."""
    yield "WEBVTT\n\n"
    for start, stop, text in _timeline(cues, end):
        shown = "\n".join(_lines(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield f"{_clock(start, '.')} --> {_clock(stop, '.')}\n{shown}\n\n"


def vtt_chapters(marks: Sequence[ChapterMark]) -> Iterator[str]:
    """The parts of a WebVTT file of chapters. A chapter without a title has its number as its text."""
    return vtt(Cue(mark.start, mark.end, title) for mark, title in zip(marks, mark_titles(marks), strict=True))


def cue_sheet(file_name: str, extension: str, tags: Tags, marks: Sequence[ChapterMark]) -> Iterator[str]:
    """The lines of a cue sheet, with line ends. file_name: the name of the audio file as seen from the sheet.

    extension: wav, flac or mp3. Raises UsageError for another one, and for more than MOST_CUE_SHEET_TRACKS chapters.
    """
    if extension not in _CUE_SHEET_TYPES:
        raise UsageError(f"a cue sheet names a wav, flac or mp3 file, not .{extension}")
    if len(marks) > MOST_CUE_SHEET_TRACKS:
        raise UsageError(f"a cue sheet has at most {MOST_CUE_SHEET_TRACKS} tracks, there are {len(marks)} chapters")
    return _sheet_lines(file_name, extension, clean_tags(tags), marks)


def _sheet_lines(file_name: str, extension: str, tags: Tags, marks: Sequence[ChapterMark]) -> Iterator[str]:
    if tags.language:
        yield f"REM LANGUAGE {tags.language}\n"
    if tags.author:
        yield f"PERFORMER {_quoted(tags.author)}\n"
    if title := tags.album or tags.title:
        yield f"TITLE {_quoted(title)}\n"
    yield f"FILE {_quoted(file_name)} {_CUE_SHEET_TYPES[extension]}\n"
    last = 0
    for number, (mark, title) in enumerate(zip(marks, mark_titles(marks), strict=True), 1):
        last = max(last, int(mark.start * _SECTORS + 0.5))
        minutes, sectors = divmod(last, 60 * _SECTORS)
        yield f"  TRACK {number:02d} AUDIO\n    TITLE {_quoted(title)}\n"
        yield f"    INDEX 01 {minutes:02d}:{sectors // _SECTORS:02d}:{sectors % _SECTORS:02d}\n"


def _quoted(text: str) -> str:
    """A text in quotation marks; a cue sheet has no way to write these inside."""
    return '"' + one_line(text).replace('"', "'") + '"'


def _timeline(cues: Iterable[Cue], end: float | None) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) of each cue that has a text, in milliseconds."""
    held: tuple[int, int, str] | None = None
    for cue in cues:
        if not _lines(cue.text):
            continue
        if held is not None:
            yield held
        start = max(round(cue.start * 1000), held[1] if held else 0)
        held = start, max(round(cue.end * 1000), start + 1), cue.text
    if held is not None:
        start, stop, text = held
        yield start, stop if end is None else max(round(end * 1000), start + 1), text


def _lines(text: str) -> list[str]:
    """The lines of a text that are not blank, without control characters."""
    lines = (one_line(line, _MOST_CHARACTERS) for line in text.splitlines())
    return [line for line in lines if line]


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"
