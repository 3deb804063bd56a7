"""SRT and WebVTT, read by the parsers of other projects; cue sheets; names of chapter files."""

from __future__ import annotations

import datetime
import io
import re
import unicodedata

import pytest
import srt as srt_parser
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3tts_cli.errors import UsageError
from qwen3tts_cli.output import subtitles
from qwen3tts_cli.output.chapter_files import MOST_BYTES, file_name, file_names
from qwen3tts_cli.output.tagging import ChapterMark, Cue, Tags, one_line

CUES = [
    Cue(0, 1.2344, "Hello, world."),
    Cue(1.2344, 3661.0005, "Two\n\nlines & <b>tags</b> --> here"),
    Cue(3661.25, 360000.5, "\n 第三 \x00\n7\n"),
]


def parsed_srt(cues, end=None):
    found = list(srt_parser.parse("".join(subtitles.srt(cues, end)), ignore_errors=False))
    assert [cue.index for cue in found] == list(range(1, len(found) + 1))
    ms = datetime.timedelta(milliseconds=1)
    return [(cue.start // ms, cue.end // ms, cue.content) for cue in found]


def parsed_vtt(cues, end=None):
    found = webvtt.from_buffer(io.StringIO("".join(subtitles.vtt(cues, end))))
    times = [(round(cue.start_in_seconds * 1000), round(cue.end_in_seconds * 1000)) for cue in found]
    clocks = [(milliseconds(cue.start), milliseconds(cue.end)) for cue in found]
    assert len(times) == len(clocks)
    return [(*clock, cue.raw_text) for clock, cue in zip(clocks, found, strict=True)]


def milliseconds(clock):
    hours, minutes, seconds, rest = re.fullmatch(r"(\d\d+):(\d\d):(\d\d)\.(\d{3})", clock).groups()
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(rest)


def test_srt_is_the_text_that_its_readers_expect():
    assert "".join(subtitles.srt(CUES[:1])) == "1\n00:00:00,000 --> 00:00:01,234\nHello, world.\n\n"
    assert parsed_srt(CUES) == [
        (0, 1234, "Hello, world."),
        (1234, 3_661_000, "Two\nlines & <b>tags</b> -> here"),
        (3_661_250, 360_000_500, "第三\n7"),
    ]


def test_vtt_is_the_text_that_its_readers_expect():
    assert "".join(subtitles.vtt(CUES[:1])) == "WEBVTT\n\n00:00:00.000 --> 00:00:01.234\nHello, world.\n\n"
    assert parsed_vtt(CUES) == [
        (0, 1234, "Hello, world."),
        (1234, 3_661_000, "Two\nlines &amp; &lt;b&gt;tags&lt;/b&gt; --&gt; here"),
        (3_661_250, 360_000_500, "第三\n7"),
    ]


@pytest.mark.parametrize("parsed", [parsed_srt, parsed_vtt])
def test_the_last_cue_ends_with_the_audio(parsed):
    assert [end for _, end, _ in parsed(CUES[:2], 4000.1234)] == [1234, 4_000_123]
    assert [end for _, end, _ in parsed([*CUES[:2], Cue(9999, 10000, " ")], 4000.1234)] == [1234, 4_000_123]
    assert parsed([], 5.0) == []


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ["-->", "\n\n7\n\n", "NOTE", "WEBVTT", "1"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 4), st.floats(0, 4), TEXTS), max_size=8))
def test_any_cues_parse_and_never_overlap(rows):
    at, cues = 0.0, []
    for gap, length, text in rows:
        cues.append(Cue(at + gap, at + gap + length, text))
        at += gap + length
    wanted = [cue for cue in cues if "".join(one_line(line) for line in cue.text.splitlines())]
    for found in (parsed_srt(cues), parsed_vtt(cues)):
        assert len(found) == len(wanted)
        times = [time for start, end, _ in found for time in (start, end)]
        assert times == sorted(times)
        assert all(start < end for start, end, _ in found)
        late = [start - round(cue.start * 1000) for (start, _, _), cue in zip(found, wanted, strict=True)]
        assert all(0 <= ms <= len(cues) for ms in late)


def test_overlapping_cues_are_moved_apart():
    assert [row[:2] for row in parsed_srt([Cue(0, 2, "a"), Cue(1.9, 3, "b"), Cue(3, 3, "c")])] == [
        (0, 2000),
        (2000, 3000),
        (3000, 3001),
    ]


def test_chapters_in_vtt():
    text = "".join(subtitles.vtt_chapters([ChapterMark("A & B", 0, 1), ChapterMark("", 1, 2.5)]))
    assert text == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nA &amp; B\n\n00:00:01.000 --> 00:00:02.500\n2\n\n"


