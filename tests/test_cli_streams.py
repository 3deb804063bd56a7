"""`say` as a process, with a stand-in for the synthesizer: pipes, terminals, redirections, signals, full disks."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from helpers import TESTS, allowed
from standin import samples_of

from qwen3tts_cli.common.sample_conversion import to_pcm16

COMMAND = [sys.executable, str(TESTS / "standin.py"), "say"]
PCM = to_pcm16(samples_of(5, 10)).tobytes()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(TESTS.parent))


def say(*arguments, code=0, **how):
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **how}
    if "input" in how:
        del how["stdin"]
    done = subprocess.run([*COMMAND, *arguments], stderr=subprocess.PIPE, timeout=60, **how)
    assert done.returncode == code, done
    assert b"Traceback" not in done.stderr
    return done


@contextlib.contextmanager
def terminal():
    """A pseudo-terminal: (the descriptor for the process, a function that closes it and returns its output)."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)

    def shown():
        with contextlib.suppress(BlockingIOError, OSError):
            return os.read(master, 1 << 20)
        return b""

    try:
        yield slave, shown
    finally:
        os.close(slave)
        os.close(master)


def test_a_pipe_gets_a_wav_of_unknown_size():
    done = say("--seed", "5", "-q", "Hello.")
    assert done.stdout[:8] == b"RIFF\xff\xff\xff\xff"
    assert done.stdout[40:44] == b"\xff\xff\xff\xff"
    assert done.stdout[44:] == PCM
    assert done.stderr == b""
    assert say("--seed", "5", "-q", "Hello.", "--stream").stdout == done.stdout
    assert say("--seed", "5", "-q", "Hello.", "-o", "-").stdout == done.stdout
    assert say("--seed", "5", "-q", "Hello.", "-o", "/dev/stdout").stdout == done.stdout
    assert say("--seed", "5", "-q", "Hello.", "--raw").stdout == PCM


def test_formats_of_libsndfile_go_through_a_pipe_too():
    done = say("--seed", "5", "-q", "Hello.", "-o", "-", "--subtype", "PCM_24")
    with open("a.wav", "wb") as file:
        file.write(done.stdout)
    assert soundfile.info("a.wav").subtype == "PCM_24"
    assert soundfile.info("a.wav").frames == 19200


def test_stdout_in_a_file_gets_a_wav_with_sizes():
    for mode, before in (("wb", b""), ("ab", b""), ("ab", b"kept"), ("r+b", b"")):
        with open("a.wav", "wb") as file:
            file.write(before)
        with open("a.wav", mode) as file:
            say("--seed", "5", "-q", "Hello.", stdout=file)
        with open("a.wav", "rb") as file:
            data = file.read()
        assert data[: len(before)] == before
        data = data[len(before) :]
        assert int.from_bytes(data[4:8], "little") == len(data) - 8
        assert int.from_bytes(data[40:44], "little") == len(PCM)
        assert data[44:] == PCM


