"""narrate: what the finished files hold: pauses, levels, cues, chapters, tags, voices; and segments that fail."""

from __future__ import annotations

import html
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import srt
import webvtt
from test_tagged_file import require_ffmpeg_for

from qwen3tts_cli import Synthesizer, narrate
from qwen3tts_cli.hearing.segment_checks import trim

TEXT = """[chapter:The Road]

[pause:300ms] The rain had stopped. A man walked down the road.

[pause:1.25s] Nobody said a word. [pause:0.4s] Then they went home.

[chapter:The Würfel & Söhne]

[pause:500ms] It was late. The lamp was burning.

Good night.
"""
# chapter, pause before, text
SPOKEN = [
    (0, 0.3, "The rain had stopped."),
    (0, 0.25, "A man walked down the road."),
    (0, 1.25, "Nobody said a word."),
    (0, 0.4, "Then they went home."),
    (1, 1.5 + 0.5, "It was late."),
    (1, 0.25, "The lamp was burning."),
    (1, 0.6, "Good night."),
]
PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde\0\0\0\x0cIDATx\x9cc\xf8\xcf\xc0\0\0"
    b"\x03\x01\x01\0\xc9\xfe\x92\xef\0\0\0\0IEND\xaeB`\x82"
)


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open(threads=1) as synthesizer:
        yield synthesizer


@pytest.fixture(scope="module")
def spoken(voice, tmp_path_factory):
    """The folder of a narration of TEXT: a.wav of 32-bit floats, all files of cues, and the segments."""
    folder = tmp_path_factory.mktemp("spoken")
    (folder / "cover.png").write_bytes(PNG)
    narrate(
        TEXT.encode(), folder / "a.wav", model=voice, seed=1, cue="sentence", subtype="FLOAT", keep=True,
        title="Bücher", author="Ann", srt=folder / "a.srt", vtt=folder / "a.vtt", timings=folder / "a.json",
        chapter_vtt=folder / "chapters.vtt", cue_sheet=folder / "a.cue",
    )  # fmt: skip
    return folder


def assemble(voice, spoken, name, **options):
    """Make another output from the segments of `spoken`; nothing is spoken. Returns its path."""
    (source,) = spoken.glob("*.segments")
    target = spoken / name
    if target.is_dir():
        source.rename(target / ".segments")
    else:
        source.rename(spoken / f"{name}.segments")
    seen = []
    options = {"title": "Bücher", "author": "Ann", **options}
    try:
        result = narrate(
            TEXT.encode(), target, model=voice, seed=1, cue="sentence", keep=True, progress=seen.append, **options
        )
        assert seen[-1].spoken == 0
    finally:
        (target / ".segments" if target.is_dir() else spoken / f"{name}.segments").rename(spoken / "kept.segments")
    return result


def facts_of(path: Path) -> dict:
    (facts,) = json.loads(path.read_text(encoding="utf-8"))["files"]
    return facts


def probe(path: Path) -> dict:
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_chapters", "-of", "json", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


# ---------------------------------------------------------------- samples
def test_segments_are_placed_to_the_sample(spoken):
    samples, rate = soundfile.read(spoken / "a.wav", dtype="float32")
    segments = facts_of(spoken / "a.json")["segments"]
    assert (rate, len(segments)) == (24000, len(SPOKEN))
    stored: dict[int, list] = {}
    for path in next(spoken.glob("*.segments")).glob("*.flac"):
        kept = trim(soundfile.read(path, dtype="float32")[0])
        stored.setdefault(len(kept), []).append(kept)
    position = 0
    for (chapter, pause, text), segment in zip(SPOKEN, segments, strict=True):
        silence = round(pause * 24000)
        start, end = round(segment["start"] * 24000), round(segment["end"] * 24000)
        assert segment["text"] == text
        assert segment["name"].startswith(f"{chapter + 1}.")
        assert start == position + silence
        assert not samples[position:start].any()
        levelled = [kept * np.float32(segment["gain"]) for kept in stored[end - start]]
        (original,) = (each for each in levelled if np.array_equal(samples[start + 120 : end - 120], each[120:-120]))
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(120) + 0.5) / 120)
        np.testing.assert_allclose(samples[start : start + 120], original[:120] * ramp, atol=1e-6)
        np.testing.assert_allclose(samples[end - 120 : end], original[-120:] * ramp[::-1], atol=1e-6)
        position = end
    assert position == len(samples)  # no silence at the end


