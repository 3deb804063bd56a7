"""`say` from its options to its files, with a stand-in for the synthesizer."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import standin
from helpers import CHECKPOINTS
from standin import samples_of

from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.common.sample_conversion import to_pcm16


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Installs the stand-in and a working folder; the list of (text, options) of its calls of `speak`."""
    monkeypatch.setitem(sys.modules, "qwen3tts_cli.speech.synthesizer", standin.module())
    monkeypatch.setattr(
        "qwen3tts_cli.speech.synthesizer", sys.modules["qwen3tts_cli.speech.synthesizer"], raising=False
    )
    monkeypatch.chdir(tmp_path)
    standin.Synthesizer.opened.calls.clear()
    return standin.Synthesizer.opened.calls


@pytest.fixture
def say(calls, capfd):
    def say(*arguments, code=0):
        returned = cli.run(["say", *arguments])
        err = capfd.readouterr().err
        assert returned == code, err
        assert "Traceback" not in err
        return err

    return say


def refused(say, *arguments, code=2):
    before = sorted(os.listdir())
    (line,) = say("-q", *arguments, code=code).splitlines()
    assert line.startswith(("error: ", "internal error: "))
    assert sorted(os.listdir()) == before
    return line


def test_files_agree(say):
    for name, more in (("a.wav", ()), ("f.wav", ("--subtype", "float")), ("a.flac", ()), ("a.raw", ("--raw",))):
        say("-q", "--seed", "5", "Hello.", "-o", name, *more)
    expected = to_pcm16(samples_of(5, 10))
    assert soundfile.read("a.wav", dtype="int16")[0].tobytes() == expected.tobytes()
    assert soundfile.read("a.flac", dtype="int16")[0].tobytes() == expected.tobytes()
    assert Path("a.raw").read_bytes() == expected.tobytes()
    assert np.array_equal(soundfile.read("f.wav", dtype="float32")[0], samples_of(5, 10))


def test_stdout_has_one_header(calls, capfdbinary):
    assert cli.run(["say", "-q", "--seed", "5", "40 frames"]) == 0
    data, err = capfdbinary.readouterr()
    assert err == b""
    assert data[44:] == to_pcm16(samples_of(5, 40)).tobytes()
    assert soundfile.info(io.BytesIO(data)).frames == 40 * 1920
    assert cli.run(["say", "-q", "--seed", "5", "40 frames", "--raw", "-o", "-"]) == 0
    assert capfdbinary.readouterr().out == data[44:]


def test_report(say):
    say("-q", "--seed", "18446744073709551615", "-v", "Ryan", "-l", "EN", "Hello.", "-o", "a.wav", "--json", "a.json")
    with open("a.json") as file:
        facts = json.load(file)
    assert list(facts) == [
        "frames",
        "seconds",
        "rtf",
        "first_audio_ms",
        "seed",
        "sample_rate",
        "speed",
        "stop",
        "pcm_sha256",
        "model",
        "voice",
        "language",
        "precision",
        "threads",
        "batch",
        "timings",
    ]
    digest = hashlib.sha256(to_pcm16(samples_of((1 << 64) - 1, 10)).tobytes()).hexdigest()
    rtf, timings = facts.pop("rtf"), facts.pop("timings")
    assert rtf > 0
    assert timings["text_ms"] == 250
    assert timings["start_ms"] + timings["open_ms"] <= timings["first_audio_ms"] <= timings["total_ms"]
    assert facts == {
        "frames": 10,
        "seconds": 0.8,
        "first_audio_ms": 125,
        "seed": (1 << 64) - 1,
        "sample_rate": 24000,
        "speed": 1.0,
        "stop": "eos",
        "pcm_sha256": digest,
        "model": "pocket",
        "voice": "Ryan",
        "language": "EN",
        "precision": "bf16",
        "threads": 2,
        "batch": 4,
    }


def test_timings(say):
    lines = say("-q", "Hello.", "-o", "a.wav", "--timings").splitlines()
    assert [line[:16].strip() for line in lines] == [
        *("start-up", "open model", "text", "talker", "output", "total", "first audio")
    ]
    assert lines[2].split()[1:3] == ["250.0", "ms"]


def test_report_on_stderr_and_the_drawn_seed(say, calls):
    facts = json.loads(say("-q", "Hello.", "-o", "a.flac", "--subtype", "PCM_24", "--json", "-"))
    assert facts["seed"] == calls[0][1].seed
    assert facts["pcm_sha256"] == hashlib.sha256(to_pcm16(samples_of(facts["seed"], 10)).tobytes()).hexdigest()
    say("-q", "Hello.", "-o", "b.wav")
    assert calls[1][1].seed != facts["seed"]
    err = say("Hello.", "-o", "b.wav")
    assert f"seed {calls[2][1].seed}" in err


