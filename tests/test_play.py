"""Playing, with a stand-in for the package sounddevice."""

from __future__ import annotations

import sys
import threading
import types

import numpy as np
import pytest

from qwen3tts_cli import play
from qwen3tts_cli.errors import OutputError


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


def test_all_of_it_in_order(device):
    assert play.why_not() is None
    player = play.PlayerSink(24000)
    chunks = [np.full(n, n / 1000, np.float32) for n in range(1, 600)]
    for chunk in chunks:
        player.write(chunk)
    player.finish()
    assert np.array_equal(np.concatenate(Stream.last.heard), np.concatenate(chunks))
    assert Stream.last.events == ["start", "stop", "close"]


def test_silent_at_once(device):
    player = play.PlayerSink(24000)
    player.write(np.full(10, 8, np.float32))
    player.write(np.zeros(10, np.float32))
    player.discard()
    assert Stream.last.events == ["start", "abort"]


def test_a_device_that_goes_away(device):
    player = play.PlayerSink(24000)
    player.write(np.full(10, 9, np.float32))
    with pytest.raises(OutputError, match="audio device: unplugged"):
        player.finish()


def test_a_device_that_cannot_be_opened(device, monkeypatch):
    def refuse(self):
        raise PortAudioError("busy")

    monkeypatch.setattr(Stream, "start", refuse)
    with pytest.raises(OutputError, match="audio device: busy"):
        play.PlayerSink(24000)


def test_why_not(device, monkeypatch):
    def none(kind):
        raise ValueError("No output device found")

    device.query_devices = none
    assert "No output device found" in play.why_not()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "pip install 'qwen3tts-cli[play]'" in play.why_not()
