"""--audio-format, and formats of libsndfile on pipes, with a stand-in for the synthesizer."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import standin
from helpers import CHECKPOINTS, DATA, TESTS, allowed
from standin import samples_of

from qwen3tts_cli.audio.codec import codes_bytes
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.common.sample_conversion import to_pcm16
from qwen3tts_cli.output import formats

PROGRAM = [sys.executable, str(TESTS / "standin.py")]
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
SPOKEN = samples_of(5, 30)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def say(*arguments, stdout=subprocess.PIPE):
    command = [*PROGRAM, "say", "-q", "--seed", "5", "30 frames", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    return done


@pytest.fixture
def say_here(monkeypatch, capfd):
    """A function that runs `say` in this process, for outputs that are files."""
    monkeypatch.setitem(sys.modules, "qwen3tts_cli.speech.synthesizer", standin.module())
    monkeypatch.setattr(
        "qwen3tts_cli.speech.synthesizer", sys.modules["qwen3tts_cli.speech.synthesizer"], raising=False
    )

    def say_here(*arguments, code=0):
        assert cli.run(["say", "-q", "--seed", "5", "30 frames", *arguments]) == code
        return capfd.readouterr().err

    return say_here


def check(data, kind):
    """Assert that `data` holds all of the speech, in this format."""
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert (file.format, file.subtype, file.samplerate) == (*FORMATS[kind], 24000)
        file.seekable = lambda: False  # soundfile cannot seek to the end of a file without a length
        samples = file.read(1 << 20, "float32")
    assert len(SPOKEN) <= len(samples) <= len(SPOKEN) + 4800
    if FORMATS[kind][1] == "PCM_16":
        assert to_pcm16(samples * 32768 / 32767).tobytes() == to_pcm16(SPOKEN).tobytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_option_names_the_format_where_no_extension_does(say_here, kind):
    option = ("--audio-format", kind)
    piped = say(*option, "--stream").stdout
    check(piped, kind)
    for name in ("speech", "speech.v2", f"speech.{kind}"):
        say_here(*option, "-o", name)
        assert Path(name).read_bytes() == Path("speech").read_bytes()
    check(Path("speech").read_bytes(), kind)
    with open("redirected", "wb") as file:
        say(*option, "-o", "-", stdout=file)
    assert Path("redirected").read_bytes() == Path("speech").read_bytes()
    os.mkfifo("fifo")
    read = []
    thread = threading.Thread(target=lambda: read.append(Path("fifo").read_bytes()))
    thread.start()
    say_here(*option, "-o", "fifo")
    thread.join()
    assert read == [piped]
    if kind in ("ogg", "opus"):
        assert piped == Path("speech").read_bytes()


def test_the_formats_are_those_of_the_extensions():
    option = next(each for each in cli.cli.get_command(None, "say").params if each.name == "audio_format")
    assert list(option.type.choices) == list(FORMATS) == list(formats.EXTENSIONS)


def test_the_bytes_do_not_depend_on_the_name_of_stdout():
    option = ("--audio-format", "opus")
    piped = say(*option).stdout
    for output in (("-o", "-"), ("-o", "/dev/stdout"), ("--stream",), ("--stream", "-o", "/dev/fd/1")):
        assert say(*option, *output).stdout == piped


def test_an_extension_of_the_same_container_may_hold_it(say_here):
    say_here("--audio-format", "opus", "-o", "a.ogg")
    say_here("-o", "a.opus")
    assert Path("a.ogg").read_bytes() == Path("a.opus").read_bytes()


def test_a_conflict_is_named(say_here):
    line = say_here("--audio-format", "flac", "-o", "a.wav", code=2)
    assert line == "error: --audio-format flac: a.wav has the extension of another format, change one of them\n"
    assert "leave one of it and --raw out" in say_here("--audio-format", "FLAC", "--raw", "-o", "a", code=2)
    assert os.listdir() == []


def test_a_default_format_is_for_outputs_without_extension(say_here, monkeypatch):
    os.makedirs("config/qwen3tts")
    Path("config/qwen3tts/config.toml").write_text('audio_format = "flac"\n')
    check(say().stdout, "flac")
    assert say("--raw").stdout == to_pcm16(SPOKEN).tobytes()
    for kind in ("flac", "opus"):
        if kind == "opus":
            monkeypatch.setenv("QWEN3TTS_AUDIO_FORMAT", kind)
        say_here("-o", "a.wav")
        check(Path("a.wav").read_bytes(), "wav")
        say_here("-o", "speech")
        check(Path("speech").read_bytes(), kind)
        assert "unknown extension .aac" in say_here("-o", "a.aac", code=2)
        say_here("-o", "speech", "--audio-format", "wav")
        check(Path("speech").read_bytes(), "wav")
    monkeypatch.setenv("QWEN3TTS_AUDIO_FORMAT", "aac")
    assert "QWEN3TTS_AUDIO_FORMAT: " in say_here("-o", "speech", code=2)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3"])
def test_same_seed_same_file(say_here, name):
    say_here("-o", name)
    first = Path(name).read_bytes()
    say_here("-o", name, "--stream")
    assert Path(name).read_bytes() == first


@pytest.mark.parametrize("kind", ["flac", "opus", "mp3"])
def test_a_stream_is_written_while_it_is_generated(kind):
    """Audio is in the pipe long before the end of 200 frames, each of which takes 50 ms."""
    command = [*PROGRAM, "say", "-q", "slow 200 frames", "--stream", "--audio-format", kind]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        started = time.monotonic()
        assert len(process.stdout.read(2000)) == 2000
        assert time.monotonic() - started < allowed(5)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_a_note_says_that_vorbis_begins_late():
    note = b"Ogg Vorbis"
    run = [*PROGRAM, "say", "Hello.", "--stream", "--audio-format"]
    for more, told in (
        (["ogg"], True),
        (["ogg", "-q"], False),
        (["opus"], False),
        (["ogg", "--subtype", "opus"], False),
    ):
        done = subprocess.run([*run, *more], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        assert done.returncode == 0
        assert (note in done.stderr) is told


@pytest.mark.parametrize("kind", ["wav", "flac", "opus", "mp3"])
@pytest.mark.parametrize("stream", [(), ("--stream",)])
def test_an_interrupt_does_not_wait_for_a_pipe_that_nobody_reads(kind, stream):
    command = [*PROGRAM, "say", "-q", "5000 frames", "--audio-format", kind, *stream]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert process.wait(30) == 130
    assert time.monotonic() - started < allowed(5)
    assert process.communicate()[1] == b""


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus", "mp3"])
def test_a_reader_that_leaves_and_a_full_disk(kind):
    command = [*PROGRAM, "say", "-q", "5000 frames", "--audio-format", kind]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"error: standard output: No space left on device\n")


@pytest.mark.parametrize("kind", ["flac", "opus", "mp3", "wav"])
def test_a_failure_after_some_speech(kind):
    """A file is removed; a stream ends properly after the last good frame."""
    with open("out", "wb") as file:
        done = subprocess.run(
            [*PROGRAM, "say", "-q", "runaway", "--audio-format", kind], stdout=file, stderr=subprocess.PIPE
        )
        assert done.returncode == 4
        assert os.fstat(file.fileno()).st_size == 0
    for out in ("file", "pipe"):
        with open("out", "wb") as file:
            how = {"stdout": file if out == "file" else subprocess.PIPE, "stderr": subprocess.DEVNULL}
            done = subprocess.run([*PROGRAM, "say", "-q", "runaway", "--stream", "--audio-format", kind], **how)
        data = Path("out").read_bytes() if out == "file" else done.stdout
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            sound.seekable = lambda: False
            assert 5 * 1920 <= len(sound.read(1 << 20)) <= 5 * 1920 + 3000


def test_codec_decode_takes_audio_format_too(capfd):
    Path("codes.safetensors").write_bytes(codes_bytes(np.zeros((5, 16), np.int32), {}))
    decode = ["codec", "decode", "codes.safetensors", "-m", str(CHECKPOINTS / "tiny-base"), "-q", "--audio-format"]
    done = subprocess.run([*PROGRAM, *decode, "flac", "-o", "-"], stdout=subprocess.PIPE, timeout=60)
    assert done.stdout[:4] == b"fLaC"
    assert cli.run([*decode, "mp3", "-o", "speech"]) == 0
    assert soundfile.info("speech").format == "MP3"
    assert cli.run([*decode, "mp3", "-o", "a.wav"]) == 2
    assert "--audio-format mp3" in capfd.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("codec", "decode", "codes.safetensors"),
        ("codec", "encode", str(DATA / "wavs" / "ref24k.wav")),
        ("say", "Hello."),
    ],
)
def test_no_command_writes_binary_to_a_terminal(command):
    Path("codes.safetensors").write_bytes(codes_bytes(np.zeros((5, 16), np.int32), {}))
    master, slave = pty.openpty()
    arguments = [*PROGRAM, *command, "-o", "-", "-m", str(CHECKPOINTS / "tiny-base")]
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE, timeout=60)
    os.close(slave)
    os.close(master)
    assert done.returncode == 2
    assert b"is not written to a terminal, name a file or pipe it" in done.stderr


@pytest.mark.parametrize("source", ["file", "variable"])
def test_a_default_subtype_is_for_the_formats_that_have_it(say_here, monkeypatch, source):
    if source == "file":
        os.makedirs("config/qwen3tts")
        Path("config/qwen3tts/config.toml").write_text('subtype = "pcm-24"\n')
    else:
        monkeypatch.setenv("QWEN3TTS_SUBTYPE", "pcm-24")
    for name, subtype in (("a.wav", "PCM_24"), ("a.flac", "PCM_24"), ("a.opus", "OPUS"), ("a.ogg", "VORBIS")):
        say_here("-o", name)
        assert soundfile.info(name).subtype == subtype
    assert say("--raw").stdout == to_pcm16(SPOKEN).tobytes()
    assert "--subtype PCM_24: not available" in say_here("--subtype", "pcm_24", "-o", "a.opus", code=2)
    monkeypatch.setenv("QWEN3TTS_SUBTYPE", "nothing")
    assert "--subtype NOTHING: not available for .wav" in say_here("-o", "a.wav", code=2)
