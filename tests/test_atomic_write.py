"""Atomic file writing: a file appears complete or not at all, whatever ends the writing."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from array import array
from pathlib import Path

import pytest

from qwen3tts_cli.common import atomic_write
from qwen3tts_cli.common.atomic_write import Replacement, write_whole


class _Terminated(BaseException):
    """The exception that a handler of SIGTERM raises."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_appears_when_it_is_committed():
    with Replacement("a") as file:
        file.write(b"1234")
        assert not os.path.exists("a")
    assert Path("a").read_bytes() == b"1234"
    write_whole("a", b"56")
    assert Path("a").read_bytes() == b"56"
    assert os.listdir() == ["a"]


def test_a_temporary_file_of_a_killed_process_is_replaced():
    Path("a.part").write_bytes(b"what was left of it")
    with Replacement("a", temporary="a.part") as file:
        file.write(b"12")
        assert Path("a.part").exists()
    assert Path("a").read_bytes() == b"12"
    assert os.listdir() == ["a"]


@pytest.mark.parametrize("step", ["open", "fsync", "replace", "link"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, _Terminated, OSError(28, "full")])
def test_any_exception_leaves_the_old_file(monkeypatch, step, error):
    Path("a").write_bytes(b"old")
    function = getattr(os, step)

    def interrupted(*arguments, **options):
        if step == "open" and arguments[0] == os.getcwd():
            return function(*arguments, **options)
        if step != "replace":  # the signal comes after the call and before its result is stored
            function(*arguments, **options)
        raise error

    monkeypatch.setattr(os, step, interrupted)
    new = step == "link"
    with pytest.raises(error if isinstance(error, type) else OSError):
        write_whole("b" if new else "a", b"new", new=new)
    assert not [name for name in os.listdir() if name.endswith(".part")]
    assert Path("a").read_bytes() == b"old"


def test_an_exception_in_the_block_leaves_the_old_file():
    Path("a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), Replacement("a") as file:  # noqa: PT012
        file.write(b"new")
        raise KeyboardInterrupt
    assert os.listdir() == ["a"]
    assert Path("a").read_bytes() == b"old"


def test_a_collected_replacement_is_discarded():
    replacement = Replacement("a")
    replacement.file.write(b"new")
    del replacement
    assert os.listdir() == []


def test_a_forked_child_leaves_the_file_of_its_parent():
    replacement = Replacement("a")
    replacement.file.write(b"1")
    replacement.file.flush()
    if (child := os.fork()) == 0:
        replacement.discard()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    replacement.commit()
    assert Path("a").read_bytes() == b"1"


def test_discard_after_commit_and_twice_does_nothing():
    replacement = Replacement("a")
    replacement.commit()
    replacement.discard()
    replacement.discard()
    assert os.listdir() == ["a"]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_one_of_several_creators_succeeds(monkeypatch, links):
    if not links:

        def refused(*_):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refused)
    ready, won, lost = threading.Barrier(8), [], []

    def create(data):
        replacement = Replacement("a", new=True)
        replacement.file.write(data)
        ready.wait(10)
        try:
            replacement.commit()
            won.append(data)
        except FileExistsError:
            lost.append(data)
        finally:
            replacement.discard()

    threads = [threading.Thread(target=create, args=(bytes([65 + n]) * 100,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(won), len(lost)) == (1, 7)
    assert Path("a").read_bytes() == won[0]
    assert os.listdir() == ["a"]


def test_no_empty_file_is_left_without_hard_links(monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OSError, match="supported"):
        write_whole("a", b"new", new=True)
    assert os.listdir() == []


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_a_new_file_replaces_nothing(kind):
    if kind == "file":
        Path("a").write_bytes(b"old")
    elif kind == "folder":
        os.mkdir("a")
    else:
        if kind == "link":
            Path("b").write_bytes(b"old")
        os.symlink("b", "a")
    there = sorted(os.listdir())
    with pytest.raises(FileExistsError):
        write_whole("a", b"new", new=True)
    assert sorted(os.listdir()) == there


def test_a_link_stays_and_its_target_is_replaced():
    os.mkdir("other")
    Path("other/b").write_bytes(b"old")
    os.symlink("other/b", "a")
    write_whole("a", b"new")
    assert os.path.islink("a")
    assert Path("other/b").read_bytes() == b"new"
    assert os.listdir("other") == ["b"]


def test_a_file_keeps_its_mode_and_a_new_file_follows_the_umask():
    write_whole("a", b"")
    os.chmod("a", 0o640)
    write_whole("a", b"new")
    assert stat.S_IMODE(os.stat("a").st_mode) == 0o640
    before = os.umask(0o027)
    try:
        write_whole("b", b"")
        write_whole("c", b"", mode=0o600)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(os.stat(name).st_mode) for name in "bc"] == [0o640, 0o600]


@pytest.mark.parametrize(
    ("path", "error"),
    [("no/a", FileNotFoundError), (".", IsADirectoryError), ("a" * 300, OSError), ("a\0", ValueError)],
)
def test_an_unwritable_path_fails_at_once(path, error):
    with pytest.raises(error):
        Replacement(path)
    assert os.listdir() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_protected_file_is_not_replaced():
    Path("a").write_bytes(b"old")
    os.chmod("a", 0o444)
    with pytest.raises(PermissionError):
        write_whole("a", b"new")


def test_file_and_folder_reach_the_disk_in_order(monkeypatch, folder):
    steps = []

    def sync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("folder" if is_folder else f"file of {os.fstat(descriptor).st_size}")

    move = os.replace
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append("rename"), move(*names)))
    write_whole("a", b"new")
    assert steps == ["file of 3", "rename", "folder"]
    steps.clear()
    write_whole("b", b"new", durable=False)
    assert steps == ["rename"]


