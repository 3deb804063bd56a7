"""Hints in the errors for a first command line: no command, several texts, a file name or folder as the text."""

from __future__ import annotations

import os
import shlex
import shutil

import pytest
from helpers import CHECKPOINTS

from qwen3tts_cli.cli import main as cli


@pytest.fixture
def failed(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def failed(*arguments, code=2):
        assert cli.run(arguments) == code
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return failed


@pytest.mark.parametrize(
    "arguments",
    [
        ("Hello there.",),
        ("Hello", "-o", "my file.wav"),
        ("Grüße",),
        ("-o", "a.wav", "Hi"),
        ("-q", "Hi"),
    ],
)
def test_a_text_without_a_command_is_shown_with_say(failed, arguments):
    line = failed(*arguments).removesuffix(" (see qwen3tts --help)")
    assert shlex.split(line.split("to speak a text: ")[1])[:2] == ["qwen3tts", "say"]
    assert sorted(shlex.split(line.split("to speak a text: ")[1])[2:]) == sorted(arguments)


@pytest.mark.parametrize(
    ("line", "text", "output"),
    [
        ("hello big world", "hello big world", None),
        ('"it\'s" me', "it's me", None),
        ("hello -o 'a b.wav' world", "hello world", "a b.wav"),
        ("speak hello world", "hello world", None),
        ("say hello world -o a.wav --seed=3", "hello world", "a.wav"),
        ('say -m pocket "it\'s" me -q', "it's me", None),
        ("say -- -5 degrees", "-5 degrees", None),
        ("say -5 degrees -o a.wav", "-5 degrees", "a.wav"),
        ("say -q '- item' one", "- item one", None),
        ("-v slt hello world", "hello world", None),
        ("-o a.wav hello world", "hello world", "a.wav"),
        ("-5 degrees", "-5 degrees", None),
        ("'- item' -o a.wav", "- item", "a.wav"),
    ],
)
def test_the_line_of_the_hint_speaks_what_was_typed(failed, monkeypatch, line, text, output):
    message = failed(*shlex.split(line)).removesuffix(" (see qwen3tts --help)")
    spoken = []
    monkeypatch.setattr("qwen3tts_cli.cli.commands.say_run.speak", lambda text, given: spoken.append((text, given)))
    assert cli.run(shlex.split(message[message.index("qwen3tts say") :])[1:]) == 0
    assert [(said, given["output"]) for said, given in spoken] == [(text, output)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sya", "Hi"), "no command 'sya', did you mean say?"),
        (("SAY", "Hi"), "did you mean say?"),
        (("speak", "Hi there"), "did you mean: qwen3tts say 'Hi there'"),
        (("tts", "Hi"), "did you mean: qwen3tts say Hi"),
        (("pull", "0.6b"), "did you mean: qwen3tts models pull 0.6b"),
        (("download", "0.6b"), "did you mean: qwen3tts models pull 0.6b"),
        (("clone", "anna", "--from", "a b.wav"), "did you mean: qwen3tts voices create anna --from 'a b.wav'"),
        (("encode", "a.wav"), "did you mean: qwen3tts codec encode a.wav"),
        (("list",), "qwen3tts models list or qwen3tts voices list"),
        (("help",), "did you mean qwen3tts --help?"),
        (("version",), "did you mean qwen3tts --version?"),
        (("x" * 5000,), "no command 'xxxxxxxxxxxxxxxxxxxx...', known are say, "),
        (("--zzz",), "no such option: --zzz"),
        (("models", "ls"), "Did you mean 'list'?"),
    ],
)
def test_the_error_of_an_unknown_command_names_one(failed, arguments, message):
    line = failed(*arguments)
    assert message in line
    assert len(line) < 300


def test_several_texts_are_shown_as_one(failed):
    assert failed("say", "it", "is", "me").endswith("put quotes around one: qwen3tts say 'it is me'")
    assert failed("say", "Hello.", "my file.wav") == "2 texts are given, put quotes around one: " + (
        "qwen3tts say 'Hello. my file.wav'"
    )
    assert failed("say", "Hello.", "out.wav").endswith("to write to out.wav: -o out.wav")
    assert failed("say", *["long"] * 200).endswith("200 texts are given, put quotes around one")


def test_a_text_that_names_a_file_is_spoken_with_a_note(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open("my notes.txt", "w") as file:
        file.write("Hello.")
    assert cli.run(["say", "my notes.txt", "-o", "a.wav", "--max-frames", "2"]) == 0
    note = "note: the text is 'my notes.txt'; to speak what is in that file: qwen3tts say -f 'my notes.txt'\n"
    assert note in capfd.readouterr().err
    assert cli.run(["say", "-q", "my notes.txt", "-o", "a.wav", "--max-frames", "2"]) == 0
    assert cli.run(["say", "my notes", "-o", "a.wav", "--max-frames", "2"]) == 0
    assert "in that file" not in capfd.readouterr().err


@pytest.mark.parametrize("name", [".", "./empty folder", "~/none"])
def test_the_error_of_a_folder_without_a_model_says_so(failed, monkeypatch, name):
    monkeypatch.setenv("HOME", os.getcwd())
    os.makedirs("empty folder")
    os.makedirs("none")
    line = failed("say", "Hello.", "-o", "a.wav", "-m", name, code=3)
    shown = name.replace("~", os.getcwd()).removeprefix("./")
    assert line == f"model {shown}: holds no model; name the folder that holds config.json"


@pytest.mark.parametrize("command", ["pull", "rm"])
def test_a_folder_is_neither_pulled_nor_removed(failed, command):
    shutil.copytree(CHECKPOINTS / "tiny-customvoice", "my-model")
    for name in ("./my-model", os.path.abspath("my-model"), "my-model"):
        assert "is a folder outside the cache" in failed("models", command, name, code=3)
    assert os.path.exists("my-model/config.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"RIFF\x10\0\0\0WAVEfmt ", "audio, expected a safetensors file"), (b"Hello.", "found the text 'Hello.'")],
)
def test_the_error_of_a_file_that_is_not_codes_names_its_kind(failed, data, message):
    with open("a.file", "wb") as file:
        file.write(data)
    assert message in failed("codec", "info", "a.file", code=1)