def test_pauses_and_speed_and_loudness_speak_nothing_anew(voice, spoken):
    plain = facts_of(spoken / "a.json")
    assemble(voice, spoken, "fast.wav", speed=2, lufs=-30, timings=spoken / "fast.json", pause_sentence=1, retries=5)
    fast = facts_of(spoken / "fast.json")
    for index, (before, after) in enumerate(zip(plain["segments"], fast["segments"], strict=True)):
        length, faster = before["end"] - before["start"], after["end"] - after["start"]
        assert faster == pytest.approx(length / 2, abs=0.05)
        assert after["gain"] < before["gain"]
        if index and SPOKEN[index][1] != 0.25:
            assert after["start"] - fast["segments"][index - 1]["end"] == pytest.approx(SPOKEN[index][1])
    assert fast["segments"][1]["start"] - fast["segments"][0]["end"] == pytest.approx(1)


# ---------------------------------------------------------------- cues, chapters, tags
def test_subtitles_parse_and_end_with_the_audio(spoken):
    seconds = soundfile.info(spoken / "a.wav").duration
    cues = list(srt.parse((spoken / "a.srt").read_text(encoding="utf-8")))
    assert [cue.content for cue in cues] == [text for _, _, text in SPOKEN]
    assert cues[-1].end.total_seconds() == pytest.approx(seconds, abs=0.001)
    captions = webvtt.read(spoken / "a.vtt")
    assert [caption.text for caption in captions] == [text for _, _, text in SPOKEN]
    assert captions[-1].end_in_seconds == pytest.approx(seconds, abs=1)
    assert captions[0].start == "00:00:00.300"
    titles = [html.unescape(caption.text) for caption in webvtt.read(spoken / "chapters.vtt")]
    assert titles == ["The Road", "The Würfel & Söhne"]
    sheet = (spoken / "a.cue").read_text(encoding="utf-8")
    assert 'PERFORMER "Ann"\nTITLE "Bücher"\nFILE "a.wav" WAVE' in sheet
    assert sheet.count("TRACK") == 2


@pytest.mark.parametrize("extension", ["mp3", "m4b"])
def test_chapter_marks_and_the_cover(voice, spoken, extension):
    require_ffmpeg_for("m4b")
    result = assemble(voice, spoken, f"a.{extension}", cover=spoken / "cover.png")
    found = probe(result.files[0])
    marks = [(mark["tags"]["title"], float(mark["start_time"]), float(mark["end_time"])) for mark in found["chapters"]]
    want = [(mark["title"], mark["start"], mark["end"]) for mark in facts_of(spoken / "a.json")["chapters"]]
    assert [mark[0] for mark in marks] == [mark[0] for mark in want]
    np.testing.assert_allclose([mark[1:] for mark in marks], [mark[1:] for mark in want], atol=0.002)
    tags = {name.lower(): text for name, text in found["format"]["tags"].items()}
    assert (tags["title"], tags["artist"]) == ("Bücher", "Ann")
    assert any(stream["disposition"]["attached_pic"] for stream in found["streams"])
    assert float(found["format"]["duration"]) == pytest.approx(result.seconds, abs=0.05)


@pytest.mark.parametrize("extension", ["opus", "mp3", "flac", "ogg"])
def test_lengths_and_tags(voice, spoken, extension):
    require_ffmpeg_for("m4b")
    result = assemble(voice, spoken, f"b.{extension}")
    path = result.files[0]
    assert soundfile.info(path).duration == pytest.approx(result.seconds, abs=0.05)
    assert float(probe(path)["format"]["duration"]) == pytest.approx(result.seconds, abs=0.05)
    if extension != "mp3":
        with soundfile.SoundFile(path) as file:
            assert (file.title, file.artist, file.album) == ("Bücher", "Ann", "Bücher")


def test_a_folder_has_a_file_for_each_chapter(voice, spoken):
    folder = spoken / "book"
    folder.mkdir()
    result = assemble(voice, spoken, "book", srt=spoken / "subtitles")
    assert [path.name for path in result.files] == ["01 The Road.opus", "02 The Würfel & Söhne.opus"]
    assert sorted(path.name for path in folder.iterdir()) == [path.name for path in result.files]
    for number, path in enumerate(result.files, 1):
        with soundfile.SoundFile(path) as file:
            assert (file.title, file.album) == (path.stem[3:], "Bücher")
            assert file.tracknumber in (f"{number}", f"{number}/2")
        cues = list(srt.parse((spoken / "subtitles" / f"{path.stem}.srt").read_text(encoding="utf-8")))
        assert [cue.content for cue in cues] == [text for chapter, _, text in SPOKEN if chapter == number - 1]
        assert cues[-1].end.total_seconds() == pytest.approx(soundfile.info(path).duration, abs=0.05)
    assert soundfile.info(result.files[1]).duration + soundfile.info(result.files[0]).duration == pytest.approx(
        soundfile.info(spoken / "a.wav").duration - 1.5, abs=0.1
    )
