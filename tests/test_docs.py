"""Every command says what it does, shows examples, and stands in the README; so does what the embedded voice is."""

from __future__ import annotations

import re
import subprocess

import click
import pytest
from helpers import POCKET, ROOT

from qwen3tts_cli.models.config.model import load_config


def command_group() -> click.Group:
    from qwen3tts_cli.cli import main as cli

    groups = [value for value in vars(cli).values() if isinstance(value, click.Group)]
    assert groups, "qwen3tts_cli.cli.main holds no click.Group"
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


DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "bench" / "RESULTS.md",
]
CALLS = [
    (path.name, f"qwen3tts {words}")
    for path in DOCUMENTS
    for line in path.read_text(encoding="utf-8").splitlines()
    for words in re.findall(r"(?:^|[\s`(|])qwen3tts ((?:(?! qwen3tts )[^`|)])*)", line)
]


@pytest.mark.parametrize(("document", "call"), CALLS, ids=lambda value: value[:40])
def test_a_call_in_a_document_names_a_command_and_options_that_exist(document, call):
    command, words = command_group(), re.sub(r"\s#.*|\"[^\"]*\"|'[^']*'", "", call).split()[1:]
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        name = words.pop(0).rstrip(".,;:")
        command = command.get_command(click.Context(command), name)
        assert command is not None, f"{document}: {call}: no command {name}"
    for option in re.findall(r"(?<!\S)--?[a-zA-Z][a-z-]*", " ".join(words)):
        assert option in options_of(command), f"{document}: {call}: no option {option}"


def options_of(command):
    parameters = command.get_params(click.Context(command))
    return {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}


def test_options_in_the_table_of_say_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = readme.split("| option of `say` |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    named = [option for row in rows for option in re.findall(r"--?[a-z][a-z-]*\*?", row.split(" | ")[0])]
    known = options_of(command_group().get_command(click.Context(command_group()), "say"))
    assert len(named) > 20
    for option in named:
        assert any(each == option or (option.endswith("*") and each.startswith(option[:-1])) for each in known), option


MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_targets_of_make_in_documents_exist():
    for path in DOCUMENTS:
        for target in re.findall(r"`make ([a-z]+)|^make ([a-z]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert "".join(target) in TARGETS, f"{path.name}: make {''.join(target)}"


def test_make_help_lists_every_target_that_is_meant_for_users():
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = [line.split(None, 1) for line in done.stdout.splitlines()]
    helpers = {"compiled", "packaging"}  # steps of `make test`
    assert {name for name, text in listed} == TARGETS - helpers
    assert all(text.strip() for _, text in listed)
    phony = re.search(r"^\.PHONY: (.*)", MAKEFILE[MAKEFILE.index("clean:") :], re.MULTILINE)[1].split()
    assert set(phony) == TARGETS
