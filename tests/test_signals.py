"""Signals that are ignored, as under nohup and in a background job of a script: the command leaves them so, and the
tests of signals pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import soundfile
from helpers import ROOT, TESTS

IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
FRAMES = 12


def started(arguments, numbers, **how):
    """A process that is started while these signals are ignored."""
    names = " ".join(number.name.removeprefix("SIG") for number in numbers)
    return subprocess.Popen(["sh", "-c", f'trap "" {names}; exec "$@"', "sh", *arguments], **how)


@pytest.mark.parametrize("number", IGNORED, ids=lambda number: number.name)
def test_a_signal_that_is_ignored_stays_ignored(number, tmp_path):
    say = [sys.executable, str(TESTS / "standin.py"), "say", f"slow {FRAMES} frames", "-o", "a.wav", "-q"]
    with started(say, [number], cwd=tmp_path, stderr=subprocess.PIPE) as process:
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
    with started(pytest_run, IGNORED, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert "3 passed" in out
