"""`voices export` writes to devices, FIFOs, links and stdout as `say -o` does."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_voice_file import VOICE

from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cloning import voice_store
from qwen3tts_cli.cloning.voice_file import voice_bytes

DATA = voice_bytes(VOICE)


@pytest.fixture(autouse=True)
def _kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    voice_store.save(VOICE)


@pytest.fixture
def export(capfd):
    def export(file, *more, code=0):
        before = sorted(os.listdir())
        returned = cli.run(["voices", "export", "anna", file, *more])
        out, err = capfd.readouterr()
        assert returned == code, err
        if code:
            assert len(err.splitlines()) == 1
            assert sorted(os.listdir()) == before
        return out + err

    return export


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_fifo_receives_the_file(export, force):
    os.mkfifo("fifo")
    os.symlink("fifo", "link")
    for name in ("fifo", "link"):
        read = []
        thread = threading.Thread(target=lambda read=read: read.append(Path("fifo").read_bytes()))
        thread.start()
        export(name, *force)
        thread.join()
        assert read == [DATA]
    assert stat.S_ISFIFO(os.lstat("fifo").st_mode)
    assert os.path.islink("link")


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_device_stays_a_device(export, force):
    os.symlink(os.devnull, "link")
    for name in (os.devnull, "link"):
        export(name, *force)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert os.path.islink("link")
    assert "No space left" in export("/dev/full", *force, code=1)


def test_a_link_keeps_pointing_to_its_target(export):
    os.mkdir("real")
    os.symlink("real/target", "link")
    os.symlink("link", "second")
    export("second")
    assert Path("real/target").read_bytes() == DATA
    Path("real/target").write_bytes(b"old")
    assert "exists already (--force replaces it)" in export("link", code=2)
    assert Path("real/target").read_bytes() == b"old"
    export("second", "--force")
    assert Path("real/target").read_bytes() == DATA
    assert os.path.islink("link")
    assert os.path.islink("second")
    assert os.listdir("real") == ["target"]


def test_files_and_folders(export):
    export("a.safetensors")
    assert "exists already (--force replaces it)" in export("a.safetensors", code=2)
    Path("a.safetensors").write_bytes(b"old")
    export("a.safetensors", "--force")
    assert Path("a.safetensors").read_bytes() == DATA
    os.mkdir("folder")
    os.symlink("folder", "link")
    for name in ("folder", "folder/", "link/", "link"):
        export(name, "--force")
        assert Path("folder/anna.safetensors").read_bytes() == DATA
    assert os.path.islink("link")
    assert "exists already" in export("folder/", code=2)


@pytest.mark.parametrize("name", ["new/", "new/er/", "./new/"])
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_folder_that_does_not_exist_is_refused(export, name, force):
    assert f"FILE {name}: no such folder" in export(name, *force, code=2)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_names_that_no_file_can_have_are_refused(export, name):
    export(name, code=2)


def run(*arguments, **how):
    command = [sys.executable, "-m", "qwen3tts_cli", "voices", "export", "anna", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, timeout=60, **how)


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_dash_is_stdout(name):
    done = run(name, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, DATA)
    with open("out", "wb") as file:
        assert run(name, "-q", stdout=file).returncode == 0
    assert Path("out").read_bytes() == DATA
    assert sorted(os.listdir()) == ["data", "out"]


def test_nothing_binary_is_written_to_a_terminal():
    master, slave = pty.openpty()
    done = run("-", stdout=slave)
    os.close(slave)
    os.close(master)
    assert done.returncode == 2
    assert done.stderr == b"error: standard output: a voice is not written to a terminal, name a file or pipe it\n"
