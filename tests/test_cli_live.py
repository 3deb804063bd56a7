"""`say --live` as a process: the text comes slowly through a pipe, a terminal or a FIFO, and is heard meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time

import numpy as np
import pytest
from helpers import CHECKPOINTS, allowed

from qwen3tts_cli.cli.commands.say_text import read_live
from qwen3tts_cli.common.sample_conversion import to_pcm16
from qwen3tts_cli.speech.synthesizer import SpeakOptions, Synthesizer

COMMAND = [sys.executable, "-m", "qwen3tts_cli", "say"]
TINY = CHECKPOINTS / "tiny-customvoice"
# The random weights of the checkpoint never end an utterance.
OPEN_TEXT = ("-m", str(TINY), "--max-frames", "40", "--retries", "0")
LONG = b"This sentence has more words than the first thirteen tokens, with which its speech begins"
FRAME = 3840  # bytes


class Live:
    """A running `say --live --raw`, and what it has written so far."""

    def __init__(self, *arguments, stdin=subprocess.PIPE, env=None, live=("--live",)):
        command = [*COMMAND, *live, "--raw", "--seed", "1", *arguments]
        self.process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})}
        )
        self.heard = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(ValueError, OSError):
            while data := os.read(self.process.stdout.fileno(), 1 << 16):
                self.heard += data

    def write(self, data: bytes) -> None:
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def wait_for(self, size: int) -> None:
        deadline = time.monotonic() + allowed(30)
        while len(self.heard) < size:
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, f"{len(self.heard)} bytes, expected {size}"
            time.sleep(0.01)

    def end(self, code: int = 0) -> tuple[bytes, str]:
        """Close stdin, if it is a pipe, and wait for the end. Returns the audio and the messages."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        messages = self.process.stderr.read().decode()
        assert self.process.wait(allowed(30)) == code, messages
        self._reader.join(allowed(30))
        assert "Traceback" not in messages
        return self.heard, messages


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def utterances(voice):
    """A function that returns the audio of utterances of a text that comes slowly."""

    def audio(*texts: str, **options) -> bytes:
        keyed = enumerate(texts)
        samples = [voice.say(text, seed=1, key=f"live:{number}", split=False, **options) for number, text in keyed]
        return to_pcm16(np.concatenate(samples)).tobytes()

    return audio


@pytest.fixture
def terminal():
    """A pseudo-terminal without echo: (the descriptor of its user, the descriptor for the process)."""
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    yield master, slave
    os.close(slave)
    os.close(master)


def test_sentences_are_heard_while_the_text_comes(utterances):
    live = Live("--idle", "0")
    live.write(b"One. T")
    first = utterances("One.")
    live.wait_for(len(first))
    live.write(b"wo. Three")
    live.wait_for(len(utterances("One.", "Two.")))
    assert live.process.poll() is None
    assert live.end()[0] == utterances("One.", "Two.", "Three")


def test_a_sentence_is_heard_before_it_is_complete():
    live = Live(*OPEN_TEXT, "--idle", "0")
    live.write(LONG)
    live.wait_for(10 * FRAME)
    assert len(live.heard) < 40 * FRAME
    assert live.process.poll() is None
    live.write(b", and it goes on for long after that with even more words, until forty frames are heard.")
    live.wait_for(40 * FRAME)
    assert len(live.end()[0]) == 40 * FRAME


def test_the_limit_ends_the_command_while_the_pipe_is_open():
    live = Live(*OPEN_TEXT, "--max-frames", "5")
    live.write(LONG)
    assert live.process.wait(allowed(30)) == 0
    assert len(live.end()[0]) == 5 * FRAME


def test_text_mode_full_waits_for_the_end_of_a_sentence():
    live = Live(*OPEN_TEXT, "--idle", "0", "--text-mode", "full")
    live.write(LONG)
    time.sleep(1)
    assert not live.heard
    live.write(b". A")
    live.wait_for(40 * FRAME)
    live.end()


def test_a_pause_ends_an_utterance_unless_it_is_inside_a_word(utterances):
    live = Live("--idle", "50")
    live.write(b"One. Two,")
    live.wait_for(len(utterances("One.", "Two,")))
    live.write(b" thr")
    time.sleep(0.3)
    live.write(b"ee. ")
    assert live.end()[0] == utterances("One.", "Two,", "three.")


