"""`batch`: rows into files and a result; failures, shards, kills, locks; bytes depend on the row and seed alone."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import soundfile
from batch_runs import SEED, Run, read_result
from helpers import ROOT

import qwen3tts_cli
from qwen3tts_cli import OutputError, Synthesizer, UsageError
from qwen3tts_cli.hearing import word_errors
from qwen3tts_cli.narration import run_record, segment_store, speaking
from qwen3tts_cli.narration.run_record import recorded_seed, shared_seed
from qwen3tts_cli.narration.segment_store import SegmentStore

KEYS = ("path", "text", "voice", "language", "seed", "seconds", "sha256", "rtf", "attempts", "error")
ROWS = [
    {"text": "Yes.", "score": 3, "path": "mine", "rtf": "mine"},
    {"text": "It rains.\n\nWe stay.", "out": "a/b.flac"},
    {"text": "No.", "voice": "nobody"},
    {"text": "Yes.", "seed": 77, "out": "again"},
    {"text": "你好。", "tags": ["x"]},
    {"text": "Yes."},
    {"text": "... !"},
]
FINE = [0, 1, 3, 5]


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open(threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def base(tmp_path_factory, voice):
    """ROWS, spoken once."""
    return Run(tmp_path_factory.mktemp("base"), ROWS, voice)


@pytest.fixture
def spoken(monkeypatch):
    """The texts that are handed to the scheduler from now on."""
    texts, submit = [], speaking.Speaking._submit

    def note(self, segment, *more):
        texts.append(segment.text)
        submit(self, segment, *more)

    monkeypatch.setattr(speaking.Speaking, "_submit", note)
    return texts


# -------------------------------------------------------------------- the result
def test_the_result_says_what_was_made(base):
    assert (base.result.rows, base.result.failed, base.result.seed) == (7, 3, SEED)
    assert base.result.manifest == base.folder / "manifest.jsonl"
    assert [row["path"] for row in base.rows] == ["0.wav", "a/b.flac", "2.wav", "again.wav", "4.wav", "5.wav", "6.wav"]
    for row, given in zip(base.rows, ROWS, strict=True):
        assert tuple(row)[: len(KEYS)] == KEYS
        assert row["text"] == given["text"]
        assert row["seed"] == given.get("seed", SEED)
        own = {"text", "out", "seed", *KEYS}
        assert {name: row[name] for name in row if name not in own} == {k: v for k, v in given.items() if k not in own}
    for row in (base.rows[index] for index in FINE):
        assert (row["voice"], row["language"], row["error"], row["attempts"] >= 1) == ("slt", "english", None, True)
        assert 0 < row["rtf"] < 1000
        assert row["sha256"] == hashlib.sha256(base.bytes[row["path"]]).hexdigest()
        info = soundfile.info(str(base.folder / row["path"]))
        assert row["seconds"] == info.frames / info.samplerate > 0.3
    assert base.result.seconds == pytest.approx(sum(row["seconds"] or 0 for row in base.rows))


def test_rows_that_fail_have_a_reason_and_no_file(base):
    failed = {index: row["error"] for index, row in enumerate(base.rows) if index not in FINE}
    assert failed[2] == "unknown voice 'nobody'; known: slt"
    assert "Chinese text" in failed[4]
    assert failed[6].startswith("nothing to speak")
    for index in failed:
        assert not (base.folder / base.rows[index]["path"]).exists()
        assert [base.rows[index][name] for name in ("seconds", "sha256", "rtf", "attempts")] == [None] * 4
    assert (base.rows[2]["voice"], base.rows[4]["voice"]) == ("nobody", None)


def test_bytes_depend_on_row_and_seed_alone(base, voice, tmp_path):
    assert base.bytes["0.wav"] == base.bytes["5.wav"] != base.bytes["again.wav"]
    rows = [
        {"text": "Another one.", "out": "new"},
        *({**ROWS[index], "out": base.rows[index]["path"]} for index in FINE[::-1]),
    ]
    with Synthesizer.open(threads=2) as other:
        found = Run(tmp_path, rows, other, batch=1)
    assert {name: found.bytes[name] for name in base.bytes} == base.bytes
    assert not (found.folder / ".segments").exists()
    assert Run(tmp_path / "seed", ROWS[:1], voice, seed=6).bytes["0.wav"] != base.bytes["0.wav"]


def test_shards_together_are_the_whole(base, voice, tmp_path):
    results, runs = {}, []
    Run(tmp_path, ROWS[:1], voice)  # writes the folder; what is there is replaced
    Path(tmp_path, "m.jsonl").write_text(base.path.read_text(encoding="utf-8"), encoding="utf-8")

    def run(part):
        options = {"model": voice, "seed": SEED, "shard": f"{part}/3"}
        results[part] = qwen3tts_cli.batch(tmp_path / "m.jsonl", tmp_path / "out", **options)

    runs = [threading.Thread(target=run, args=(part,)) for part in range(3)]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    assert [results[part].manifest.name for part in range(3)] == [f"manifest.{part}-of-3.jsonl" for part in range(3)]
    rows = [row for part in range(3) for row in read_result(results[part].manifest)]
    order = [index for part in range(3) for index in range(part, len(ROWS), 3)]
    assert [{**row, "rtf": None} for row in rows] == [{**base.rows[index], "rtf": None} for index in order]
    assert {name: (tmp_path / "out" / name).read_bytes() for name in base.bytes} == base.bytes
    one = qwen3tts_cli.batch(tmp_path / "m.jsonl", tmp_path / "out", model=voice, seed=SEED, shard="8/9")
    assert (one.rows, one.failed, one.manifest.read_bytes()) == (0, 0, b"")


def test_shards_without_a_seed_share_the_one_that_is_drawn(voice, tmp_path):
    """At the same time, also in other processes; later, when the others have ended; and the whole, later still."""
    rows = [{"text": "Yes."}, {"text": "No.", "seed": 3}, {"text": "Yes."}, {"text": "Yes."}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = {}

    def run(shard, **options):
        made = qwen3tts_cli.batch(tmp_path / "m.jsonl", tmp_path / "out", model=voice, shard=shard, **options)
        results[shard] = made.seed, [row["seed"] for row in read_result(made.manifest)]

    runs = [threading.Thread(target=run, args=(shard,)) for shard in ("0/3", "1/3")]
    with command(tmp_path / "m.jsonl", "-o", tmp_path / "out", "--shard", "2/3", "--threads", "1") as process:
        for each in runs:
            each.start()
        for each in runs:
            each.join()
    assert process.returncode == 0
    results["2/3"] = None, [row["seed"] for row in read_result(tmp_path / "out" / "manifest.2-of-3.jsonl")]
    seed = results["0/3"][0]
    run("1/2")
    run(None)
    drawn = {"0/3": [seed] * 2, "1/3": [3], "2/3": [seed], "1/2": [3, seed], None: [seed, 3, seed, seed]}
    assert {shard: seeds for shard, (_, seeds) in results.items()} == drawn
    assert {made for made, _ in results.values()} == {seed, None}
    run("0/2", seed=9)
    assert results["0/2"] == (9, [9, 9])  # a given seed is not recorded
    assert (tmp_path / "out" / ".segments.seed").read_text() == f"{seed}\n"


def test_the_seed_of_shards_is_recorded_once(tmp_path, monkeypatch):
    """Of many that draw one at the same time, on a file system with links and on one without; or it is an error."""
    for links in (True, False):
        (folder := tmp_path / f"{links}").mkdir()
        if not links:
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
        with ThreadPoolExecutor(16) as pool:
            (seed,) = set(pool.map(shared_seed, [folder] * 64))
        assert (shared_seed(folder), recorded_seed(folder)) == (seed, seed)
        assert [path.name for path in folder.iterdir()] == [".segments.seed"]
    monkeypatch.setattr(run_record, "_RESERVED_SECONDS", 0.1)
    for damaged in ("", "x\n", "12", f"{1 << 64}\n", "-1\n"):
        (folder / ".segments.seed").write_text(damaged)
        with pytest.raises(UsageError, match="damaged, expected a seed; delete it"):
            shared_seed(folder)
    (folder / ".segments.seed").unlink()
    assert recorded_seed(folder) is None
    assert shared_seed(folder) != seed


DRAWN = """
import os, signal, sys
from pathlib import Path
from qwen3tts_cli.common import atomic_write
from qwen3tts_cli.narration.run_record import shared_seed