def test_a_cue_sheet():
    marks = [ChapterMark('Say "one"', 0, 65.5), ChapterMark("Two\nlines", 65.5, 7000), ChapterMark("", 7000.99, 7001)]
    sheet = "".join(subtitles.cue_sheet('my "book".mp3', "mp3", Tags("T", "Ä", "", language="en"), marks))
    assert sheet.splitlines() == [
        "REM LANGUAGE eng",
        'PERFORMER "Ä"',
        'TITLE "T"',
        "FILE \"my 'book'.mp3\" MP3",
        "  TRACK 01 AUDIO",
        "    TITLE \"Say 'one'\"",
        "    INDEX 01 00:00:00",
        "  TRACK 02 AUDIO",
        '    TITLE "Two lines"',
        "    INDEX 01 01:05:38",
        "  TRACK 03 AUDIO",
        '    TITLE "3"',
        "    INDEX 01 116:40:74",
    ]
    assert 'FILE "a.flac" WAVE\n' in subtitles.cue_sheet("a.flac", "flac", Tags(), marks)


@settings(deadline=None)
@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=99))
def test_the_times_of_a_cue_sheet_never_decrease(gaps):
    at, marks = 0.0, []
    for gap in gaps:
        at += gap
        marks.append(ChapterMark("x", at, at))
    lines = "".join(subtitles.cue_sheet("a.wav", "wav", Tags(), marks))
    found = [tuple(map(int, time)) for time in re.findall(r"INDEX 01 (\d\d):(\d\d):(\d\d)\n", lines)]
    sectors = [(minutes * 60 + seconds) * 75 + sector for minutes, seconds, sector in found]
    assert sectors == sorted(sectors)
    assert all(abs(sector / 75 - mark.start) <= 1 / 150 + 1e-9 for sector, mark in zip(sectors, marks, strict=True))


def test_cue_sheets_that_are_refused():
    with pytest.raises(UsageError, match=r"not \.opus"):
        subtitles.cue_sheet("a.opus", "opus", Tags(), [])
    with pytest.raises(UsageError, match="at most 99 tracks, there are 100"):
        subtitles.cue_sheet("a.wav", "wav", Tags(), [ChapterMark("", 0, 1)] * 100)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("The End", "07 The End.opus"),
        ("", "07.opus"),
        (" . ", "07.opus"),
        ("CON", "07 CON.opus"),
        ('A/B\\C:D*E?F"G<H>I|J', "07 A_B_C_D_E_F_G_H_I_J.opus"),
        ("line\r\nbreak\x00 \ttab", "07 line break tab.opus"),
        ("end... ", "07 end.opus"),
        ("../../etc", "07 .._.._etc.opus"),
        ("e\u0301te\u0301", "07 été.opus"),
        ("\u202egnp.exe\u200b\ufeff\ud800", "07 gnp.exe.opus"),
        ("نمی\u200cدانم", "07 نمی\u200cدانم.opus"),
    ],
)
def test_names_of_chapter_files(title, name):
    assert file_name(7, title, 2, "opus") == name


def test_names_are_cut_between_letters():
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # one emoji of 18 bytes
    assert file_name(1, family * 10, 2, "opus") == f"01 {family * 4}.opus"
    assert file_name(1, "ç" * 10_000, 2, "m4b") == f"01 {'ç' * 36}.m4b"
    assert file_name(1, "a" + "\u0323\u0301" * 5000, 2, "wav").encode()[:4] == b"01 \xe1"


@settings(deadline=None)
@given(st.lists(st.text(max_size=120), min_size=1, max_size=12), st.sampled_from(["opus", "wav", "m4b"]))
def test_any_title_gives_a_safe_name(titles, extension):
    names = file_names(list(enumerate(titles, 95)), extension)
    assert len({unicodedata.normalize("NFD", name).casefold() for name in names}) == len(titles)
    for number, name in enumerate(names, 95):
        assert len(name.encode()) <= MOST_BYTES
        assert unicodedata.is_normalized("NFC", name)
        stem = name.removesuffix(f".{extension}")
        assert stem.startswith(f"{number:0{len(str(94 + len(titles))) if titles else 2}d}")
        assert stem[-1] not in " ."
        assert not set(name) & set('<>:"/\\|?*\0\n')


def test_all_numbers_have_the_width_of_the_largest():
    assert file_names([(2, "a"), (100, "b")], "wav") == ["002 a.wav", "100 b.wav"]
    assert file_names([(9, "a")], "wav") == ["09 a.wav"]
