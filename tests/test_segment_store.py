"""The folder of segments: exact samples, files that are damaged or torn, kills, locks, full disks, removed folders."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import ROOT

from qwen3tts_cli.common import atomic_write
from qwen3tts_cli.errors import InputError, OutputError, UsageError
from qwen3tts_cli.narration.segment_store import SegmentStore

DIGEST = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


@pytest.fixture
def store(tmp_path):
    with SegmentStore.open(tmp_path / "book.wav.segments", keep=False) as opened:
        yield opened


def noise(count: int = 3000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def child(code: str, *arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


def test_samples_come_back_as_their_24_bits(store):
    step = 2.0**-23
    samples = np.array([0, step, 0.5 * step, 1.5 * step, -0.5 * step, -2.5 * step, 1, 1.5, -1, -2, 0.3], np.float32)
    store.write(DIGEST, samples)
    want = np.array([0, 1, 0, 2, 0, -2, 2**23 - 1, 2**23 - 1, -(2**23), -(2**23), round(float(samples[-1]) * 2**23)])
    got = store.read(DIGEST)
    assert got.dtype == np.float32
    assert (got.astype(np.float64) == want / 2**23).all()
    store.write(OTHER, got)
    assert (store.read(OTHER) == got).all()
    info = soundfile.info(str(store.path(DIGEST)))
    assert (info.format, info.subtype, info.channels, info.samplerate) == ("FLAC", "PCM_24", 1, 24000)


@pytest.mark.parametrize(
    ("samples", "message"),
    [([], "no samples"), ([0.0, np.nan], "not finite"), ([np.inf], "not finite")],
)
def test_samples_that_no_file_can_hold_are_refused(store, samples, message):
    with pytest.raises(InputError, match=message):
        store.write(DIGEST, np.array(samples, np.float32))
    assert store.read(DIGEST) is None


@pytest.mark.parametrize("digest", ["", "run", "../" + "a" * 20, "A" * 20, "a" * 200, "a" * 20 + "\n"])
def test_names_that_are_no_digest_are_refused(store, digest):
    for call in (store.has, store.read, lambda name: store.write(name, noise(10))):
        with pytest.raises(UsageError, match="digest"):
            call(digest)


def test_has_reads_a_file_whole_once_a_run(store, monkeypatch):
    assert not store.has(DIGEST)
    store.write(DIGEST, noise())
    with SegmentStore.open(store.folder.parent / "other", keep=False) as other:
        shutil.copy(store.path(DIGEST), other.folder)
        reads = []
        monkeypatch.setattr(
            SegmentStore,
            "read",
            lambda self, digest, read=SegmentStore.read: reads.append(digest) or read(self, digest),
        )
        assert other.has(DIGEST)
        assert other.has(DIGEST)
        assert reads == [DIGEST]
        other.path(DIGEST).unlink()
        assert not other.has(DIGEST)


def test_a_file_cut_at_any_place_is_removed(store):
    store.write(DIGEST, noise())
    data = store.path(DIGEST).read_bytes()
    for size in range(0, len(data), 97):
        store.path(DIGEST).write_bytes(data[:size])
        assert not store.has(DIGEST), size
        assert not store.path(DIGEST).exists()
    store.path(DIGEST).write_bytes(data)
    assert store.has(DIGEST)


def test_a_file_with_a_flipped_bit_gives_the_same_samples_or_none(store):
    store.write(DIGEST, noise())
    data = store.path(DIGEST).read_bytes()
    want, lost = store.read(DIGEST), 0
    for place in [*range(60), *range(60, len(data), 131)]:
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        store.path(DIGEST).write_bytes(flipped)
        got = store.read(DIGEST)
        lost += got is None
        assert got is None or (got == want).all(), place
    assert lost > 60


def test_samples_that_are_not_those_of_the_md5_are_removed(store):
    """libsndfile sees no fault here."""
    store.write(DIGEST, noise(9000))
    store.write(OTHER, noise(9000, seed=1))
    first, second = (bytearray(store.path(each).read_bytes()) for each in (DIGEST, OTHER))
    first[26:42] = second[26:42]
    store.path(DIGEST).write_bytes(first)
    assert store.read(DIGEST) is None


@pytest.mark.parametrize(
    "options",
    [{"samplerate": 44100}, {"subtype": "PCM_16"}, {"format": "WAV"}, {"data": np.zeros((50, 2), np.float32)}],
    ids=str,
)
def test_audio_of_another_kind_is_no_segment(store, options):
    options = {"data": noise(50), "samplerate": 24000, "format": "FLAC", "subtype": "PCM_24", **options}
    file = io.BytesIO()
    soundfile.write(file, options.pop("data"), options.pop("samplerate"), **options)
    store.path(DIGEST).write_bytes(file.getvalue())
    assert not store.has(DIGEST)


def test_run_facts(store):
    assert store.read_run() is None
    run = {"seed": 2**64 - 1, "redo": {"3.17": 1}, "title": "Überfahrt"}
    store.write_run({"seed": 1})
    store.write_run(run)
    assert store.read_run() == run


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is damaged"),
        (b'{"format": "qwen3tts segm', "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[" * 100000, "is damaged"),
        (b"[]", "is damaged"),
        (b'{"version": 1}', "is damaged"),
        (b'{"format": "qwen3tts segments", "version": 1, "run": []}', "is damaged"),
        (b'{"format": "qwen3tts segments", "version": 2, "run": {}}', "has version '2', expected 1"),
    ],
)
def test_run_facts_that_cannot_be_read_name_the_file_to_delete(store, data, message):
    (store.folder / "run.json").write_bytes(data)
    with pytest.raises(UsageError, match=message) as caught:
        store.read_run()
    assert str(caught.value).startswith(f"{store.folder / 'run.json'}: ")
    assert "delete it" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_remove_all_leaves_the_files_of_others(tmp_path):
    folder = tmp_path / "segments"
    for others in ((), ("notes.txt", "song.flac")):
        with SegmentStore.open(folder, keep=False) as store:
            store.write(DIGEST, noise())
            store.write_run({})
            store.log_path.touch()
            for name in others:
                (folder / name).touch()
            store.remove_all()
        assert folder.exists() == bool(others)
    assert names(folder) == set(others)


def test_keep(tmp_path):
    with SegmentStore.open(tmp_path / "segments", keep=True) as store:
        store.write(DIGEST, noise())
        store.remove_all()
        assert store.has(DIGEST)


def test_stale_temporary_files_are_removed_at_the_next_opening(tmp_path):
    folder = tmp_path / "segments"
    folder.mkdir()
    for name in (".qwen3tts-0123456789abcdef.part", ".other.part", "mine.part"):
        (folder / name).touch()
    with SegmentStore.open(folder, keep=False):
        assert names(folder) == {".other.part", "mine.part", "run.lock"}


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from qwen3tts_cli.common import atomic_write
    from qwen3tts_cli.narration.segment_store import SegmentStore
    where, folder = sys.argv[1], Path(sys.argv[2])
    store = SegmentStore.open(folder, keep=False)
    samples = np.linspace(-0.5, 0.5, 3000, dtype=np.float32)
    store.write("a" * 64, samples)
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)
    if where == "data":
        atomic_write._sync = die
    elif where == "rename":
        os.replace = die
    else:
        atomic_write.sync_folder = die
    store.write("b" * 64, samples)
"""


