"""--speed, --rate, --max-seconds and telephony formats: with a stand-in for the synthesizer, and as a process."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import standin
from helpers import TESTS
from standin import samples_of

from qwen3tts_cli.audio.output_chain import OutputChain
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.common.sample_conversion import to_pcm16
from qwen3tts_cli.output import player

PROGRAM = [sys.executable, str(TESTS / "standin.py")]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def say(monkeypatch, capfd):
    """A function that runs `say` with the stand-in in this process; returns stderr."""
    monkeypatch.setitem(sys.modules, "qwen3tts_cli.speech.synthesizer", standin.module())
    monkeypatch.setattr(
        "qwen3tts_cli.speech.synthesizer", sys.modules["qwen3tts_cli.speech.synthesizer"], raising=False
    )

    def say(*arguments, code=0):
        assert cli.run(["say", "-q", "--seed", "5", "30 frames", *arguments]) == code
        return capfd.readouterr().err

    return say


def piped(*arguments, quiet=True):
    command = [*PROGRAM, "say", *["-q"][: int(quiet)], "--seed", "5", "30 frames", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected(speed=1.0, rate=24000, seconds=None):
    """The samples of the stand-in after the output chain, fed at once."""
    chain = OutputChain(speed, rate, seconds)
    return np.concatenate([chain.feed(samples_of(5, 30)), chain.finish()])


@pytest.mark.parametrize(("speed", "rate", "seconds"), [(1.3, 24000, None), (1, 8000, 1.5), (0.5, 48000, 4)])
def test_files_streams_and_reports(say, speed, rate, seconds):
    options = ["--speed", str(speed), "--rate", str(rate), *(["--max-seconds", str(seconds)] if seconds else [])]
    pcm = to_pcm16(expected(speed, rate, seconds)).tobytes()
    say(*options, "-o", "a.wav", "--json", "a.json", "--codes", "a.npy")
    assert Path("a.wav").read_bytes()[44:] == pcm
    assert soundfile.info("a.wav").samplerate == rate
    say(*options, "-o", "b.wav", "--stream")
    assert Path("b.wav").read_bytes() == Path("a.wav").read_bytes()
    assert piped(*options, "--stream")[44:] == pcm
    assert piped(*options, "--stream", "--raw") == pcm
    facts = json.loads(Path("a.json").read_text())
    assert (facts["speed"], facts["sample_rate"], facts["seconds"]) == (speed, rate, len(pcm) / 2 / rate)
    assert facts["stop"] == ("max_seconds" if seconds else "eos")
    assert facts["pcm_sha256"] == hashlib.sha256(pcm).hexdigest()
    assert len(np.load("a.npy")) == facts["frames"] == 30


def test_the_defaults_change_nothing(say):
    say("-o", "a.wav")
    say("-o", "b.wav", "--speed", "1", "--rate", "24000")
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()
    assert Path("a.wav").read_bytes()[44:] == to_pcm16(samples_of(5, 30)).tobytes()


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus", "mp3", "wav"])
@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_formats_have_the_rate(say, kind, rate):
    if kind == "opus" and rate == 22050:
        assert "--rate 22050: .opus has OPUS only at 8000" in say("-o", "a.opus", "--rate", "22050", code=2)
        return
    say("-o", f"a.{kind}", "--rate", str(rate))
    info, samples = soundfile.info(f"a.{kind}"), len(expected(rate=rate))
    assert info.samplerate == rate
    assert samples <= info.frames <= samples + 2400 + 0.1 * rate  # the padding of MP3 encoders
    data = piped("--stream", "--audio-format", kind, "--rate", str(rate))
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        file.seekable = lambda: False
        assert file.samplerate == rate
        assert samples <= len(file.read(1 << 20)) <= samples + 2400 + 0.1 * rate


@pytest.mark.parametrize(("rate", "kilobits"), [(8000, 32), (16000, 64), (24000, 64), (44100, 96), (48000, 96)])
def test_the_constant_bit_rate_of_a_stream_of_mp3(rate, kilobits):
    """Readers compute the length of a stream from it. The stand-in is noise, which fills every frame."""
    data = piped("--stream", "--audio-format", "mp3", "--rate", str(rate))
    seconds = len(expected(rate=rate)) / rate
    assert 8 * len(data) / 1000 / seconds == pytest.approx(kilobits, rel=0.15)


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_telephony(say, subtype):
    """8 bits a sample, in WAV and without a header, in files and pipes; decoded: the 16-bit samples, rounded."""
    options = ("--rate", "8000", "--subtype", subtype.lower())
    want = to_pcm16(expected(rate=8000)).astype(int)
    say(*options, "-o", "a.wav")
    info = soundfile.info("a.wav")
    assert (info.format, info.subtype, info.samplerate, info.frames) == ("WAV", subtype, 8000, len(want))
    decoded = soundfile.read("a.wav", dtype="int16")[0].astype(int)
    assert (np.abs(decoded - want) <= 16 + np.abs(want) / 16).all()
    say(*options, "--raw", "-o", "a.raw")
    raw = Path("a.raw").read_bytes()
    assert len(raw) == len(want)
    assert Path("a.wav").read_bytes()[-len(raw) :] == raw
    assert piped(*options, "--raw", "--stream") == raw
    assert piped(*options, "--stream")[-len(raw) :] == raw
    again, _ = soundfile.read("a.raw", dtype="int16", channels=1, samplerate=8000, format="RAW", subtype=subtype)
    assert np.array_equal(again, decoded)
    assert "--raw writes PCM_16, ULAW or ALAW" in say("--raw", "--subtype", "PCM_24", "-o", "a", code=2)
    assert "not available for .flac" in say("--rate", "8000", "--subtype", subtype, "-o", "a.flac", code=2)


def test_settings(say, monkeypatch, tmp_path):
    folder = tmp_path / "config" / "qwen3tts"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("speed = 1.5\nrate = 16000\n")
    say("-o", "a.wav")
    assert Path("a.wav").read_bytes()[44:] == to_pcm16(expected(1.5, 16000)).tobytes()
    monkeypatch.setenv("QWEN3TTS_SPEED", "2")
    monkeypatch.setenv("QWEN3TTS_RATE", "8000")
    say("-o", "a.wav")
    assert Path("a.wav").read_bytes()[44:] == to_pcm16(expected(2, 8000)).tobytes()
    say("-o", "a.wav", "--speed", "1", "--rate", "24000")
    assert Path("a.wav").read_bytes()[44:] == to_pcm16(samples_of(5, 30)).tobytes()
    monkeypatch.setenv("QWEN3TTS_SPEED", "3")
    assert "QWEN3TTS_SPEED: 3 is not a number from 0.5 to 2" in say("-o", "a.wav", code=2)
    monkeypatch.delenv("QWEN3TTS_SPEED")
    monkeypatch.setenv("QWEN3TTS_RATE", "44.1k")
    assert "QWEN3TTS_RATE: 44.1k is not one of 8000" in say("-o", "a.wav", code=2)


def test_the_player_gets_the_rate(say, monkeypatch):
    heard = []

    class Player:
        def __init__(self, rate):
            heard.append(rate)

        def write(self, samples):
            heard.append(samples)

        def finish(self):
            pass

    monkeypatch.setattr(player, "unavailable_reason", lambda: None)
    monkeypatch.setattr(player, "PlayerSink", Player)
    say("--play", "--rate", "48000", "--speed", "1.2")
    assert heard[0] == 48000
    assert np.array_equal(np.concatenate(heard[1:]), expected(1.2, 48000))


@pytest.mark.parametrize(
    ("subtype", "alsa", "ffmpeg"),
    [("PCM_16", "S16_LE", "s16le"), ("ULAW", "MU_LAW", "mulaw"), ("ALAW", "A_LAW", "alaw")],
)
def test_the_hint_for_raw_audio_names_rate_and_subtype(monkeypatch, subtype, alsa, ffmpeg):
    from qwen3tts_cli.cli.commands import say_output

    given = dict.fromkeys(("audio_format", "default_format", "default_subtype", "report", "codes", "file", "ref"))
    given |= {"output": "-", "stream": True, "play": False, "subtype": subtype, "raw": True, "rate": 8000}
    given |= {"voice": None, "model": None, "server": None, "timings": False}
    output = say_output.SayOutput(given)
    monkeypatch.setattr(say_output.stat, "S_ISFIFO", lambda mode: True)
    hint = output.player_hint()
    assert f"aplay -t raw -f {alsa} -r 8000" in hint
    assert f"ffplay -f {ffmpeg} -ar 8000" in hint


def test_the_embedded_voice_and_preview(run):
    run("say", "-q", "--seed", "1", "--speed", "1.5", "Good morning.", "-o", "a.wav", "--codes", "a.npy")
    run("say", "-q", "--seed", "1", "Good morning.", "-o", "b.wav", "--codes", "b.npy")
    assert Path("a.npy").read_bytes() == Path("b.npy").read_bytes()
    assert soundfile.info("a.wav").frames == round(soundfile.info("b.wav").frames / 1.5)
    run("voices", "preview", "slt", "--speed", "1.5", "-o", "c.wav", "--text", "Good morning.", "-q")
    assert Path("c.wav").read_bytes() == Path("a.wav").read_bytes()
    assert "--speed" in run("voices", "preview", "slt", "--speed", "4", "-o", "c.wav", code=2)[1]