def test_two_runs_into_one_file():
    with open("a.wav", "wb") as file:
        say("--seed", "5", "-q", "Hello.", stdout=file)
        say("--seed", "5", "-q", "Hello.", stdout=file)
    with open("a.wav", "rb") as file:
        data = file.read()
    assert data[: len(data) // 2] == data[len(data) // 2 :]


def test_a_failure_truncates_the_file_of_stdout():
    with open("a.wav", "wb") as file:
        say("-q", "runaway", stdout=file, code=4)
        assert os.fstat(file.fileno()).st_size == 0
        say("-q", "runaway", "--raw", stdout=file, code=4)
        assert os.fstat(file.fileno()).st_size == 0
        say("-q", "--seed", "5", "runaway", "--stream", stdout=file, code=4)
    samples, _ = soundfile.read("a.wav", dtype="int16")  # the stream ends properly after the last good frame
    assert samples.tobytes() == to_pcm16(samples_of(5, 10))[: 5 * 1920].tobytes()


def test_nothing_is_written_before_the_first_samples():
    assert say("-q", "bug", "--stream", code=1).stdout == b""


def test_text_from_stdin():
    for arguments in ((), ("-",), ("-f", "-")):
        assert say("--seed", "5", "-q", "--raw", *arguments, input="\n Grüße! ".encode()).stdout == PCM
    for text in (b"", b" \n\n"):
        assert b"standard input: the text is empty" in say("-q", input=text, code=2).stderr
    assert b"byte 0xFF at offset 2" in say("-q", input=b"ab\xff", code=2).stderr
    assert b"16,000,000 bytes" in say("-q", input=b"a" * 16_000_001, code=2).stderr
    assert say("--seed", "5", "-q", "--raw", "An argument wins.", input=b"\xff").stdout == PCM


def test_no_text_on_a_terminal_is_help():
    with terminal() as (slave, _):
        done = say(stdin=slave, code=2)
        assert done.stdout == b""
        assert b"Examples:" in done.stderr
    closed = say(code=2, stdin=None, preexec_fn=lambda: os.close(0))
    assert b"Examples:" in closed.stderr


def test_never_binary_on_a_terminal():
    for arguments in ((), ("--stream",), ("--raw",), ("-o", "-"), ("--stream", "--raw"), ("-o", "/dev/stdout")):
        with terminal() as (slave, shown):
            (line,) = say("-q", "Hello.", *arguments, stdout=slave, code=2).stderr.splitlines()
            assert line.startswith(b"error: ")
            assert b"-o FILE" in line or b"name a file" in line
            assert shown() == b""
    with terminal() as (slave, shown):
        say("-q", "Hello.", "-o", "a.wav", stdout=slave)
        assert shown() == b""


def test_stdout_closed():
    done = say("-q", "Hello.", code=1, stdout=None, preexec_fn=lambda: os.close(1))
    assert done.stderr == b"error: standard output is closed\n"
    say("-q", "Hello.", "-o", "a.wav", stdout=None, preexec_fn=lambda: os.close(1))


def test_progress_and_hints_only_on_a_terminal():
    assert b"\r" not in say("slow", "-o", "a.wav").stderr
    for quiet in (False, True):
        with terminal() as (slave, shown):
            options = ["-q"] if quiet else []
            process = subprocess.Popen([*COMMAND, "slow", "--raw", *options], stdout=subprocess.PIPE, stderr=slave)
            process.communicate(timeout=60)
            text = shown()
        assert process.returncode == 0
        assert (text == b"") if quiet else (b"aplay" in text and b"ffplay" in text and b"s of audio" in text)


@pytest.mark.parametrize("arguments", [(), ("--raw", "--stream"), ("-o", "-", "--subtype", "PCM_24")])
def test_a_closed_pipe_ends_the_command_without_an_error(arguments):
    process = subprocess.Popen(
        [*COMMAND, "5000 frames", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    process.stdout.read(10)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert b"rror" not in err
    assert b"Broken" not in err


def test_a_pipe_closed_before_a_command_prints():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "qwen3tts_cli", "models", "list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_printing_onto_a_full_disk():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "qwen3tts_cli", "models", "list"], stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == b"error: No space left on device\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("name", ["a.wav", "a.ogg"])
def test_signals(number, code, name):
    arguments = ["slow 2000 frames", "-o", name, "--codes", "a.npy", "--json", "a.json", "-q"]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: len(os.listdir()) == 3)
    time.sleep(0.3)
    process.send_signal(number)
    started = time.monotonic()
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - started < allowed(2)
    assert (process.returncode, out, err) == (code, b"", b"")
    assert os.listdir() == []


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_fifo_that_nobody_reads_can_be_interrupted():
    os.mkfifo("fifo")
    process = subprocess.Popen([*COMMAND, "Hello.", "-o", "fifo", "-q"], stderr=subprocess.PIPE)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[1] == b""
    assert process.returncode == 130


def test_a_fifo_gets_a_wav_of_unknown_size():
    os.mkfifo("fifo.wav")
    process = subprocess.Popen([*COMMAND, "Hello.", "-o", "fifo.wav", "-q", "--seed", "5"])
    with open("fifo.wav", "rb") as file:
        data = file.read()
    assert process.wait(60) == 0
    assert data[40:44] == b"\xff" * 4
    assert data[44:] == PCM


def small_disk():
    # A limit on the size of files has the effect of a full disk: write() fails.
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (30_001, 30_001))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_disk_that_fills_up(name):
    done = say("-q", "500 frames", "-o", name, "--codes", "a.npy", code=1, preexec_fn=small_disk)
    assert done.stderr.decode().splitlines() == [f"error: {name}: File too large"]
    assert os.listdir() == []


def test_a_disk_that_fills_up_below_stdout():
    with open("a.wav", "wb") as file:
        done = say("-q", "500 frames", stdout=file, code=1, preexec_fn=small_disk)
        assert os.fstat(file.fileno()).st_size == 0
    assert done.stderr == b"error: standard output: File too large\n"


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer keeps memory that was freed")
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "-"])
def test_memory_stays_flat(name):
    """A quarter of an hour of speech, 38 MB of PCM, is not held in memory."""
    peaks = []
    for frames in (10, 10_000):
        arguments = ["-q", f"{frames} frames", "-o", name, "--json", "a.json"]
        process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))  # MB
    assert peaks[1] - peaks[0] < 15


def test_bytes_do_not_depend_on_the_output():
    say("-q", "--seed", "5", "60 frames", "-o", "a.wav")
    say("-q", "--seed", "5", "60 frames", "-o", "b.wav", "--stream")
    with open("c.wav", "wb") as file:
        say("-q", "--seed", "5", "60 frames", stdout=file)
    say("-q", "--seed", "5", "60 frames", "--raw", "-o", "d.wav")
    contents = [open(name, "rb").read() for name in ("a.wav", "b.wav", "c.wav", "d.wav")]  # noqa: SIM115
    assert contents[0] == contents[1] == contents[2]
    assert contents[0][44:] == contents[3] == to_pcm16(samples_of(5, 60)).tobytes()
    assert np.frombuffer(contents[3], "<i2").max() == 32767