def test_codes(say):
    say("-q", "Hello.", "-o", "a.wav", "--codes", "codes")
    codes = np.load("codes")
    assert codes.dtype == np.int32
    assert codes.shape == (10, 16)
    say("-q", "0 frames", "-o", "a.wav", "--codes", "codes")
    assert np.load("codes").shape == (0, 16)
    assert soundfile.info("a.wav").frames == 0


def test_options_reach_the_engine(say, calls):
    say("-q", "-o", "a.wav", " Hello. ")
    text, plain = calls[0]
    assert text == " Hello. "
    assert plain == standin.SpeakOptions(seed=plain.seed)
    say(
        *("-q", "-o", "a.wav", "Hello.", "-v", "none", "-l", "auto", "--instruct", "slowly", "--greedy", "--stream"),
        *("--temperature", "0", "--top-k", "0", "--top-p", "0.5", "--repetition-penalty", "1.1", "--seed", "7"),
        *("--subtalker-temperature", "0", "--subtalker-top-k", "3", "--subtalker-top-p", "1", "--max-frames", "9"),
        *("--text-mode", "STREAMING", "--no-split", "--retries", "0"),
        *("--max-seconds", "1.5", "--speed", "0.5", "--rate", "16000"),
    )
    assert calls[1][1] == standin.SpeakOptions(
        voice="none",
        language="auto",
        instruct="slowly",
        seed=7,
        greedy=True,
        temperature=0.0,
        top_k=0,
        top_p=0.5,
        repetition_penalty=1.1,
        subtalker_temperature=0.0,
        subtalker_top_k=3,
        subtalker_top_p=1.0,
        max_frames=9,
        max_seconds=1.5,
        speed=0.5,
        rate=16000,
        text_mode="streaming",
        split=False,
        retries=0,
        live=True,
    )


@pytest.mark.parametrize(
    ("options", "samples", "stop"),
    [
        (("--max-seconds", "1"), 24000, "max_seconds"),
        (("--max-seconds", "0.56"), 13440, "max_seconds"),
        (("--max-seconds", "0.01"), 240, "max_seconds"),
        (("--max-seconds", "0.29", "--rate", "8000"), 2320, "max_seconds"),
        (("--max-seconds", "1", "--speed", "1.5"), 24000, "max_seconds"),
        (("--max-seconds", "2", "--max-frames", "30"), 48000, "max_seconds"),
        (("--max-seconds", "2", "--max-frames", "3"), 3 * 1920, "max_frames"),
        (("--max-seconds", "5"), 50 * 1920, "eos"),
    ],
)
def test_limits(say, options, samples, stop):
    say("-q", "-o", "a.wav", "50 frames", *options, "--json", "a.json")
    assert soundfile.info("a.wav").frames == samples
    with open("a.json") as file:
        facts = json.load(file)
    assert (facts["stop"], facts["seconds"]) == (stop, samples / facts["sample_rate"])