@pytest.mark.parametrize(("where", "done"), [("data", False), ("rename", False), ("folder", True)])
def test_a_kill_while_a_segment_is_written_loses_at_most_that_segment(tmp_path, where, done):
    folder = tmp_path / "segments"
    with child(KILLED, where, folder) as process:
        assert process.wait(60) == -signal.SIGKILL
    assert any(name.endswith(".part") for name in names(folder)) != done
    with SegmentStore.open(folder, keep=False) as store:
        assert store.has("a" * 64)
        assert store.has("b" * 64) == done
        assert not any(name.endswith(".part") for name in names(folder))


HOLDER = """
    import sys, time
    from pathlib import Path
    from qwen3tts_cli.narration.segment_store import SegmentStore
    store = SegmentStore.open(Path(sys.argv[1]), keep=False)
    print("open", flush=True)
    time.sleep(60)
"""


def test_the_second_process_stops_until_the_first_is_gone(tmp_path):
    folder = tmp_path / "segments"
    with child(HOLDER, folder) as process:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(UsageError, match=re.escape(f"{folder}: another process (pid {process.pid}) uses")):
            SegmentStore.open(folder, keep=False)
        process.kill()
        process.wait(60)
    SegmentStore.open(folder, keep=False).close()


def test_the_lock_also_holds_within_a_process(store):
    with pytest.raises(UsageError, match=f"pid {os.getpid()}"):
        SegmentStore.open(store.folder, keep=False)


