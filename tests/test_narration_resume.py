"""narrate: what was spoken is kept: kills, damage, changed texts, new seeds; and the same bytes in the end."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_narration_voices import segments_of
from test_segment_store import small_disk

from qwen3tts_cli import OutputError, Synthesizer, UsageError, narrate
from qwen3tts_cli.narration.segment_store import SegmentStore

WORDS = ("river", "stone", "window", "garden", "letter", "candle", "harbour", "forest", "bridge")
FORMATS = ("wav", "flac", "opus", "mp3")


def sentence(number: int) -> str:
    rng = random.Random(number)
    return f"The {rng.choice(WORDS)} was {number} steps from the {rng.choice(WORDS)}."


def paragraphs(texts: list[str], count: int) -> str:
    """The texts in paragraphs of so many."""
    return "\n\n".join(" ".join(texts[i : i + count]) for i in range(0, len(texts), count))


TEXT = paragraphs([f"The {word} waits." for word in WORDS], 3)
COUNT = len(WORDS)
FOUR = "It was late. It had rained. Nobody spoke. They left."


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open(threads=1) as synthesizer:
        yield synthesizer


class Run:
    """What `narrate` made of a text, and how many segments it spoke."""

    def __init__(self, voice, output: Path, text: str = FOUR, **options) -> None:
        seen = []
        options = {"seed": 1, "cue": "sentence", "keep": True, **options}
        self.result = narrate(text.encode(), output, model=voice, progress=seen.append, **options)
        self.spoken = seen[-1].segments - seen[0].segments
        self.bytes = output.read_bytes()


def start(text: Path, output: Path, *options: str, cue: str = "sentence"):
    command = [sys.executable, "-m", "qwen3tts_cli", "narrate", str(text), "-o", str(output), "--cue", cue]
    return subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def segments_in(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.flac")}


def kill_after(count: int, text: Path, output: Path, *options: str, cue: str = "sentence") -> bool:
    """Kill a narration with SIGKILL when `count` segments are there. Returns whether it was still running."""
    folder = output.with_name(f"{output.name}.segments")
    with start(text, output, *options, cue=cue) as process:
        wait_for(lambda: len(segments_in(folder)) >= count or process.poll() is not None, 3600)
        process.kill()
        process.communicate()
        return process.returncode == -signal.SIGKILL


# ---------------------------------------------------------------- kills
def test_killed_and_resumed_it_is_the_same_bytes_in_all_formats(voice, tmp_path):
    text = tmp_path / "a.txt"
    text.write_text(TEXT, encoding="utf-8")
    (tmp_path / "whole").mkdir()
    whole, killed = tmp_path / "whole" / "a.wav", tmp_path / "a.wav"
    Run(voice, whole, TEXT, batch=1)
    rng = random.Random(os.urandom(8))
    kills = sum(
        kill_after(count, text, killed, "--seed", "1", "--batch", "3", "--threads", f"{index % 2 + 1}")
        for index, count in enumerate(sorted(rng.sample(range(1, COUNT - 1), 3)))
    )
    assert kills
    assert not killed.exists()
    before = segments_in(tmp_path / "a.wav.segments")
    run = Run(voice, killed, TEXT, batch=4)
    assert run.spoken == COUNT - len(before)
    for extension in FORMATS:
        made = []
        for path in (whole, killed):
            target = path.with_suffix(f".{extension}")
            if target != path:
                shutil.copytree(path.with_name("a.wav.segments"), target.with_name(f"{target.name}.segments"))
            made.append(Run(voice, target, TEXT))
        assert [run.spoken for run in made] == [0, 0]
        assert made[0].bytes == made[1].bytes, extension


def test_ctrl_c_says_how_to_go_on(voice, tmp_path):
    text, output = tmp_path / "a.txt", tmp_path / "a.flac"
    text.write_text(TEXT, encoding="utf-8")
    folder = tmp_path / "a.flac.segments"
    with start(text, output, "--batch", "1") as process:
        wait_for(lambda: len(segments_in(folder)) >= 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"stopped; the same command goes on from {folder}" in err
    assert not output.exists()
    seed = json.loads((folder / "run.json").read_text())["run"]["seed"]  # it was drawn
    there = len(segments_in(folder))
    run = Run(voice, output, TEXT, seed=None)
    assert (run.spoken, run.result.seed) == (COUNT - there, seed)


def test_the_second_process_stops(voice, tmp_path):
    output = tmp_path / "a.flac"
    with SegmentStore.open(tmp_path / "a.flac.segments", keep=True):
        with pytest.raises(UsageError, match=rf"another process \(pid {os.getpid()}\) uses these segments"):
            Run(voice, output)
        assert not output.exists()
    Run(voice, output)


# ---------------------------------------------------------------- damage
def test_a_lost_or_torn_log_and_a_truncated_segment(voice, tmp_path):
    output, folder = tmp_path / "a.wav", tmp_path / "a.wav.segments"
    want = Run(voice, output)
    (folder / "log.jsonl").unlink()
    assert Run(voice, output).bytes == want.bytes
    (folder / "log.jsonl").write_bytes(b'{"crc":"00000000","record":{"segment":1}}\n{"crc":"12')
    again = Run(voice, output)
    assert (again.bytes, again.spoken) == (want.bytes, 0)
    path = sorted(folder.glob("*.flac"))[1]
    path.write_bytes(path.read_bytes()[:-1000])
    again = Run(voice, output)
    assert (again.bytes, again.spoken) == (want.bytes, 1)


def test_a_folder_of_another_model_or_version(voice, tmp_path):
    output, folder = tmp_path / "a.wav", tmp_path / "a.wav.segments"
    want = Run(voice, output, seed=None)
    run = json.loads((folder / "run.json").read_text())
    for path in folder.glob("*.flac"):  # as another model would have named them
        path.rename(folder / f"{path.stem[::-1]}.flac")
    again = Run(voice, output, seed=None, keep=False)
    assert (again.bytes, again.spoken) == (want.bytes, 4)
    assert not folder.exists()
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({**run, "version": 2}))
    with pytest.raises(UsageError, match=r"run\.json: has version '2', expected 1; delete it to begin anew"):
        Run(voice, output)
    (folder / "run.json").write_text(json.dumps({**run, "run": {"seed": "x", "redone": [1], "redoing": 3}}))
    Run(voice, output, seed=None)


def test_a_full_disk(voice, tmp_path):
    want = Run(voice, tmp_path / "a.wav", TEXT)
    disk = tmp_path / "disk"
    with small_disk(disk, "300k"):
        with pytest.raises(OutputError, match="no space left on the disk"):
            Run(voice, disk / "a.wav", TEXT)
        assert 0 < len(segments_in(disk / "a.wav.segments")) < COUNT
        there = len(segments_in(disk / "a.wav.segments"))
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        again = Run(voice, disk / "a.wav", TEXT)
        assert (again.bytes, again.spoken) == (want.bytes, COUNT - there)


@pytest.mark.parametrize("name", ["book", "a.wav"])
def test_the_output_folder_is_removed_half_way(voice, tmp_path, name):
    folder = tmp_path / "out"
    folder.mkdir()

    def remove(progress) -> None:
        if progress.segments == 2:
            shutil.rmtree(folder)

    output = f"{folder}/" if name == "book" else folder / name
    with pytest.raises(OutputError, match="out"):
        narrate(FOUR.encode(), output, model=voice, seed=1, cue="sentence", batch=1, progress=remove)
    assert not folder.exists()


def test_the_output_folder_is_removed_before_the_files_are_written(voice, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()

    def remove(progress) -> None:
        if progress.stage == "writing":
            shutil.rmtree(folder)

    with pytest.raises(OutputError, match="out"):
        narrate(FOUR.encode(), folder / "a.opus", model=voice, seed=1, progress=remove)
    assert not folder.exists()


# ---------------------------------------------------------------- changed texts and new seeds
def test_a_changed_or_inserted_sentence(voice, tmp_path):
    (tmp_path / "other").mkdir()
    output, other = tmp_path / "a.wav", tmp_path / "other" / "a.wav"
    text = f"{FOUR}\n\nYes. No."
    Run(voice, output, text)
    changed = text.replace("had rained", "has rained")
    run = Run(voice, output, changed)
    assert run.spoken == 1
    assert run.bytes == Run(voice, other, changed).bytes
    run = Run(voice, output, text.replace("Nobody", "Wait. Nobody"))
    assert run.spoken == 1


def test_an_inserted_sentence_where_segments_have_several(voice):
    """What is behind it in its paragraph is spoken again; what is before it, and other paragraphs, are not."""
    text = paragraphs([sentence(i) for i in range(24)], 8)
    before, after = (
        [each.digest for each in segments_of(voice, each)]
        for each in (text, text.replace(sentence(12), f"Wait. {sentence(12)}"))
    )
    new = [index for index, digest in enumerate(after) if digest not in before]
    assert new == list(range(new[0], new[-1] + 1))
    behind = len(after) - new[-1] - 1
    assert new[0] > len(before) / 3 < behind
    assert after[-behind:] == before[-behind:]


def test_redo_is_remembered_and_changes_one_segment(voice, tmp_path):
    output, timings = tmp_path / "a.wav", tmp_path / "a.json"
    text = "Good night.\n\nIt was late. The rain had stopped.\n\nGood night."  # the first and last are one file
    found = []

    def narrated(**options) -> Run:
        run = Run(voice, output, text, timings=timings, **options)
        samples, rate = soundfile.read(output)
        times = json.loads(timings.read_text())["files"][0]["segments"]
        found.append(
            [np.trim_zeros(samples[round(t["start"] * rate) : round(t["end"] * rate)]) / t["gain"] for t in times]
        )
        return run

    def changed() -> list[int]:
        return [
            i
            for i, (a, b) in enumerate(zip(*found[-2:], strict=True))
            if len(a) != len(b) or np.abs(a - b).max() > 0.01
        ]

    first = narrated()
    assert (first.spoken, len(segments_in(tmp_path / "a.wav.segments"))) == (4, 3)
    assert narrated(redo="1.4").spoken == 1
    assert changed() == [3]
    assert narrated().spoken == 0
    assert changed() == []
    assert narrated(redo=("1.2", "1.4")).spoken == 2
    assert changed() == [1, 3]
    with pytest.raises(UsageError, match=r"redo: there is no segment 1\.5"):
        narrated(redo="1.5")


def test_redo_without_an_earlier_run(voice, tmp_path):
    """Without a seed nothing would be as it was, so it is refused; with one, the others are as they were."""
    (tmp_path / "other").mkdir()
    output, other, warned = tmp_path / "a.wav", tmp_path / "other" / "a.wav", []
    first = Run(voice, output, keep=False)
    with pytest.raises(UsageError, match=r"a\.wav\.segments has no segments of an earlier run, .* --keep first"):
        Run(voice, output, seed=None, redo="1.2")
    assert output.read_bytes() == first.bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "other"]
    with pytest.raises(UsageError, match="no segments of an earlier run"):
        narrate(FOUR.encode(), f"{tmp_path}/book/", model=voice, redo="1.2")
    assert not (tmp_path / "book").exists()
    again = Run(voice, output, redo="1.2", on_warning=warned.append)
    assert again.spoken == 4
    assert [line.endswith("so all of them are spoken") for line in warned] == [True]
    Run(voice, other)
    assert Run(voice, other, redo="1.2").bytes == again.bytes != first.bytes


def test_an_interrupted_redo_goes_on_with_the_same_seed(voice, tmp_path):
    def interrupt(progress) -> None:
        if progress.spoken:
            raise KeyboardInterrupt

    (tmp_path / "other").mkdir()
    whole, output = tmp_path / "other" / "a.wav", tmp_path / "a.wav"
    for path in (whole, output):
        Run(voice, path)
    want = Run(voice, whole, redo="1.2")
    with pytest.raises(KeyboardInterrupt):
        narrate(FOUR.encode(), output, model=voice, seed=1, cue="sentence", redo=["1.2"], progress=interrupt)
    assert Run(voice, output, redo="1.2").bytes == want.bytes
    assert Run(voice, output, redo="1.2").bytes != want.bytes
