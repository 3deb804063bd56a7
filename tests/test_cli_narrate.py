"""The command narrate: lists, estimates, previews, conflicts, progress, exit codes."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import pytest
import soundfile
from epub_maker import make_epub
from helpers import CHECKPOINTS

from qwen3tts_cli.narration import speaking

MARKDOWN = """# Book

## The *Road*

It was late. The rain had stopped.

## Home

They went home.
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with book.md."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.md").write_text(MARKDOWN, encoding="utf-8")
    return tmp_path


def names(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_list(run, here):
    out, err = run("narrate", "book.md", "--list")
    assert [line.split(maxsplit=2)[::2] for line in out.splitlines()] == [
        ["1", "-"],
        ["2", "The Road"],
        ["3", "Home"],
    ]
    out, _ = run("narrate", "book.md", "--list", "--json", "--chapters", "2-3")
    facts = json.loads(out)
    assert [chapter["title"] for chapter in facts["chapters"]] == ["The Road", "Home"]
    assert all(chapter["characters"] > 0 for chapter in facts["chapters"])
    assert err == ""
    assert names(here) == ["book.md"]


def test_dry_run(run, here):
    out, _ = run("narrate", "book.md", "--dry-run", "--json", "-o", "a.flac")
    facts = json.loads(out)
    assert (facts["chapters"], facts["format"]) == (3, "flac")
    assert facts["characters"] == len("BookThe RoadIt was late. The rain had stopped.HomeThey went home.")
    assert 2 < facts["seconds"] < 20
    assert facts["time"] <= facts["seconds"]
    assert facts["bytes"] == pytest.approx(facts["seconds"] * 25_000, rel=0.2)
    base = ("--steady", "-m", str(CHECKPOINTS / "tiny-base"))  # a base model without a recording
    out, _ = run("narrate", "book.md", "--dry-run", "--chapters", "3", *base)
    assert out.startswith("1 chapters, ")
    assert names(here) == ["book.md"]


def test_chapters_and_what_is_left_behind(run, here):
    out, err = run("narrate", "book.md", "-o", "out/", "--chapters", "2-3", "--audio-format", "flac")
    assert out == ""
    assert names(here) == ["book.md", "out/02 The Road.flac", "out/03 Home.flac"]
    seconds = sum(soundfile.info(path).duration for path in here.glob("out/*.flac"))
    assert f"out/02 The Road.flac, out/03 Home.flac: {seconds:.1f} s of audio, " in err
    run("narrate", "book.md", "-o", "out", "--chapters", "1", "-q", "--seed", "3", "--keep")  # an existing folder
    assert "out/01.opus" in names(here)
    assert "out/.segments/log.jsonl" in names(here)


def test_preview(run, here):
    text = "The rain had stopped. They went home along the river.\n\n" * 60
    (here / "long.txt").write_text(text, encoding="utf-8")
    run("narrate", "long.txt", "-o", "a.flac", "--preview", "--seed", "1")
    samples, rate = soundfile.read("a.flac")
    assert 30 < len(samples) / rate < 75
    assert samples[-2000:].any()  # no pause at the end
    assert any(name.endswith(".flac") for name in names(here / "a.flac.segments"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "-"], "standard output"),
        (["-o", "/dev/stdout"], "standard output"),
        ([], "-o OUT is missing"),
        (["-o", "a.mp3", "--audio-format", "opus"], "differ"),
        (["-o", "a.xyz"], "unknown extension .xyz"),
        (["-o", "none/a.opus"], "there is no folder none"),
        (["-o", "a.opus", "--srt", "none/a.srt"], "there is no folder none"),
        (["-o", "a.opus", "--srt", "a.vtt", "--vtt", "./a.vtt"], "same file"),
        (["-o", "a.opus", "--timings", "book.md"], "overwrite"),
        (["-o", "a.opus", "--cue-sheet", "a.cue"], "wav, flac, mp3"),
        (["-o", "out/", "--chapter-vtt", "a.vtt"], "for one file"),
        (["-o", "a.opus", "--chapters", "4"], "4"),
        (["-o", "a.opus", "--chapters", "x"], "x"),
        (["-o", "a.opus", "--redo", "3"], "CHAPTER.SEGMENT"),
        (["-o", "a.opus", "--redo", "9.9", "--seed", "1"], "no segment 9.9"),
        (["-o", "a.opus", "--redo", "2.2"], "a.opus.segments has no segments of an earlier run"),
        (["-o", "a.opus", "--voice", "nobody"], "nobody"),
        (["-o", "a.opus", "--lufs", "-55"], "-55"),
        (["-o", "a.opus", "--verify", "none"], "--verify"),
        (["-o", "a.opus", "--ref-text", "Hello."], "--ref"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_conflicts(run, here, arguments, message):
    _, err = run("narrate", "book.md", *arguments, code=2)
    assert message in err
    assert names(here) == ["book.md"]
    assert not (here / "out").exists()


def test_inputs_that_are_not_read(run, here):
    (here / "a.pdf").write_bytes(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    assert "pdftotext" in run("narrate", "a.pdf", "-o", "a.opus", code=2)[1]
    assert "none.txt" in run("narrate", "none.txt", "-o", "a.opus", code=2)[1]


def test_a_format_without_its_program(run, here, monkeypatch):
    monkeypatch.setenv("PATH", str(here))
    _, err = run("narrate", "book.md", "-o", "a.m4b", code=1)
    assert "ffmpeg" in err
    assert names(here) == ["book.md"]


def test_a_text_from_standard_input(run, here, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"[chapter:One] It was late.")))
    run("narrate", "-", "-o", "a.wav", "-q", "--timings", "a.json", "--no-markup", "--cue", "sentence")
    (facts,) = json.loads((here / "a.json").read_text())["files"]
    assert "One" in "".join(each["text"] for each in facts["segments"])
    assert soundfile.info("a.wav").duration == pytest.approx(facts["seconds"])


def test_an_epub(run, here):
    chapters = [("The Road", "<h1>The Road</h1><p>It was late.</p>"), ("Home", "<h1>Home</h1><p>They went home.</p>")]
    make_epub(here / "a.epub", chapters, title="Été", authors=["Ann Author"])
    run("narrate", "a.epub", "-o", "out/", "-q", "--audio-format", "ogg")
    assert names(here / "out") == ["01 The Road.ogg", "02 Home.ogg"]
    with soundfile.SoundFile("out/02 Home.ogg") as file:
        assert (file.title, file.artist, file.album) == ("Home", "Ann Author", "Été")


def test_progress_as_json(run, here):
    out, err = run("narrate", "book.md", "-o", "a.flac", "--progress", "json", "-q", "--cue", "sentence")
    lines = [json.loads(line) for line in err.splitlines()]
    assert out == ""
    assert [line["segments"] for line in lines] == [0, 1, 2, 3, 4, 5, 6, 6]
    assert {line["all_segments"] for line in lines} == {6}
    assert [line["stage"] for line in lines] == ["speaking"] * 7 + ["writing"]
    assert lines[-1]["seconds"] == pytest.approx(lines[-1]["all_seconds"])
    assert lines[-1]["spoken"] >= lines[-1]["seconds"] > 3
    assert lines[-1]["elapsed"] > 0


def test_quiet_says_nothing(run, here):
    assert run("narrate", "book.md", "-o", "a.flac", "-q") == ("", "")


def test_exit_codes_of_failed_segments(run, here, monkeypatch):
    monkeypatch.setattr(speaking, "check_segment", lambda samples, text: "clipping: 3 %" if "rain" in text else None)
    arguments = ("narrate", "book.md", "-o", "a.flac", "--cue", "sentence", "--seed", "1", "--retries", "0")
    _, err = run(*arguments, code=4)
    assert "1 segment failed: 2.3: clipping: 3 %" in err
    assert "--redo 2.3" in err
    assert not (here / "a.flac").exists()
    _, err = run(*arguments, "--on-error", "skip", "--timings", "a.json", code=4)
    assert "1 of 6 segments failed, silence is in their place: 2.3: clipping: 3 %" in err
    (facts,) = json.loads((here / "a.json").read_text())["files"]
    assert [each["name"] for each in facts["segments"] if each["error"]] == ["2.3"]
    assert soundfile.info("a.flac").duration == pytest.approx(facts["seconds"], abs=0.001)


def test_words_are_timed(run, here):
    pytest.importorskip("pocketsphinx", reason="needs the extra [align]")
    run(
        "narrate", "book.md", "-o", "a.flac", "-q", "--cue", "sentence", "--align", "--timings", "a.json", "--seed", "1"
    )
    (facts,) = json.loads((here / "a.json").read_text())["files"]
    timed = [each for each in facts["segments"] if each["words"]]
    assert timed
    for segment in timed:
        assert [word["word"] for word in segment["words"]] == segment["spoken"].split()
        times = [time for word in segment["words"] for time in (word["start"], word["end"]) if time is not None]
        assert times == sorted(times)
        assert segment["start"] <= times[0]
        assert times[-1] <= segment["end"] + 0.02