def test_a_removed_folder_is_named(store):
    store.write(DIGEST, noise())
    shutil.rmtree(store.folder)
    for call in (
        lambda: store.write(OTHER, noise()),
        lambda: store.read(DIGEST),
        lambda: store.has(DIGEST),
        lambda: store.write_run({}),
        store.read_run,
        store.remove_all,
    ):
        with pytest.raises(OutputError, match=re.escape(str(store.folder)) + ".*removed or replaced"):
            call()
    assert not store.folder.exists()


def test_a_folder_that_was_made_anew_is_not_written(store):
    shutil.rmtree(store.folder)
    with SegmentStore.open(store.folder, keep=False) as other:
        with pytest.raises(OutputError, match="removed or replaced"):
            store.write(DIGEST, noise())
        assert not other.has(DIGEST)


def test_a_file_in_place_of_the_folder_and_a_missing_parent(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not a folder"):
        SegmentStore.open(tmp_path / "file", keep=False)
    with pytest.raises(OutputError, match="No such file"):
        SegmentStore.open(tmp_path / "none" / "segments", keep=False)


@pytest.mark.parametrize("failing", ["_sync", "replace"])
def test_no_space_keeps_what_was_complete(store, monkeypatch, failing):
    store.write(DIGEST, noise())
    store.write_run({"seed": 3})

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(*((atomic_write, "_sync") if failing == "_sync" else (os, "replace")), full)
        with pytest.raises(OutputError, match=f"{OTHER}.flac: no space left on the disk"):
            store.write(OTHER, noise())
        with pytest.raises(OutputError, match=r"run\.json: no space left on the disk"):
            store.write_run({"seed": 4})
    assert names(store.folder) == {f"{DIGEST}.flac", "run.json", "run.lock"}
    assert store.read_run() == {"seed": 3}
    store.write(OTHER, noise())
    assert store.has(OTHER)


@contextlib.contextmanager
def small_disk(folder: Path, size: str):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_becomes_full(tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, "300k"):
        with SegmentStore.open(disk / "segments", keep=False) as store:
            written = []

            def fill() -> None:
                for index in range(100):
                    store.write(f"{index:064x}", noise(10000, seed=index))
                    written.append(f"{index:064x}")

            with pytest.raises(OutputError, match="no space left on the disk"):
                fill()
            assert len(written) > 3
        with SegmentStore.open(disk / "segments", keep=False) as store:
            assert names(store.folder) == {*(f"{digest}.flac" for digest in written), "run.lock"}
            assert all(store.has(digest) for digest in written)
            store.remove_all()


def test_threads_write_and_read_at_the_same_time(store):
    from concurrent.futures import ThreadPoolExecutor

    def go(index: int) -> bool:
        digest = f"{index:064x}"
        store.write(digest, noise(500, seed=index))
        again = store.read(digest)
        return again is not None and np.abs(again - noise(500, seed=index)).max() < 2**-23

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(go, range(40)))


def test_run_json_is_readable(store):
    store.write_run({"seed": 1})
    assert json.loads((store.folder / "run.json").read_text(encoding="utf-8"))["run"] == {"seed": 1}