@pytest.mark.parametrize(("code", "fails"), [(errno.EINVAL, False), (errno.EIO, True), (errno.ENOSPC, True)])
def test_a_failing_fsync_is_an_error_and_a_missing_one_is_not(monkeypatch, code, fails):
    def sync(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic_write.os, "fsync", sync)
    if fails:
        with pytest.raises(OSError, match=os.strerror(code)):
            write_whole("a", b"new")
    else:
        write_whole("a", b"new")
    assert os.listdir() == ([] if fails else ["a"])


_SIGNALLED = """
import os, signal, sys
from qwen3tts_cli.common.atomic_write import Replacement
def stop(*_):
    raise SystemExit(3)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, signal.default_int_handler)  # SIGINT is ignored in background jobs of a script
with Replacement("a") as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), int(sys.argv[1]))
    file.write(b"whole")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_partial_file(number):
    ended = subprocess.run([sys.executable, "-c", _SIGNALLED, str(int(number))], stderr=subprocess.DEVNULL, timeout=30)
    assert ended.returncode != 0
    assert os.listdir() == []


def _kept_voice():
    import numpy as np

    from qwen3tts_cli import Voice
    from qwen3tts_cli.cloning import voice_store

    voice_store.save(Voice("anna", np.ones(64)))


def _table():
    from qwen3tts_cli.models import bpe_merges

    bpe_merges._write_cache(Path("data/table"), array("Q", range(300)), b"digest")


def _output():
    from qwen3tts_cli.output.files import open_output

    output = open_output("a")
    try:
        output.write(b"audio")
        output.finish()
        output.commit()
    except BaseException:
        output.discard()
        raise


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, _Terminated])
@pytest.mark.parametrize("writer", [_kept_voice, _table, _output])
def test_no_writer_leaves_a_partial_file(folder, monkeypatch, writer, error):
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))

    def interrupted(*_):
        raise error

    monkeypatch.setattr(os, "replace", interrupted)
    monkeypatch.setattr(os, "link", interrupted)
    with pytest.raises(error):
        writer()
    assert [path for path in folder.rglob("*") if path.is_file()] == []
