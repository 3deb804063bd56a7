"""Every command says what it does, shows examples, and stands in the README; so does what the embedded voice is."""

from __future__ import annotations

import re

import click
import pytest
from helpers import POCKET, ROOT

from qwen3tts_cli.config import load_config


def command_group() -> click.Group:
    from qwen3tts_cli import cli

    groups = [value for value in vars(cli).values() if isinstance(value, click.Group)]
    assert groups, "qwen3tts_cli.cli holds no click.Group"
    return groups[0]


def commands():
    """(words after `qwen3tts`, command) of every command and of the groups between."""
    pending = [((), command_group())]
    while pending:
        words, command = pending.pop()
        if words:
            yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                pending.append(((*words, name), command.get_command(context, name)))


COMMANDS = list(commands())


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_command_is_documented(words, command):
    help_text = command.get_help(click.Context(command, info_name=" ".join(("qwen3tts", *words))))
    call = " ".join(("qwen3tts", *words))
    assert "Example" in help_text
    assert f"{call} " in help_text.split("Example", 1)[1] or f"{call}\n" in help_text.split("Example", 1)[1] + "\n"
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{call} {parameter.opts[0]} has no help"
    assert call in (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_begins_with_the_first_command():
    code = (ROOT / "README.md").read_text(encoding="utf-8").split("```")[1]
    assert code.split("\n", 1)[1].lstrip().startswith('make say TEXT="Hello from two cores."')


def test_readme_gives_the_figures_of_the_card_of_the_embedded_voice():
    card = (POCKET / "MODEL_CARD.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (paragraph,) = (part for part in readme.split("\n\n") if part.startswith("The embedded voice, `pocket`"))
    figures = re.findall(r"\d+\.\d and \d+\.\d %", paragraph)
    assert len(figures) == 2
    assert all(figure in card for figure in figures)


def test_the_card_of_the_embedded_voice_gives_its_default_sampling():
    card = (POCKET / "MODEL_CARD.md").read_text(encoding="utf-8")
    sampling = load_config(POCKET).generation
    assert sampling.temperature == sampling.subtalker_temperature
    assert sampling.top_k == sampling.subtalker_top_k
    assert f"temperature {sampling.temperature} in both loops, top-k {sampling.top_k}" in card
