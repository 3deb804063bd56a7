"""The configuration file: types of its keys, errors with file, line and key, and commands that ignore it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from qwen3tts_cli import UsageError
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cli import settings

SWITCHES = ("quiet", "no_cache", "live")
WHOLE = ("threads", "batch", "seed", "top_k", "subtalker_top_k", "retries", "rate")
NUMBERS = ("temperature", "top_p", "repetition_penalty", "subtalker_temperature", "subtalker_top_p", "speed")
TEXTS = (
    "server",
    "model",
    "voice",
    "language",
    "instruct",
    "precision",
    "decoder_precision",
    "text_mode",
    "audio_format",
    "subtype",
)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "qwen3tts").mkdir()
    return tmp_path / "qwen3tts" / "config.toml"


def refused(file, text):
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        settings.load()
    message = str(caught.value)
    assert str(file) in message
    assert len(message) < 330 + len(str(file))
    return message


def test_every_key_is_tested_here():
    assert sorted((*WHOLE, *NUMBERS, *TEXTS, *SWITCHES)) == sorted(settings.KEYS)


@pytest.mark.parametrize(
    "value", ["1.5", "1.0", "1e3", "true", "nan", "inf", "[1]", "{a = 1}", "2020-01-01", "07:30:00"]
)
@pytest.mark.parametrize("key", WHOLE)
def test_a_whole_number_is_nothing_else(file, key, value):
    message = refused(file, f"# comment\n\n{key} = {value}\n")
    assert f"line 3: {key}: found " in message
    assert "expected a whole number" in message


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf", "+inf", "1e999", "true", "[0.5]"])
@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_is_finite(file, key, value):
    message = refused(file, f'voice = "slt"\n{key.replace("_", "-")} = {value}\n')
    assert f"line 2: {key.replace('_', '-')}: found " in message
    assert "expected a finite number" in message


@pytest.mark.parametrize("value", ["1", "0.6", "true", "[]", "2020-01-01"])
@pytest.mark.parametrize("key", TEXTS)
def test_a_text_is_a_string(file, key, value):
    assert f"line 1: {key}: found " in refused(file, f"{key} = {value}")


@pytest.mark.parametrize("value", ["0", "1", '"true"', "1.0"])
def test_a_switch_is_true_or_false(file, value):
    assert "line 1: quiet: found " in refused(file, f"quiet = {value}")


def test_values_have_the_type_of_their_option(file):
    lines = [
        "seed = 7",
        'threads = "2"',
        'batch = "auto"',
        "temperature = 1",
        "top-p = 0.5",
        "quiet = true",
        'voice = ""',
    ]
    file.write_text("\n".join(lines))
    assert settings.load() == {
        "seed": 7,
        "threads": "2",
        "batch": "auto",
        "temperature": 1,
        "top_p": 0.5,
        "quiet": True,
        "voice": "",
    }


@pytest.mark.parametrize("value", ["1" * 5000, "0x" + "f" * 5000, "-0x1" + "0" * 16, "18446744073709551617"])
def test_an_integer_of_too_many_digits_is_refused_and_not_shown(file, value):
    assert value not in refused(file, f"seed = {value}")


@pytest.mark.parametrize("text", ["", 'voice = "slt"\n', "# Grüße\nseed = 1\r\n"])
def test_a_byte_order_mark_is_ignored(file, text):
    file.write_bytes(text.encode())
    plain = settings.load()
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert settings.load() == plain


def test_other_encodings_are_refused(file):
    assert "not UTF-8" in refused(file, 'voice = "slt"'.encode("utf-16"))


def test_a_syntax_error_names_its_line(file):
    assert "line 2" in refused(file, 'voice = "slt"\nseed 1\n')


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('# a\n\nvoise = "x"', 3, "unknown key voise, did you mean voice?"),
        ("top_k = 1\ntop-k = 2", 2, "the key occurs twice"),
        ("seed = 1\n[say]\nvoice = 'x'", 2, "unknown key say"),
        ("seed = 1\n'voi ce' = 1", 2, "unknown key voi ce"),
        ("seed.a = 1", 1, "seed: found a table"),
    ],
)
def test_a_wrong_key_is_named_with_its_line(file, text, line, words):
    message = refused(file, text)
    assert f"line {line}: " in message
    assert words in message


def test_deep_nesting_is_one_line(file):
    assert "TOML" in refused(file, "seed = " + "[" * 100_000)


def test_a_folder_or_fifo_in_its_place(file):
    os.mkfifo(file)
    assert settings.load() == {}
    file.unlink()
    file.mkdir()
    with pytest.raises(UsageError, match="directory"):
        settings.load()


def test_say_names_the_key_and_speaks_nothing(file, tmp_path, capfd):
    file.write_text("seed = 1.5\n")
    assert cli.run(["say", "Hello.", "-o", str(tmp_path / "a.wav")]) == 2
    err = capfd.readouterr().err
    assert err == f"error: {file}: line 1: seed: found 1.5, expected a whole number\n"
    assert not (tmp_path / "a.wav").exists()


@pytest.mark.parametrize("text", ["voice = ", "seed = 1.5", "voise = 1", b"\xff"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_broken_file_prints_nothing_into_a_completed_line(file, text, shell):
    def completed():
        words = {"COMP_WORDS": "qwen3tts say --te", "COMP_CWORD": "--te" if shell == "fish" else "2"}
        env = {**os.environ, "_QWEN3TTS_COMPLETE": f"{shell}_complete", **words}
        done = subprocess.run(
            [sys.executable, "-m", "qwen3tts_cli"], env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=30
        )
        return done.returncode, done.stdout, done.stderr

    without = completed()
    assert b"--temperature" in without[1]
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert completed() == without
    assert without[2] == b""


def test_a_broken_variable_prints_nothing_into_a_completed_line():
    words = {"COMP_WORDS": "qwen3tts say --te", "COMP_CWORD": "2", "QWEN3TTS_THREADS": "many", "QWEN3TTS_SEED": "1.5"}
    done = subprocess.run(
        [sys.executable, "-m", "qwen3tts_cli"],
        env={**os.environ, "_QWEN3TTS_COMPLETE": "bash_complete", **words},
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"--temperature" in done.stdout
