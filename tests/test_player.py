"""The player, with a stand-in for the package sounddevice."""

from __future__ import annotations

import os
import sys
import threading
import types

import numpy as np
import pytest
import standin

from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.errors import OutputError
from qwen3tts_cli.output import compressed_formats
from qwen3tts_cli.output import files as output_files
from qwen3tts_cli.output import player as play


class PortAudioError(Exception):
    pass


class Stream:
    def __init__(self, **arguments):
        assert arguments == {"samplerate": 24000, "channels": 1, "dtype": "float32"}
        self.heard, self.events, self.blocked = [], [], threading.Event()
        Stream.last = self

    def start(self):
        self.events.append("start")

    def write(self, samples):
        assert samples.ndim == 2
        if samples[0, 0] == 9:
            raise PortAudioError("unplugged")
        if samples[0, 0] == 8:
            self.blocked.wait(10)
        self.heard.append(samples[:, 0].copy())

    def stop(self):
        self.events.append("stop")

    def close(self):
        self.events.append("close")

    def abort(self):
        self.events.append("abort")
        self.blocked.set()


@pytest.fixture
def device(monkeypatch):
    module = types.ModuleType("sounddevice")
    module.PortAudioError, module.OutputStream = PortAudioError, Stream
    module.query_devices = lambda kind: {"name": "loudspeaker"}
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


def test_all_samples_are_played_in_order(device):
    assert play.unavailable_reason() is None
    player = play.PlayerSink(24000)
    chunks = [np.full(n, n / 1000, np.float32) for n in range(1, 600)]
    for chunk in chunks:
        player.write(chunk)
    player.finish()
    assert np.array_equal(np.concatenate(Stream.last.heard), np.concatenate(chunks))
    assert Stream.last.events == ["start", "stop", "close"]


def test_discard_stops_at_once(device):
    player = play.PlayerSink(24000)
    player.write(np.full(10, 8, np.float32))
    player.write(np.zeros(10, np.float32))
    player.discard()
    assert Stream.last.events == ["start", "abort"]


def test_a_device_that_is_unplugged(device):
    player = play.PlayerSink(24000)
    player.write(np.full(10, 9, np.float32))
    with pytest.raises(OutputError, match="audio device: unplugged"):
        player.finish()


def raises(error):
    def method(self, *arguments):
        raise error

    return method


ERRORS = [PortAudioError("busy"), ValueError("busy"), OSError("busy")]


@pytest.mark.parametrize("error", ERRORS)
def test_a_device_that_cannot_be_opened(device, monkeypatch, error):
    monkeypatch.setattr(Stream, "start", raises(error))
    with pytest.raises(OutputError, match="audio device: busy"):
        play.PlayerSink(24000)
    assert Stream.last.events == ["close"]
    monkeypatch.setattr(Stream, "__init__", lambda self, **arguments: raises(error)(self))
    with pytest.raises(OutputError, match="audio device: busy"):
        play.PlayerSink(24000)


@pytest.mark.parametrize("error", [*ERRORS, ValueError()])
def test_a_write_that_fails_does_not_block_the_caller(device, monkeypatch, error):
    """The queue is emptied after an error, so that `write` does not wait."""
    monkeypatch.setattr(Stream, "write", raises(error))
    player = play.PlayerSink(24000)
    with pytest.raises(OutputError, match=f"audio device: {error.args[0] if error.args else 'ValueError'}"):  # noqa: PT012
        for _ in range(play._QUEUED_CHUNKS * 3):
            player.write(np.zeros(10, np.float32))
        player.finish()
    player.discard()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("method", ["stop", "close"])
def test_a_stop_that_fails(device, monkeypatch, error, method):
    monkeypatch.setattr(Stream, method, raises(error))
    player = play.PlayerSink(24000)
    player.write(np.zeros(10, np.float32))
    with pytest.raises(OutputError, match="audio device: busy"):
        player.finish()
    assert Stream.last.events[1:] == (["close"] if method == "stop" else ["stop"])


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_of_discard_is_ignored(device, monkeypatch, error):
    monkeypatch.setattr(Stream, "abort", raises(error))
    play.PlayerSink(24000).discard()


@pytest.fixture
def say(device, monkeypatch, tmp_path, capfd):
    monkeypatch.setitem(sys.modules, "qwen3tts_cli.speech.synthesizer", standin.module())
    monkeypatch.setattr(
        "qwen3tts_cli.speech.synthesizer", sys.modules["qwen3tts_cli.speech.synthesizer"], raising=False
    )
    monkeypatch.chdir(tmp_path)

    def say(*arguments, code):
        assert cli.run(["say", "-q", "--play", *arguments]) == code
        return capfd.readouterr().err

    return say


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", ["a.wav", "a.opus"])
def test_a_failing_device_leaves_no_files_and_hides_no_error(say, monkeypatch, error, name):
    monkeypatch.setattr(Stream, "abort", raises(error))
    files = ("-o", name, "--codes", "a.npy", "--json", "a.json")
    assert say("runaway", *files, code=4) == "error: the text ran away after 3 attempts\n"
    assert os.listdir() == []
    monkeypatch.setattr(Stream, "write", raises(error))
    assert say("5000 frames", *files, code=1) == "error: audio device: busy\n"
    assert os.listdir() == []


@pytest.mark.parametrize("broken", ["audio", "output"])
def test_a_clean_up_that_fails_does_not_stop_the_others(say, monkeypatch, broken):
    owner = compressed_formats.EncodedSink if broken == "audio" else output_files.AtomicFile
    discard = owner.discard

    def discards_and_raises(self):
        discard(self)
        raise ZeroDivisionError

    monkeypatch.setattr(owner, "discard", discards_and_raises)
    line = say("runaway", "-o", "a.flac", "--codes", "a.npy", "--json", "a.json", code=4)
    assert line == "error: the text ran away after 3 attempts\n"
    assert os.listdir() == []


def test_an_interrupt_at_the_end_of_playing_stops_at_once(say, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(play.PlayerSink, "finish", interrupted)
    say("Hello.", "-o", "a.wav", code=130)
    assert Stream.last.events[-1] == "abort"
    assert os.listdir() == ["a.wav"]


def test_unavailable_reason(device, monkeypatch):
    def none(kind):
        raise ValueError("No output device found")

    device.query_devices = none
    assert "No output device found" in play.unavailable_reason()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "pip install 'qwen3tts-cli[play]'" in play.unavailable_reason()