def test_no_pause_ends_an_utterance_with_idle_0(utterances):
    live = Live("--idle", "0")
    live.write(b"One, ")
    time.sleep(1)
    live.write(b"two.")
    assert live.end()[0] == utterances("One, two.")


def test_lines_are_utterances_with_live_lines(utterances):
    live = Live("--idle", "0", "--live-lines")
    live.write(b"One\ntwo\r\n")
    live.wait_for(len(utterances("One", "two")))
    live.write(b"three\n")
    assert live.end()[0] == utterances("One", "two", "three")
    plain = Live("--idle", "0")
    plain.write(b"One\ntwo\n")
    assert plain.end()[0] == utterances("One\ntwo")


def test_a_terminal_is_read_line_by_line(utterances, terminal):
    master, slave = terminal
    live = Live("--idle", "0", stdin=slave)
    os.write(master, b"One\n")
    live.wait_for(len(utterances("One")))
    os.write(master, b"Two\n")
    live.wait_for(len(utterances("One", "Two")))
    os.write(master, b"\x04")  # Ctrl-D
    assert live.end()[0] == utterances("One", "Two")


def test_a_terminal_and_the_setting_alone_show_the_help(terminal):
    live = Live(stdin=terminal[1], env={"QWEN3TTS_LIVE": "1"}, live=())
    assert "Examples:" in live.end(code=2)[1]


def test_no_split_is_the_key_of_one_utterance(utterances):
    text = "It is late. The train has gone. We wait for the next one."
    live = Live("--no-split")
    for word in text.split(" "):
        live.write(f"{word} ".encode())
    assert live.end()[0] == utterances(text)


def test_no_split_of_open_text_is_the_key_of_one_utterance():
    text = f"{LONG.decode()}. And a second sentence is in the same utterance."
    live = Live(*OPEN_TEXT, "--no-split")
    for word in text.split(" "):
        live.write(f"{word} ".encode())
    with Synthesizer.open(TINY) as opened:
        whole = opened.say(text, seed=1, key="live:0", split=False, max_frames=40, retries=0)
    assert live.end()[0] == to_pcm16(whole).tobytes()


@pytest.mark.parametrize("model", [(), OPEN_TEXT], ids=["sentences", "open text"])
def test_no_cut_of_the_pieces_changes_a_byte(run, tmp_path, model):
    text = (
        "“Grüße!” said she.\r\n\r\nDr. Smith paid 3.50 for it, no more. And <b>that</b> was all — or was it?\n".encode()
    )
    made = set()
    for seed in (None, 1, 2, 3):
        rng = np.random.default_rng(seed)
        places = [] if seed is None else sorted(rng.choice(len(text), 30 if seed > 1 else len(text), replace=False))
        pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
        # A FIFO of its own: a run that has its frames before the text ends leaves the rest of the text in it.
        fifo = tmp_path / f"text {seed}"
        os.mkfifo(fifo)
        writer = threading.Thread(target=write_slowly, args=(fifo, pieces))
        writer.start()
        command = ("say", "--live", "-f", str(fifo), "--idle", "0", "--seed", "1", "-q", *model)
        run(*command, "-o", str(tmp_path / "a.wav"), "--codes", str(tmp_path / "a.npy"))
        writer.join()
        made.add((tmp_path / "a.wav").read_bytes() + (tmp_path / "a.npy").read_bytes())
    assert len(made) == 1


def test_the_file_is_closed_whether_or_not_it_is_read_to_its_end(tmp_path):
    (tmp_path / "text").write_text("One.")
    free = free_descriptor()
    assert list(read_live(str(tmp_path / "text"))[0]) == ["One."]
    assert free_descriptor() == free
    pieces = read_live(str(tmp_path / "text"))[0]
    next(pieces)
    assert free_descriptor() != free
    pieces.close()
    assert free_descriptor() == free