setattr(os if sys.argv[1] == "link" else atomic_write, sys.argv[1], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
shared_seed(Path(sys.argv[2]))
"""


@pytest.mark.parametrize("where", ["link", "sync_folder"])
def test_a_kill_while_the_seed_is_recorded(tmp_path, where):
    """Before it has its name nothing is recorded; afterwards it stays."""
    run = subprocess.run([sys.executable, "-c", DRAWN, where, str(tmp_path)], cwd=ROOT)
    assert run.returncode == -signal.SIGKILL
    seed = recorded_seed(tmp_path)
    assert (seed is None) == (where == "link")
    assert shared_seed(tmp_path) == (recorded_seed(tmp_path) if seed is None else seed)


def test_the_same_command_speaks_what_has_failed(base, voice, tmp_path, monkeypatch, spoken):
    """A segment that fails its check fails its row alone; rows that are done are not spoken again."""
    with monkeypatch.context() as patch:
        patch.setattr(speaking, "check_segment", lambda pcm, text: "clipping: all of it" if "stay" in text else None)
        first = Run(tmp_path, ROWS[:2], voice, retries=1)
    assert [row["error"] for row in first.rows] == [None, "clipping: all of it"]
    assert first.rows[1]["attempts"] == 3  # one for the first paragraph, two for the second
    assert spoken == ["Yes.", "It rains.", "We stay.", "We stay."]
    assert not (first.folder / "a/b.flac").exists()
    spoken.clear()
    second = Run(tmp_path, ROWS[:2], voice, retries=1)
    assert spoken == ["We stay."]
    assert second.bytes == {name: base.bytes[name] for name in ("0.wav", "a/b.flac")}
    assert [(row["attempts"], row["rtf"]) for row in second.rows] == [(1, None), (2, None)]
    assert not (second.folder / ".segments").exists()


def test_segments_are_heard_also_those_of_a_run_without_a_verifier(voice, tmp_path, monkeypatch, spoken):
    class Ear:
        """Hears one text wrongly, the first time."""

        def __init__(self):
            self.heard = []

        def check(self, samples, text, language):
            self.heard.append(text)
            return 0.5 if text == "It rains." and self.heard.count(text) == 1 else 0.0

    ear = Ear()
    monkeypatch.setattr(word_errors.Verifier, "open", lambda model: ear)
    first = Run(tmp_path, ROWS[:2], voice, keep=True)
    spoken.clear()
    second = Run(tmp_path, ROWS[:2], voice, keep=True, verify="base")
    assert sorted(ear.heard) == ["It rains.", "It rains.", "We stay.", "Yes."]
    assert spoken == ["It rains."]
    assert second.bytes == first.bytes  # the seed of its first attempt: only this ear heard a fault
    Run(tmp_path, ROWS[:2], voice, keep=True, verify="base")
    assert len(ear.heard) == 4  # the log has it


# -------------------------------------------------------------------- kills, locks, full disks
def command(*arguments, **how):
    return subprocess.Popen(
        [sys.executable, "-m", "qwen3tts_cli", "batch", *map(str, arguments)], cwd=ROOT, stderr=subprocess.PIPE, **how
    )


# Arguments: manifest, output, and which call of which function of the store, or of write_tagged, is the last one.
KILLED = """
import os, signal, sys
import qwen3tts_cli
from qwen3tts_cli.narration import batch_run
from qwen3tts_cli.narration.segment_store import SegmentStore

manifest, output, name, count = sys.argv[1:]
holder = batch_run if name == "write_tagged" else SegmentStore
real, left = getattr(holder, name), [int(count)]

def call(*arguments, **more):
    real(*arguments, **more)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

setattr(holder, name, call)
qwen3tts_cli.batch(manifest, output, threads=1, batch=1)
"""


@pytest.mark.parametrize(
    ("name", "count", "there"), [("write_run", 1, 0), ("write", 3, 3), ("write_tagged", 2, 5), ("_unlink", 2, 3)]
)
def test_a_killed_run_goes_on(voice, tmp_path, spoken, name, count, there):
    """The seed that was drawn stays, what was spoken is not spoken again, and the bytes are those of a whole run."""
    rows = [{"text": f"{text}.", "out": f"{text}.opus"} for text in ("One", "Two", "Three", "Four", "Five")]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = [tmp_path / "m.jsonl", tmp_path / "out", name, str(count)]
    assert subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=ROOT).returncode == -signal.SIGKILL
    segments = tmp_path / "out" / ".segments"
    assert len(list(segments.glob("*.flac"))) == there
    assert len(list((tmp_path / "out").glob("*.opus"))) == {"write_tagged": 2, "_unlink": 5}.get(name, 0)
    seed = json.loads((segments / "run.json").read_text())["run"]["seed"]
    (segments / f".qwen3tts-{0:016x}.part").write_bytes(b"fLaC")
    resumed = Run(tmp_path, rows, voice, seed=None)
    assert resumed.result.seed == seed
    assert not segments.exists()
    assert len(spoken) == len(set(spoken)) == len(rows) - there
    assert [row["rtf"] is None for row in resumed.rows] == [row["text"] not in spoken for row in rows]
    assert all(row["attempts"] in (1, 2, 3, None) for row in resumed.rows)
    assert Run(tmp_path / "whole", rows, voice, seed=seed).bytes == resumed.bytes


@pytest.mark.soak
def test_a_run_that_is_killed_ten_times(voice, tmp_path):
    rows = [
        {"text": f"This is row {n}.\n\nIt has two parts.", "out": f"{n}.{'flac' if n % 2 else 'mp3'}"}
        for n in range(60)
    ]
    want = Run(tmp_path / "whole", rows, voice).bytes
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    draw, kills = random.Random(1), 0
    arguments = [tmp_path / "m.jsonl", "-o", tmp_path / "out", "--seed", SEED, "--threads", "1", "-q"]
    while kills < 10:
        with command(*arguments) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0.4, 2.0))
            process.kill()
        kills += 1
        if (tmp_path / "out" / "manifest.jsonl").exists():
            shutil.rmtree(tmp_path / "out")
    with command(*arguments) as process:
        assert process.wait() == 0
    assert {name: (tmp_path / "out" / name).read_bytes() for name in want} == want


def test_a_folder_serves_one_process(base, voice, tmp_path, run):
    (tmp_path / "out").mkdir()
    with SegmentStore.open(tmp_path / "out" / ".segments", keep=False):
        with pytest.raises(UsageError, match="another process"):
            Run(tmp_path, ROWS[:1], voice)
        run("batch", str(tmp_path / "m.jsonl"), "-o", str(tmp_path / "out"), code=2)
        shard = qwen3tts_cli.batch(tmp_path / "m.jsonl", tmp_path / "out", model=voice, seed=SEED, shard="0/1000")
    assert (tmp_path / "out" / "0.wav").read_bytes() == base.bytes["0.wav"]
    assert (shard.rows, shard.manifest.name) == (1, "manifest.0-of-1000.jsonl")


@pytest.mark.parametrize("where", ["segment", "file", "result"])
def test_a_full_disk_loses_nothing(base, voice, tmp_path, monkeypatch, where, spoken):
    real, end = os.replace, "x.flac" if where == "file" else "manifest.jsonl"

    def full(source, target, **_):
        if where == "segment" or target.endswith(end):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(*((segment_store, "write_whole") if where == "segment" else (os, "replace")), full)
        with pytest.raises(OutputError, match=r"[Nn]o space left"):
            Run(tmp_path, [{**ROWS[0], "out": "x.flac"}, ROWS[1]], voice)
    spoken.clear()
    done = Run(tmp_path, [{**ROWS[0], "out": "x.flac"}, ROWS[1]], voice)
    assert done.bytes["a/b.flac"] == base.bytes["a/b.flac"]
    assert bool(spoken) == (where == "segment")
    assert sorted(path.name for path in done.folder.rglob("*")) == ["a", "b.flac", "manifest.jsonl", "x.flac"]


@pytest.mark.parametrize("stage", ["speaking", "writing"])
def test_a_folder_that_is_removed_half_way(voice, tmp_path, stage):
    def remove(facts):
        if facts.segments and facts.stage == stage:
            shutil.rmtree(tmp_path / "out")

    with pytest.raises(OutputError, match="removed"):
        Run(tmp_path, ROWS[:2], voice, progress=remove)
    assert not (tmp_path / "out").exists()
