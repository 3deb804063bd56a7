"""Defaults of options: the command line overrides QWEN3TTS_* variables, and these override the configuration file."""

from __future__ import annotations

import sys

import pytest
import standin

from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cli import options, settings


@pytest.fixture
def spoken(monkeypatch, tmp_path, capfd):
    """A function that speaks with a configuration file, variables and options; returns (SpeakOptions, stderr)."""
    monkeypatch.setitem(sys.modules, "qwen3tts_cli.speech.synthesizer", standin.module())
    monkeypatch.setattr(
        "qwen3tts_cli.speech.synthesizer", sys.modules["qwen3tts_cli.speech.synthesizer"], raising=False
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    standin.Synthesizer.opened.calls.clear()

    def spoken(text="", *flags, code=0, **environment):
        file = tmp_path / "qwen3tts" / "config.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        returned = cli.run(["say", "Hello.", "-o", str(tmp_path / "a.wav"), *flags])
        err = capfd.readouterr().err
        assert returned == code, err
        if code:
            (line,) = err.splitlines()
            return line
        return standin.Synthesizer.opened.calls[-1][1], err

    return spoken


def test_precedence(spoken):
    text = 'voice = "file"\nlanguage = "file"\ninstruct = "file"\nquiet = true\ntop-k = 3\ntemperature = 1\nseed = 4\n'
    spoke, err = spoken(text, "--instruct", "flag", QWEN3TTS_LANGUAGE="environment", QWEN3TTS_INSTRUCT="environment")
    assert (spoke.voice, spoke.language, spoke.instruct) == ("file", "environment", "flag")
    assert (spoke.top_k, spoke.temperature, spoke.seed) == (3, 1.0, 4)
    assert err == ""
    assert "seed" in spoken("", QWEN3TTS_INSTRUCT="")[1]


def test_every_setting_is_an_option_of_say():
    say = cli.cli.get_command(None, "say")
    assert sorted(p.name for p in say.params if isinstance(p, options.Setting)) == sorted(settings.KEYS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('voise = "x"', "unknown key voise, did you mean voice?"),
        ("zzz = 1", "known are model"),
        ("voice = true", "line 1: voice: found true, expected a string"),
        ("quiet = 1", "expected true or false"),
        ("voice = ['x']", "found a list, expected a string"),
        ("threads = 0", "config.toml: threads: 0 is not a whole number from 1 to 1024"),
        ("temperature = nan", "config.toml: line 1: temperature: found nan, expected a finite number"),
        ("precision = 'int3'", "config.toml: precision: 'int3' is not one of"),
        ("voice = ", "not valid TOML"),
        (b"voice = '\xff'", "not UTF-8 at byte 9"),
        ("#" * (1 << 20) + "#", "more than 1048576 bytes"),
    ],
)
def test_broken_files(spoken, text, message):
    line = spoken(text, code=2)
    assert message in line
    assert "config.toml" in line


def test_a_broken_variable(spoken):
    assert "QWEN3TTS_THREADS: " in spoken("", code=2, QWEN3TTS_THREADS="many")


@pytest.mark.parametrize(("name", "value"), [("NO_CACHE", "maybe"), ("QUIET", "2")])
def test_a_value_of_a_switch_that_is_not_boolean_is_refused(spoken, name, value):
    line = spoken("", code=2, **{f"QWEN3TTS_{name}": value})
    assert line == f"error: QWEN3TTS_{name}: {value} is neither true nor false"


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("model", "nope", 3),
        ("model", "./nope", 3),
        ("voice", "nope", 2),
        ("voice", "./nope.safetensors", 2),
        ("language", "klingon", 2),
        ("language", "C", 2),
        ("instruct", "slowly", 2),
    ],
)
def test_the_error_of_a_name_from_the_settings_names_its_source(tmp_path, monkeypatch, capfd, key, value, code):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def refused(*given):
        assert cli.run(["say", "Hello.", "-q", "-o", "a.wav", *given]) == code
        return capfd.readouterr().err

    typed = refused(f"--{key}", value)
    monkeypatch.setenv(f"QWEN3TTS_{key.upper()}", value)
    assert refused() == typed.replace("error: ", f"error: QWEN3TTS_{key.upper()}: ")
    assert refused(f"--{key}", value) == typed
    monkeypatch.delenv(f"QWEN3TTS_{key.upper()}")
    file = tmp_path / "qwen3tts" / "config.toml"
    file.parent.mkdir()
    file.write_text(f'{key} = "{value}"')
    assert refused() == typed.replace("error: ", f"error: {file}: {key}: ")


def test_help_is_shown_with_an_invalid_file(spoken, capfd):
    spoken("voice = ", code=2)
    assert cli.run(["say", "--help"]) == 0
    assert cli.run(["doctor"]) == 0
    assert "not valid TOML" in capfd.readouterr().out


def test_no_file_and_odd_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/is/invalid")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings.path() == tmp_path / ".config/qwen3tts/config.toml"
    assert settings.load() == {}
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null")
    assert settings.load() == {}
