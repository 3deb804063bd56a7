"""Error messages for refused values of options, and for texts that begin with a dash."""

from __future__ import annotations

import shlex

import pytest

from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cli import options

WHOLE = "is not a whole number from"
SEED = f"{WHOLE} 0 to 18446744073709551615"


@pytest.fixture
def refused(capfd):
    def refused(*arguments):
        assert cli.run(arguments) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("say", "--seed", "1.5"), f"--seed: 1.5 {SEED}"),
        (("say", "--seed", "1e3"), f"--seed: 1e3 {SEED}"),
        (("say", "--seed", "1_000"), f"--seed: 1_000 {SEED}"),
        (("say", "--seed", "-1"), f"--seed: -1 {SEED}"),
        (("say", "--seed", "a b"), f"--seed: 'a b' {SEED}"),
        (("say", "--seed", ""), f"--seed: '' {SEED}"),
        (("say", "--seed", "9" * 5000), f"9...' {SEED}"),
        (("say", "--seed", "\n"), f"--seed: '\\n' {SEED}"),
        (("say", "--threads", "two"), f"--threads: two {WHOLE} 1 to 1024"),
        (("say", "--top-k", "0.5"), f"--top-k: 0.5 {WHOLE} 0 to 2147483647"),
        (("say", "--subtalker-top-k", "x"), f"--subtalker-top-k: x {WHOLE} 0 to 2147483647"),
        (("say", "--max-frames", "0"), f"--max-frames: 0 {WHOLE} 1 to 2147483647"),
        (("say", "--retries", "1001"), f"--retries: 1001 {WHOLE} 0 to 1000"),
        (("say", "--temperature", "hot"), "--temperature: hot is not a number from 0 to 100"),
        (("say", "--temperature", "nan"), "--temperature: nan is not a number from 0 to 100"),
        (("say", "--top-p", "0"), "--top-p: 0 is not a number above 0 and at most 1"),
        (("say", "--max-seconds", "inf"), "--max-seconds: inf is not a number from 0.001 to 10000000"),
        (("say", "--batch", "some"), "--batch: some is neither auto nor a whole number from 1 to 64"),
        (("say", "--precision", "fp8"), "--precision: 'fp8' is not one of auto, bf16, int8, int4"),
        (("say", "--decoder-precision", "bf16"), "--decoder-precision: 'bf16' is not one of auto, f32"),
        (("say", "--text-mode", "half"), "--text-mode: 'half' is not one of full, streaming"),
        (("bench", "--batch", "1,x"), f"--batch: x {WHOLE} 1 to 64"),
        (("bench", "--frames", "many"), f"--frames: many {WHOLE} 1 to 1000"),
        (("bench", "--synthetic", "9b"), "--synthetic: '9b' is not one of 0.6b, 1.7b"),
        (("codec", "encode", "a", "-o", "b", "--threads", "0"), f"--threads: 0 {WHOLE} 1 to 1024"),
        (("voices", "create", "a", "--from", "b", "--threads", "x"), f"--threads: x {WHOLE} 1 to 1024"),
        (("voices", "preview", "a", "--seed", "x"), f"--seed: x {SEED}"),
        (("models", "pack", "0.6b", "--precision", "f32"), "--precision: 'f32' is not one of bf16, int8, int4"),
        (("voices", "create", "a"), "--from FILE is missing"),
        (("voices", "show"), "NAME is missing"),
        (("say", "--voise", "x"), "no such option: --voise, did you mean --voice?"),
        (("voices", "list", "--jsn"), "no such option: --jsn, did you mean --json?"),
        (("voices", "design", "old", "-gravelly"), "-g; an argument that begins with a dash comes after --"),
        (("say", "--instruct", "-o", "a.wav", "Hi"), "--instruct TEXT is missing: -o is an option"),
        (("say", "-qo", "--raw", "Hi"), "-qo is missing: --raw is an option"),
    ],
)
def test_the_message_for_a_refused_value(refused, arguments, message):
    line = refused(*arguments)
    assert message in line
    assert line.endswith("--help)")
    assert len(line) < 250


def test_no_option_uses_a_type_of_click_with_its_own_messages():
    import click

    def leaves(group):
        for name in group.list_commands(None):
            command = group.get_command(None, name)
            yield from leaves(command) if isinstance(command, click.Group) else [command]

    for command in leaves(cli.cli):
        for parameter in command.params:
            kind = getattr(parameter.type, "of", parameter.type)
            assert not isinstance(kind, (click.IntRange, click.FloatRange)), parameter.name
            assert not isinstance(kind, click.Choice) or isinstance(kind, options.Choice), parameter.name
            assert kind not in (click.INT, click.FLOAT), parameter.name


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-hello",), "-hello"),
        (("-hello", "world"), "-hello world"),
        (("-5 degrees",), "-5 degrees"),
        (("-5 degrees", "-o", "a.wav"), "-5 degrees"),
        (("-o", "a.wav", "-5",), "-5"),
        (("it", "is", "-5", "degrees"), "it is -5 degrees"),
        (("- Hello.",), "- Hello."),
        (("--- title ---",), "--- title ---"),
        (("--what a day",), "--what a day"),
        (("-v is a letter",), "-v is a letter"),
        (("-qwerty", "-v", "-x"), "-qwerty"),
        (("-it's", "--seed", "7"), "-it's"),
    ],
)  # fmt: skip
def test_the_line_for_a_text_that_begins_with_a_dash(refused, arguments, text):
    line = refused("say", *arguments)
    message, _, command = line.partition(": ")
    assert message == "TEXT begins with a dash, put -- before it"
    words = shlex.split(command)
    assert words[:2] == ["qwen3tts", "say"]
    assert words[-2:] == ["--", text]
    spoken = cli.cli.get_command(None, "say").make_context("say", words[2:])
    assert spoken.params["text"] == (text,)


def test_a_long_text_that_begins_with_a_dash_is_not_repeated(refused):
    assert refused("say", "-zz" + " long" * 200).endswith("put -- before it: qwen3tts say -- TEXT")
    assert refused("say", "-two\nlines").endswith("put -- before it: qwen3tts say -- TEXT")


@pytest.mark.parametrize("option", ["-output", "-voice=ryan", "-model"])
def test_a_long_option_with_one_dash_is_named_with_two(refused, option):
    assert refused("say", "Hello.", option, "x").endswith(f"did you mean -{option.partition('=')[0]}?")


@pytest.mark.parametrize("arguments", [("--hello",), ("Hello.", "-n")])
def test_the_error_of_an_unknown_option_of_say_mentions_two_dashes(refused, arguments):
    assert "a text that begins with a dash comes after --" in refused("say", *arguments)
