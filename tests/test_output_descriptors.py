"""Descriptors that the caller has opened, named by any path: written in place, without notes in the audio."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
import soundfile
from helpers import TESTS
from standin import samples_of

from qwen3tts_cli import OutputError
from qwen3tts_cli.common.sample_conversion import to_pcm16
from qwen3tts_cli.output.files import open_output, write_output

SAY = [sys.executable, str(TESTS / "standin.py"), "say", "Hello.", "--seed", "5"]
PCM = to_pcm16(samples_of(5, 10)).tobytes()
STDOUT = ["/dev/stdout", "/dev/./stdout", "/dev/fd/1", "/dev/fd/../fd/1", "/proc/self/fd/1", "link", "second"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("/dev/stdout", "link")
    os.symlink("link", "second")
    return tmp_path


def said(*arguments, redirect=""):
    """Run `say` in a shell, with redirections; returns the completed process."""
    return subprocess.run(["sh", "-c", f'"$@" {redirect}', "sh", *SAY, *arguments], capture_output=True, timeout=60)


@pytest.mark.parametrize("path", STDOUT)
def test_stdout_by_any_path_is_appended_to(folder, path):
    (folder / "log").write_bytes(b"old")
    assert said("--raw", "-q", "-o", path, redirect=">> log").returncode == 0
    assert (folder / "log").read_bytes() == b"old" + PCM


@pytest.mark.parametrize("option", ["--json", "--codes", "-o"])
def test_a_descriptor_is_appended_to_and_never_replaced(folder, option):
    (folder / "log").write_bytes(b"old")
    other = ["--raw"] if option == "-o" else ["-o", "a.wav"]
    assert said("-q", option, "/dev/fd/3", *other, redirect="3>> log").returncode == 0
    assert (folder / "log").read_bytes().startswith(b"old")
    assert len((folder / "log").read_bytes()) > 100


def test_facts_and_notes_go_into_one_log(folder):
    (folder / "log").write_text("old\n")
    assert said("--json", "/dev/stderr", "-o", "a.wav", redirect="2>> log").returncode == 0
    lines = (folder / "log").read_text().splitlines()
    assert lines[0] == "old"
    assert any(line.startswith("{") for line in lines)
    assert any(line.startswith("a.wav: ") for line in lines)


def test_a_wav_on_a_descriptor_has_its_sizes(folder):
    assert said("-q", "-o", "/dev/fd/3", redirect="3> a.wav").returncode == 0
    assert said("-q", "-o", "b.wav").returncode == 0
    assert (folder / "a.wav").read_bytes() == (folder / "b.wav").read_bytes()


def test_the_extension_of_a_link_to_stdout_is_the_format(folder):
    os.symlink("/dev/stdout", "a.flac")
    assert soundfile.info(io.BytesIO(said("-q", "-o", "a.flac", redirect="| cat").stdout)).format == "FLAC"


@pytest.mark.parametrize("path", ["/dev/fd/777", "/dev/fd/3"])
def test_a_descriptor_that_cannot_be_written(folder, path):
    (folder / "in").write_bytes(b"kept")
    done = said("--raw", "-q", "-o", path, redirect="3< in")
    assert (done.returncode, done.stderr.decode()) == (1, f"error: {path}: Bad file descriptor\n")
    assert (folder / "in").read_bytes() == b"kept"


def test_a_failure_truncates_the_file_of_a_descriptor(folder):
    with open("log", "wb+") as file:
        file.write(b"old")
        file.flush()
        output = open_output(f"/dev/fd/{file.fileno()}")
        output.write(b"half")
        output.discard()
        file.seek(0)
        assert file.read() == b"old"


def test_a_file_with_the_name_of_a_descriptor_is_a_file(folder):
    os.mkdir("fd")
    with write_output("fd/1") as output:
        output.write(b"new")
    assert (folder / "fd" / "1").read_bytes() == b"new"
    with pytest.raises(OutputError):
        open_output("/dev/fd/one")


@pytest.mark.parametrize("stream", [[], ["--stream"]])
@pytest.mark.parametrize("redirect", ["2>&1 | cat", "> a.raw 2>&1; cat a.raw"])
def test_notes_stay_out_of_audio_that_stderr_is_redirected_into(stream, redirect):
    assert said("--raw", *stream, redirect=redirect).stdout == PCM


def test_a_table_beside_audio_is_refused():
    done = said("--raw", "--timings", redirect="2>&1 | cat")
    assert done.stdout == b"error: --timings /dev/stderr: is the same file as standard output; name another file\n"


def test_notes_are_shown_where_the_audio_goes_elsewhere():
    assert b"a.wav: " in said("-o", "a.wav", redirect="2>&1").stdout
