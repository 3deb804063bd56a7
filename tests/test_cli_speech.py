"""`say` as a process, with the embedded voice and the tiny checkpoints: every output gets the same samples."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import CHECKPOINTS, TESTS, allowed

from qwen3tts_cli import Synthesizer
from qwen3tts_cli.common.sample_conversion import to_pcm16

COMMAND = [sys.executable, "-m", "qwen3tts_cli", "say"]
TEXT = "Hello from two cores. This is a test."
TINY = str(CHECKPOINTS / "tiny-customvoice")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(TESTS.parent))


def say(*arguments, code=0, **how):
    if "input" not in how:
        how["stdin"] = subprocess.DEVNULL
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=120, **how)
    assert done.returncode == code, done
    assert b"Traceback" not in done.stderr
    return done


def refused(*arguments, code):
    """Run `say`, which must fail with one line on stderr and leave no file; returns the line."""
    before = sorted(os.listdir())
    done = say("-q", *arguments, code=code)
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: ")
    assert sorted(os.listdir()) == before
    return line


def test_the_embedded_voice_speaks():
    say("-q", "--seed", "1", TEXT, "-o", "a.wav", "--codes", "a.npy", "--json", "a.json")
    facts = json.loads(Path("a.json").read_text())
    codes = np.load("a.npy")
    pcm, rate = soundfile.read("a.wav", dtype="int16")
    assert rate == facts["sample_rate"] == 24000
    assert codes.shape == (facts["frames"], 16)
    assert len(pcm) == facts["frames"] * 1920
    assert facts["seconds"] == pytest.approx(facts["frames"] / 12.5)
    assert 1 < facts["seconds"] < 10
    assert facts["pcm_sha256"] == hashlib.sha256(pcm.tobytes()).hexdigest()
    assert (facts["model"], facts["voice"], facts["language"]) == ("pocket", "slt", "english")
    assert (facts["stop"], facts["seed"], facts["precision"]) == ("eos", 1, "bf16")
    assert facts["rtf"] > 0
    assert 0 < facts["first_audio_ms"] < 60_000


def test_every_output_gets_the_same_samples():
    with Synthesizer.open() as synthesizer:
        samples = synthesizer.say(TEXT, seed=3)
        streamed = np.concatenate(list(synthesizer.stream(TEXT, seed=3)))
    assert np.array_equal(samples, streamed)
    pcm = to_pcm16(samples).tobytes()
    say("-q", "--seed", "3", TEXT, "-o", "a.wav", "--threads", "1")
    say("-q", "--seed", "3", TEXT, "-o", "b.wav", "--threads", "3", "--stream")
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()
    assert Path("a.wav").read_bytes()[44:] == pcm
    for arguments in ((), ("--stream",), ("--stream", "--threads", "2")):
        assert say("-q", "--seed", "3", TEXT, *arguments).stdout[44:] == pcm
    assert say("-q", "--seed", "3", "--raw", input=f"  {TEXT}\n".encode()).stdout == pcm
    say("-q", "--seed", "3", TEXT, "-o", "f.wav", "--subtype", "FLOAT")
    assert np.array_equal(soundfile.read("f.wav", dtype="float32")[0], samples)
    say("-q", "--seed", "3", TEXT, "-o", "a.flac")
    assert soundfile.read("a.flac", dtype="int16")[0].tobytes() == pcm


def test_greedy_and_seeds():
    runs = {}
    for name, options in {
        "greedy": ("--greedy", "--seed", "1"),
        "greedy, another seed": ("--greedy", "--seed", "2"),
        "both temperatures 0": ("--temperature", "0", "--subtalker-temperature", "0"),
        "talker 0": ("--temperature", "0", "--seed", "1"),
        "talker 0, another seed": ("--temperature", "0", "--seed", "2"),
        "predictor 0": ("--subtalker-temperature", "0", "--seed", "1"),
        "seed 1": ("--seed", "1"),
        "seed 2": ("--seed", "2"),
    }.items():
        say("-q", "-m", TINY, "Hello.", "-o", "a.wav", "--codes", "a.npy", "--max-frames", "9", *options)
        runs[name] = np.load("a.npy")
    assert np.array_equal(runs["greedy"], runs.pop("greedy, another seed"))
    assert np.array_equal(runs["greedy"], runs.pop("both temperatures 0"))
    assert len({codes.tobytes() for codes in runs.values()}) == len(runs)
    # The first code of a frame depends on earlier codes; in the first frame the talker alone chooses it.
    assert runs["talker 0"][0, 0] == runs["talker 0, another seed"][0, 0] == runs["greedy"][0, 0]


def test_several_sentences_and_formats():
    text = "One sentence is short. " * 12  # longer than one utterance of the embedded voice
    for name in ("a.ogg", "a.opus", "a.mp3", "a.flac"):
        say("-q", "--seed", "1", text.strip(), "-o", name, "--json", "a.json")
        assert abs(soundfile.info(name).duration - json.loads(Path("a.json").read_text())["seconds"]) < 0.2
    done = say("-q", "--seed", "1", text.strip(), "--stream")
    assert done.stdout.count(b"RIFF") == 1
    assert len(soundfile.read(io.BytesIO(done.stdout[:44] + done.stdout[44:]))[0]) == (len(done.stdout) - 44) // 2


def test_limits():
    say("-q", "Hello there, how are you today?", "-o", "a.wav", "--max-frames", "7", "--json", "a.json")
    facts = json.loads(Path("a.json").read_text())
    assert (facts["frames"], facts["stop"]) == (7, "max_frames")
    say(
        *("-q", "-m", TINY, "Hi there.", "-o", "a.wav", "--max-seconds", "1", "--json", "a.json"),
        *("-v", "Ryan", "-l", "EN", "--seed", "1"),  # without a seed some runs end before the limit
    )
    facts = json.loads(Path("a.json").read_text())
    assert (facts["frames"], facts["voice"], facts["language"], facts["model"]) == (13, "ryan", "english", TINY)
    assert (soundfile.info("a.wav").frames, facts["stop"]) == (24000, "max_seconds")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("Hello.", "-v", "stl"), 2, "slt"),
        (("Hello.", "-l", "englisch"), 2, "english"),
        (("Guten Tag.", "-l", "de"), 2, "german"),
        (("你好，世界。",), 2, "0.6b"),
        (("Hello.", "-m", TINY, "-v", "ryna"), 2, "'ryan'"),
        (("Hello.", "-m", str(CHECKPOINTS / "tiny-base")), 2, "0.6b"),
        (("Hello.", "-m", "1.7b"), 3, "qwen3tts models pull 1.7b"),
        (("Hello.", "-m", str(CHECKPOINTS)), 3, "config.json"),
        (("word " * 20_000, "--no-split", "-m", TINY), 2, "4096"),
    ],
)
def test_refusals(arguments, code, message):
    assert message in refused(*arguments, "-o", "a.wav", code=code)


@pytest.mark.parametrize("text", ["<!-- a comment -->", "\U0001f600", "...", "\x1b[1m", "[](http://a.b)"])
@pytest.mark.parametrize("how", [(), ("--no-split",), ("--stream",), ("--no-split", "--stream")])
def test_a_text_with_nothing_to_speak_is_refused_split_or_not(text, how):
    message = refused(text, *how, "-o", "a.wav", code=2)
    assert "nothing to speak: the text holds no letter or digit that this voice can say" in message


def test_a_model_of_the_released_kind_refuses_it_too():
    for how in ((), ("--no-split",)):
        assert "nothing to speak" in refused("...", "-m", TINY, *how, "-o", "a.wav", code=2)


def test_a_damaged_model():
    os.mkdir("model")
    for path in Path(TINY).rglob("*"):
        target = Path("model") / path.relative_to(TINY)
        target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
    with open("model/model.safetensors", "r+b") as file:
        file.truncate(100_000)
    assert "model.safetensors" in refused("Hello.", "-m", "model", "-o", "a.wav", code=1)


def test_a_long_text_streams_at_once_and_stops_with_its_reader():
    Path("text").write_text("The quick brown fox jumps over the lazy dog. " * 23_000)  # a million characters
    process = subprocess.Popen(
        [*COMMAND, "-q", "-f", "text", "--stream", "--raw"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert len(process.stdout.read(24_000)) == 24_000
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 0
    process.stderr.close()


@pytest.mark.parametrize("options", [(), ("--stream",)])
def test_interrupt(options):
    Path("text").write_text("The quick brown fox jumps over the lazy dog. " * 2000)
    process = subprocess.Popen([*COMMAND, "-q", "-f", "text", "-o", "a.wav", *options], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not any(name.endswith(".part") for name in os.listdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 130
    assert time.monotonic() - started < allowed(2)
    assert os.listdir() == ["text"]