def free_descriptor():
    """The descriptor that the next file gets."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def write_slowly(path, pieces):
    with open(path, "wb", buffering=0) as file, contextlib.suppress(BrokenPipeError):
        for piece in pieces:
            file.write(piece)
            time.sleep(0.002)


def test_a_fifo_is_heard_while_its_writer_writes(utterances, tmp_path):
    os.mkfifo(tmp_path / "text")
    live = Live("-f", str(tmp_path / "text"), stdin=subprocess.DEVNULL)
    with open(tmp_path / "text", "wb", buffering=0) as file:
        file.write(b"One. T")
        live.wait_for(len(utterances("One.")))
        file.write(b"wo.")
    assert live.end()[0] == utterances("One.", "Two.")


def test_a_file_is_read_too(utterances, tmp_path):
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbfOne.\n\nTwo.\n")
    live = Live("-f", str(tmp_path / "text"), "--batch", "1", stdin=subprocess.DEVNULL)
    assert live.end()[0] == utterances("One.", "Two.")


def test_a_pipe_that_does_not_block_is_read(utterances):
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    live = Live(stdin=reader)
    os.close(reader)
    time.sleep(0.5)
    os.write(writer, b"One.")
    os.close(writer)
    assert live.end()[0] == utterances("One.")


def test_the_report_of_a_text_that_came_slowly(utterances, tmp_path):
    report, codes = tmp_path / "run.json", tmp_path / "codes.npy"
    live = Live("-q", "--json", str(report), "--codes", str(codes), "--max-seconds", "0.8")
    live.write(b"One. ")
    live.write(b"Two. Three. Four.")
    audio, messages = live.end()
    facts = json.loads(report.read_text(encoding="utf-8"))
    assert (facts["frames"], facts["stop"], facts["seed"], messages) == (10, "max_seconds", 1, "")
    assert audio == utterances("One.", "Two.", "Three.")[: 10 * FRAME]
    assert np.load(codes).shape == (10, 16)


def test_bytes_that_are_no_text_end_the_speech_before_them(utterances):
    live = Live()
    live.write(b"One. Two.\xc3")
    audio, messages = live.end(code=2)
    assert messages.startswith("error: standard input: not valid UTF-8: byte 0xC3 at offset 9; if it is Latin-1: iconv")
    assert audio == utterances("One.", "Two.")
    for text, message in (
        (b"", "the text is empty"),
        (b" \n", "the text is empty"),
        (b"...", "nothing to speak"),
        (b"%PDF-1.7\n", "a PDF file"),
        (b"a\0b", "binary data (a zero byte at offset 1)"),
    ):
        live = Live()
        live.write(text)
        assert message in live.end(code=2)[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupt_while_the_text_is_awaited(utterances, tmp_path, number, code, begun):
    live = Live("-q", "-o", str(tmp_path / "a.wav"), "--codes", str(tmp_path / "a.npy"))
    if begun:
        live.write(b"One. T")
    deadline = time.monotonic() + allowed(30)
    while not any(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.3)
    live.process.send_signal(number)
    assert live.process.wait(allowed(5)) == code
    assert live.end(code) == (b"", "")
    assert not any(tmp_path.iterdir())


def test_a_closed_output_ends_the_command():
    command = [*COMMAND, "--live", "--raw", "--idle", "0"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, bufsize=0, **pipes) as process:
        process.stdin.write(b"One. T")
        assert process.stdout.read(FRAME)
        process.stdout.close()
        process.stdin.write(b"wo. T")  # stdin stays open
        assert process.wait(allowed(30)) == 0
        assert b"rror" not in process.stderr.read()


def test_the_setting_does_not_apply_to_an_argument(utterances, tmp_path, voice):
    setting = {"QWEN3TTS_LIVE": "1"}
    live = Live("-", env=setting, live=())
    live.write(b"One. T")
    live.wait_for(len(utterances("One.")))
    assert live.end()[0] == utterances("One.", "T")
    whole = Live("One. Two.", env=setting, live=(), stdin=subprocess.DEVNULL)
    with voice.speak("One. Two.", SpeakOptions(seed=1)) as speech:
        assert whole.end()[0] == to_pcm16(np.concatenate(list(speech))).tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--live", "Hello."), "TEXT and --live are both given, leave one out"),
        (("--live", "-f", "missing"), "--file: no such file (missing)"),
        (("--live", "-f", "."), "--file .: a directory, expected a file of text"),
        (("--live", "-f", "a", "-"), "TEXT and --file are both given, leave one out"),
        (("--idle", "5", "Hello."), "--idle: needs --live"),
        (("--live-lines", "Hello."), "--live-lines: needs --live"),
        (("--live", "--idle", "-1"), "--idle: -1 is not a whole number from 0 to 3600000"),
    ],
)
def test_options_that_exclude_each_other(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    out, err = run("say", *arguments, code=2)
    assert out == ""
    assert err.startswith(f"error: {message}")