def test_the_note_about_large_models_comes_once(say, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert say("-q", "Hello.", "-o", "a.wav") == ""
    line = "qwen3tts models pull 0.6b"
    assert line not in say("-m", "pocket", "Hello.", "-o", "a.wav")
    assert line in say("Hello.", "-o", "a.wav")
    assert line not in say("Hello.", "-o", "a.wav")
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/no")
    assert line in say("Hello.", "-o", "a.wav")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Hello.", "-o", "a.aac"), "known are .wav, .flac, .ogg, .opus, .mp3"),
        (("Hello.", "-o", "a.flac", "--subtype", "FLOAT"), "PCM_16"),
        (("Hello.", "-o", "a.wav", "--raw", "--subtype", "FLOAT"), "--raw"),
        (("Hello.", "-o", "a.wav", "--audio-format", "mp3"), "--audio-format mp3: a.wav has the extension of another"),
        (("Hello.", "-o", "a.opus", "--audio-format", "ogg"), "--audio-format ogg: a.opus has the extension"),
        (("Hello.", "-o", "a", "--audio-format", "aac"), "--audio-format"),
        (("Hello.", "-o", "a", "--audio-format", "wav", "--raw"), "leave one of it and --raw out"),
        (("Hello.", "-o", "a", "--audio-format", "mp3", "--subtype", "FLOAT"), "--subtype FLOAT"),
        (("Hello.", "-o", "new/", "--raw"), "no such folder"),
        (("Hello.", "-o", "a.wav", "--json", "new/"), "no such folder"),
        (("Hello.", "-o", ""), "empty"),
        (("Hello.", "-o", "a.wav", "--codes", "-"), "--codes"),
        (("Hello.", "-o", "a.wav", "--json", "./a.wav"), "--output"),
        (
            ("Hello.", "-o", "a.wav", "--decoder-precision", "bf16"),
            "--decoder-precision: 'bf16' is not one of auto, f32",
        ),
        (("Hello.", "-o", "a.wav", "--precision", "int3"), "int3"),
        (("Hello.", "-o", "a.wav", "--threads", "0"), "--threads"),
        (("Hello.", "-o", "a.wav", "--seed", "18446744073709551616"), "--seed"),
        (("Hello.", "-o", "a.wav", "--seed", "-1"), "--seed"),
        (("Hello.", "-o", "a.wav", "--temperature", "nan"), "--temperature"),
        (("Hello.", "-o", "a.wav", "--temperature", "-1"), "--temperature"),
        (("Hello.", "-o", "a.wav", "--top-p", "0"), "--top-p"),
        (("Hello.", "-o", "a.wav", "--top-p", "1.1"), "--top-p"),
        (("Hello.", "-o", "a.wav", "--top-k", "1e3"), "--top-k"),
        (("Hello.", "-o", "a.wav", "--repetition-penalty", "inf"), "--repetition-penalty"),
        (("Hello.", "-o", "a.wav", "--max-frames", "0"), "--max-frames"),
        (("Hello.", "-o", "a.wav", "--max-seconds", "0.0001"), "--max-seconds: 0.0001 is not a number from 0.001"),
        (("Hello.", "-o", "a.wav", "--speed", "0.4"), "--speed: 0.4 is not a number from 0.5 to 2"),
        (("Hello.", "-o", "a.wav", "--speed", "2.01"), "--speed"),
        (("Hello.", "-o", "a.wav", "--speed", "nan"), "--speed"),
        (("Hello.", "-o", "a.wav", "--rate", "11025"), "11025 is not one of 8000, 16000, 22050, 24000, 44100, 48000"),
        (("Hello.", "-o", "a.wav", "--rate", "8e3"), "--rate"),
        (("Hello.", "-o", "a.opus", "--rate", "44100"), "OPUS only at 8000, 16000, 24000, 48000 Hz"),
        (("Hello.", "-o", "a.wav", "--text-mode", "half"), "--text-mode"),
        (("Hello.", "-o", "a.wav", "--retries", "-1"), "--retries"),
        (("Hello.", "-o", "a.wav", "--batch", "0x"), "--batch"),
        (("Hello.", "-o", "a.wav", "--batch", "65"), "65 is neither auto nor a whole number from 1 to 64"),
        (("Hello.", "-o", "a.wav", "--voise", "x"), "--voice"),
        (("Hello.", "-o", "a.wav", "-v", "ryna"), "did you mean ryan?"),
        (("Hello", "world.", "-o", "a.wav"), "quotes"),
        (("Hello.", "-f", "text", "-o", "a.wav"), "--file"),
        (("-f", "nowhere.txt", "-o", "a.wav"), "nowhere.txt"),
        (("-f", ".", "-o", "a.wav"), "directory"),
        (("", "-o", "a.wav"), "empty"),
        ((" \n", "-o", "a.wav"), "empty"),
        (("caf\udce9", "-o", "a.wav"), "not valid UTF-8: byte 0xE9 at character 3"),
        (("a", "--instruct", "\udcff", "-o", "a.wav"), "--instruct: not valid UTF-8"),
        (("a", "-m", "\0", "-o", "a.wav"), "NUL"),
    ],
)
def test_usage_errors(say, arguments, message):
    assert message in refused(say, *arguments)


def test_texts_that_look_like_options(say, calls):
    for text in ("-5 degrees", "--help", "-q"):
        say("-q", "-o", "a.wav", "--", text)
        assert calls[-1][0] == text


def test_texts_from_files(say, calls):
    with open("text", "wb") as file:
        file.write("\ufeff\n  Grüße,\nWelt! \n".encode())
    say("-q", "-f", "text", "-o", "a.wav")
    assert calls[0][0] == "Grüße,\nWelt!"
    for content, message in (
        (b"caf\xe9", "text: not valid UTF-8: byte 0xE9 at offset 3"),
        (b" \n", "empty"),
        (b"a" * 16_000_001, "16,000,000 bytes"),
    ):
        with open("text", "wb") as file:
            file.write(content)
        assert message in refused(say, "-f", "text", "-o", "a.wav")


