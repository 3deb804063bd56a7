"""A model that never ends an utterance: it is retried with other seeds, then fails; a stated length succeeds."""

import json
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from helpers import CHECKPOINTS, POCKET

from qwen3tts_cli import Synthesizer
from qwen3tts_cli.errors import GenerationError, UsageError
from qwen3tts_cli.models.safetensors import open_safetensors
from qwen3tts_cli.scheduling import attempts
from qwen3tts_cli.scheduling.guard import Guard
from qwen3tts_cli.scheduling.seeds import retry_seed
from qwen3tts_cli.speech.synthesizer import SpeakOptions

TEXT = "Hello there."


def without_eos(source, folder):
    """Copy a checkpoint with a codec head whose EOS row is zero, so that EOS never has the largest logit."""
    shutil.copytree(source, folder)
    path = folder / "model.safetensors"
    eos = json.loads((folder / "config.json").read_text())["talker_config"]["codec_eos_token_id"]
    file = open_safetensors(path)
    info = file.tensors["talker.codec_head.weight"]
    start, width = info.start, info.shape[1] * 2
    file.close()
    with path.open("r+b") as out:
        header = struct.unpack("<Q", out.read(8))[0] + 8
        out.seek((start if start >= header else header + start) + eos * width)
        out.write(bytes(width))
    return folder


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    return without_eos(POCKET, tmp_path_factory.mktemp("models") / "endless")


@pytest.fixture(scope="module")
def voice(endless):
    with Synthesizer.open(endless) as opened:
        yield opened


def test_a_runaway_fails_after_its_retries(voice):
    with pytest.raises(GenerationError, match="3 attempts"):
        voice.say(TEXT, seed=1)
    with pytest.raises(GenerationError, match="1 attempt:"):
        voice.say(TEXT, greedy=True)


def test_without_the_guard_a_runaway_goes_on(voice):
    speech = voice.speak("Hi.", SpeakOptions(seed=1, retries=0, live=True))
    with speech:
        while speech.seconds < 30:
            next(speech)


def test_speech_of_a_stated_length_succeeds(voice):
    for options in ({}, {"greedy": True}, {"live": True}, {"retries": 0}):
        speech = voice.speak(TEXT, SpeakOptions(seed=1, max_frames=30, **options))
        assert sum(len(pcm) for pcm in speech) == 30 * 1920
        assert speech.stop == "max_frames"
        assert speech.frames == len(speech.codes) == 30


def test_a_stream_ends_at_the_last_good_frame(voice):
    speech = voice.speak(TEXT, SpeakOptions(seed=1, live=True))
    with pytest.raises(GenerationError, match="1 attempt:"):
        list(speech)
    assert speech.samples > 0
    assert speech.samples % 1920 == 0


class TripsAt(Guard):
    """Stops the first attempt of a test at the frame `at`, and no other attempt."""

    at, tripped = 1, False

    def feed(self, codes):
        super().feed(codes)
        if not TripsAt.tripped and self._frames >= self.at:
            TripsAt.tripped = True
            self._trip("loop", self._frames)
        return self.reason


@pytest.mark.parametrize("options", [{}, {"chunk_frames": 8}, {"chunk_frames": 64}, {"pipeline": True}], ids=str)
@pytest.mark.parametrize("text", [TEXT, [TEXT]], ids=["whole", "incoming"])
def test_a_stream_is_retried_before_its_first_samples_only(text, options, monkeypatch):
    monkeypatch.setattr(attempts, "Guard", TripsAt)
    with Synthesizer.open() as opened:
        TripsAt.tripped = True
        second = np.concatenate(list(opened.stream(text, seed=retry_seed(5, 1))))
        TripsAt.tripped = False
        speech = opened.stream(text, seed=5, **options)
        np.testing.assert_array_equal(np.concatenate(list(speech)), second)
        TripsAt.tripped = False
        with pytest.raises(GenerationError, match="1 attempt"):
            list(opened.stream(text, seed=5, retries=1, greedy=True, **options))
        monkeypatch.setattr(TripsAt, "at", 2)
        TripsAt.tripped = False
        speech = opened.stream(text, seed=5, **options)
        with pytest.raises(GenerationError, match="1 attempt"):
            list(speech)
        assert speech.samples == 2 * 1920


def test_retries_use_seeds_of_their_own():
    seeds = [retry_seed(7, attempt) for attempt in range(4)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 1 << 64 for seed in seeds)


def test_the_guard_does_not_change_good_speech():
    with Synthesizer.open() as opened:
        np.testing.assert_array_equal(opened.say(TEXT, seed=4), opened.say(TEXT, seed=4, retries=0))


def test_command_line(endless, tmp_path):
    out = tmp_path / "out.wav"
    command = [sys.executable, "-m", "qwen3tts_cli", "say", TEXT, "-m", str(endless), "--seed", "1", "-q"]
    failed = subprocess.run([*command, "-o", str(out)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert failed.returncode == 4
    assert failed.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    streamed = subprocess.run([*command, "--stream", "--raw"], capture_output=True, stdin=subprocess.DEVNULL)
    assert streamed.returncode == 4
    assert len(streamed.stdout) > 0
    kept = subprocess.run(
        [*command, "-o", str(out), "--max-seconds", "2"], capture_output=True, stdin=subprocess.DEVNULL
    )
    assert kept.returncode == 0
    assert out.stat().st_size == 44 + 2 * 48000


def test_an_utterance_beyond_the_positions_is_a_usage_error():
    with Synthesizer.open(CHECKPOINTS / "tiny-customvoice") as opened:
        for mode in ("full", "streaming"):
            with pytest.raises(UsageError, match="positions"):
                opened.say("word " * 20000, split=False, text_mode=mode)
