"""Signals: ignored ones stay ignored, as under nohup and in background jobs, and others are not lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import sentencex
import soundfile
from helpers import ROOT, TESTS

from qwen3tts_cli.cli import signals
from qwen3tts_cli.text import long_text

IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
FRAMES = 12


def start(arguments, numbers, **how):
    """Start a process while these signals are ignored."""
    names = " ".join(number.name.removeprefix("SIG") for number in numbers)
    return subprocess.Popen(["sh", "-c", f'trap "" {names}; exec "$@"', "sh", *arguments], **how)


@pytest.mark.parametrize("number", IGNORED, ids=lambda number: number.name)
def test_a_signal_that_is_ignored_stays_ignored(number, tmp_path):
    say = [sys.executable, str(TESTS / "standin.py"), "say", f"slow {FRAMES} frames", "-o", "a.wav", "-q"]
    with start(say, [number], cwd=tmp_path, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not os.listdir(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 0
    assert soundfile.info(tmp_path / "a.wav").frames == FRAMES * 1920


def test_the_tests_of_signals_pass_where_signals_are_ignored():
    tests = [f"tests/test_cli_streams.py::test_signals[a.wav-{case}]" for case in ("2-130", "15-143", "1-129")]
    pytest_run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    with start(pytest_run, IGNORED, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert "3 passed" in out


LOST = """
import os, signal, sys, time, weakref
from qwen3tts_cli.cli import signals
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
def arrives(*_):
    signal.raise_signal(int(sys.argv[1]))
class Dropped:
    pass
if sys.argv[2] == "finaliser":
    Dropped.__del__ = arrives
try:
    with signals.raise_on_signals():
        dropped = Dropped()
        watched = weakref.ref(dropped, arrives if sys.argv[2] == "weak reference" else None)
        del dropped
        time.sleep(30)
except KeyboardInterrupt as interrupt:
    sys.exit(signals.exit_code(interrupt))
"""


@pytest.mark.parametrize("place", ["finaliser", "weak reference"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_is_not_lost_where_python_drops_exceptions(number, place):
    command = [sys.executable, "-c", LOST, str(int(number)), place]
    done = subprocess.run(command, capture_output=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"", b"")


def test_other_exceptions_of_finalisers_are_still_shown(capfd):
    class Broken:
        def __del__(self):
            raise RuntimeError("of a finaliser")

    def drop():
        with signals.raise_on_signals():
            Broken()

    before, sys.unraisablehook = sys.unraisablehook, sys.__unraisablehook__
    try:
        drop()
    finally:
        sys.unraisablehook = before
    assert "RuntimeError: of a finaliser" in capfd.readouterr().err


def test_a_signal_while_sentences_are_found_ends_the_command(monkeypatch):
    """Exceptions of the library mean that no sentence end was found, but an interrupt is raised."""

    def segment(*_):
        raise signals.Terminated(signal.SIGTERM)

    monkeypatch.setattr(sentencex, "segment", segment)
    with pytest.raises(signals.Terminated):
        list(long_text.split_long_text("One sentence. " * 40, 300, "en", None))


def test_the_exception_of_a_signal_ends_the_compiler_of_python():
    """The compiler folds constants, and drops exceptions of that other than KeyboardInterrupt."""
    assert issubclass(signals.Terminated, KeyboardInterrupt)