@pytest.mark.parametrize("source", ["file", "stdin", "file of -"])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"it was\r\nthe worst\r\n\r\nof times\r\n", "it was\nthe worst\n\nof times"),
        (b"it was\rthe worst\r\rof times\r", "it was\nthe worst\n\nof times"),
        (b"\xef\xbb\xbfa\r\nb\rc\nd", "a\nb\nc\nd"),
        (b"a" * 8191 + b"\r\nb", "a" * 8191 + "\nb"),
    ],
)
def test_lines_of_a_text_that_is_read_end_in_lf(say, calls, monkeypatch, source, content, lines):
    with open("text", "wb") as file:
        file.write(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    say("-q", "-o", "a.wav", *{"file": ["-f", "text"], "stdin": [], "file of -": ["-f", "-"]}[source])
    assert calls[0][0] == lines


def test_text_of_an_argument_keeps_its_line_ends(say, calls):
    say("-q", "a\r\nb\rc", "-o", "a.wav")
    assert calls[0][0] == "a\r\nb\rc"


def test_models(say):
    assert "qwen3tts models pull 0.6b" in refused(say, "Hello.", "-o", "a.wav", "-m", "0.6B", code=3)
    assert "qwen3tts models pull org/model" in refused(say, "Hello.", "-o", "a.wav", "-m", "org/model", code=3)
    assert "did you mean pocket?" in refused(say, "Hello.", "-o", "a.wav", "-m", "poket", code=3)
    say("-q", "Hello.", "-o", "a.wav", "-m", str(CHECKPOINTS / "tiny-customvoice"), "--json", "a.json")
    with open("a.json") as file:
        assert json.load(file)["model"] == str(CHECKPOINTS / "tiny-customvoice")


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("runaway", 4, "error: the text ran away after 3 attempts"),
        ("bug", 1, "internal error: ZeroDivisionError: not expected (QWEN3TTS_DEBUG=1 shows where)"),
        ("memory", 1, "error: out of memory"),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.ogg"])
def test_failures_leave_nothing(say, text, code, message, name):
    more = ("--codes", "a.npy", "--json", "a.json", "--stream")
    assert refused(say, text, "-o", name, *more, code=code) == message
    with open(name, "w") as file:
        file.write("old")
    refused(say, text, "-o", name, code=code)
    with open(name) as file:
        assert file.read() == "old"


def test_the_seed_of_a_failure_is_reported(say, calls):
    err = say("runaway", "-o", "a.wav", code=4)
    assert f"seed {calls[-1][1].seed}\n" in err


def test_debug_shows_the_traceback(calls, capfd, monkeypatch):
    monkeypatch.setenv("QWEN3TTS_DEBUG", "1")
    assert cli.run(["say", "bug", "-o", "a.wav"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_outputs_that_cannot_be_written(say, tmp_path):
    assert "no folder" in refused(say, "Hello.", "-o", "no/a.wav", code=1)
    assert "no folder" in refused(say, "Hello.", "-o", "a.wav", "--codes", "no/a.npy", code=1)
    assert "No space left" in refused(say, "Hello.", "-o", "/dev/full", code=1)
    assert "No space left" in refused(say, "Hello.", "-o", "a.wav", "--json", "/dev/full", code=1)
    os.mkdir("folder.wav")
    assert "folder.wav: a folder; name a file" in refused(say, "Hello.", "-o", "folder.wav")
    if os.path.isdir("/proc/self"):  # a folder in which even root cannot create a file
        refused(say, "Hello.", "-o", "/proc/a.wav", code=1)
    say("-q", "Hello.", "-o", "/dev/null")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(say, tmp_path):
    os.chmod(tmp_path, 0o555)
    try:
        assert "Permission denied" in refused(say, "Hello.", "-o", "a.wav", code=1)
    finally:
        os.chmod(tmp_path, 0o755)


def test_playing(say, monkeypatch):
    from qwen3tts_cli.output import player

    heard = []

    class Player:
        def __init__(self, rate):
            assert rate == 24000

        def write(self, samples):
            heard.append(samples)

        def finish(self):
            heard.append("end")

        def discard(self):
            heard.append("discarded")

    monkeypatch.setattr(player, "unavailable_reason", lambda: None)
    monkeypatch.setattr(player, "PlayerSink", Player)
    say("-q", "--seed", "1", "--play", "Hello.")
    assert np.array_equal(np.concatenate(heard[:-1]), samples_of(1, 10))
    assert heard.pop() == "end"
    assert os.listdir() == []
    say("-q", "--play", "Hello.", "-o", "a.wav")
    assert os.listdir() == ["a.wav"]
    say("-q", "--play", "runaway", code=4)
    assert heard.pop() == "discarded"
    refused(say, "--play", "--raw", "Hello.")
    monkeypatch.setattr(player, "unavailable_reason", lambda: "no device")
    assert "no device" in refused(say, "--play", "Hello.", code=1)
