"""Warnings go to the callable `on_warning` of the caller, or else to Python's warnings."""

from __future__ import annotations

import ast
import threading
import warnings

import numpy as np
import pytest
from helpers import CHECKPOINTS, DATA, ROOT

from qwen3tts_cli import Synthesizer, UsageError, load_recording
from qwen3tts_cli.cli import main as cli

WAV = DATA / "wavs" / "ref24k.wav"
TEXT = "The quick brown fox jumps over the lazy dog."
HOW = {"max_frames": 2, "seed": 1}


@pytest.fixture(scope="module")
def base():
    with Synthesizer.open(CHECKPOINTS / "tiny-base", threads=1) as opened:
        yield opened


@pytest.fixture
def no_python_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def short(seconds: float):
    """A recording that is too short; its warning says its length."""
    rng = np.random.default_rng(7)
    return (rng.uniform(-0.5, 0.5, int(seconds * 24000)).astype(np.float32), 24000)


def test_two_threads_get_their_own_warnings(base, no_python_warnings):
    heard = {seconds: [] for seconds in (0.5, 1.0, 1.5)}
    ready = threading.Barrier(len(heard))

    def clone(seconds):
        ready.wait(10)
        for _ in range(2):
            base.clone(short(seconds), on_warning=heard[seconds].append)

    threads = [threading.Thread(target=clone, args=(seconds,)) for seconds in heard]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for seconds, lines in heard.items():
        assert len(lines) == 2
        assert all(line.startswith(f"samples: {seconds} s is too short") for line in lines)


def test_speaking_with_a_recording_warns_the_caller_of_speak(base, no_python_warnings):
    for ask in (base.say, lambda *a, **o: list(base.stream(*a, **o))):
        heard = []
        ask("Hello.", ref_audio=WAV, ref_text="word " * 200, on_warning=heard.append, **HOW)
        assert len(heard) == 2
        assert "too short" in heard[0]
        assert "more than anyone says" in heard[1]
    mine, other = [], []
    items = ["Hello.", {"text": "Hello.", "on_warning": other.append}]
    base.say_many(items, ref_audio=short(0.5), on_warning=mine.append, **HOW)
    assert (len(mine), len(other)) == (1, 1)


def test_the_callable_of_open_is_the_default_of_the_synthesizer(no_python_warnings):
    heard, other = [], []
    with Synthesizer.open(CHECKPOINTS / "tiny-base", threads=1, on_warning=heard.append) as base:
        base.clone(WAV)
        base.say("Hello.", ref_audio=WAV, **HOW)
        base.clone(WAV, on_warning=other.append)
    assert (len(heard), len(other)) == (2, 1)


def test_opening_warns_the_caller_of_open(tmp_path, monkeypatch, no_python_warnings):
    """The cache folder is a file, so packed weights stay in memory."""
    (tmp_path / "cache").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    heard = []
    with Synthesizer.open(CHECKPOINTS / "tiny-base", threads=1, precision="int8", on_warning=heard.append):
        assert len(heard) == 1
        assert "packed weights are kept in memory" in heard[0]


def test_without_a_callable_they_are_warnings_of_python(base):
    with pytest.warns(UserWarning, match="too short") as caught:
        base.clone(WAV)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="too short"):
        base.say("Hello.", ref_audio=WAV, **HOW)


def test_an_error_of_the_callable_is_the_callers(base):
    def refuse(line):
        raise RuntimeError(line)

    with pytest.raises(RuntimeError, match="too short"):
        base.clone(WAV, on_warning=refuse)


@pytest.mark.parametrize("on_warning", ["print", 5, []])
def test_what_cannot_be_called_is_a_usage_error(base, on_warning):
    for ask in (
        lambda: Synthesizer.open(on_warning=on_warning),
        lambda: base.clone(WAV, on_warning=on_warning),
        lambda: base.say("Hello.", ref_audio=WAV, on_warning=on_warning, **HOW),
    ):
        with pytest.raises(UsageError, match=f"on_warning: found {type(on_warning).__name__}"):
            ask()


def test_a_recording_keeps_its_warnings(no_python_warnings):
    assert "too short" in load_recording(WAV).warnings[0]


def test_the_command_shows_warnings(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = str(CHECKPOINTS / "tiny-base")
    arguments = ["say", "Hello.", "-m", model, "--ref", str(WAV), "--max-frames", "2", "-o", "a.wav"]
    assert cli.run(arguments) == 0
    assert f"warning: {WAV}: 2.5 s is too short" in capfd.readouterr().err
    assert cli.run([*arguments, "-q"]) == 0
    assert capfd.readouterr().err == ""


def test_warnings_of_other_threads_are_not_caught():
    """warnings.catch_warnings would affect all threads of the process."""
    for path in (ROOT / "qwen3tts_cli").rglob("*.py"):
        names = {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(ast.parse(path.read_text()))}
        assert "catch_warnings" not in names, path
