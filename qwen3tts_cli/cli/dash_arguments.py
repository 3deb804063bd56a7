"""Errors for arguments that begin with a dash and are not options, such as the text "-5 degrees" or `-output`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

import click

from ..common.suggest import nearest
from ..errors import UsageError

_SHOWN_CHARACTERS = 200
_LONG_WITH_ONE_DASH = re.compile(r"-([a-z][a-z-]+)(=.*)?", re.DOTALL)
_SHORT_THEN_SPACE = re.compile(r"-\w?\s")


def check(command: click.Command, context: click.Context, args: list[str], wants_text: bool) -> None:
    """Raise UsageError for an argument that begins with a dash and that click would take for options by mistake.

    args: the arguments of the command. wants_text: whether the command takes a text, which may begin with a dash.
    """
    options = {name: p for p in command.get_params(context) if isinstance(p, click.Option) for name in p.opts}
    kinds = _kinds(options, args)
    free = [argument for argument, kind in zip(args, kinds, strict=True) if kind == "free"]
    for before, argument, kind in zip(["", *args], args, kinds, strict=False):
        name = argument.partition("=")[0]
        if kind == "value" and argument in options:
            missing = f"{before} {options[before].metavar}" if before in options else before
            raise click.UsageError(f"{missing} is missing: {argument} is an option", context)
        if kind != "option" or name in options:
            continue
        long = _LONG_WITH_ONE_DASH.fullmatch(argument)
        if long and f"--{long[1]}" in options:
            raise UsageError(f"{name}: did you mean --{long[1]}?")
        if wants_text and _is_text(options, argument, bool(free)):
            line = _corrected_line(context.command_path.split(), args, kinds, argument)
            raise UsageError(f"TEXT begins with a dash, put -- before it: {line}")


def _kinds(options: dict[str, click.Option], args: list[str]) -> list[str]:
    """How click reads each argument: "option", "value" (of the option before it), "--", or "free"."""
    kinds: list[str] = []
    for argument in args:
        if "--" in kinds:
            kinds.append("free")
        elif kinds and kinds[-1] == "option" and _takes_the_next(options, args[len(kinds) - 1]):
            kinds.append("value")
        elif argument == "--":
            kinds.append("--")
        else:
            kinds.append("option" if len(argument) > 1 and argument[0] == "-" else "free")
    return kinds


def _takes_the_next(options: dict[str, click.Option], argument: str) -> bool:
    if argument.startswith("--"):
        option = options.get(argument)
        return option is not None and not option.is_flag
    for place, letter in enumerate(argument[1:], 2):
        option = options.get(f"-{letter}")
        if option is None or not option.is_flag:
            return option is not None and place == len(argument)
    return False


def _is_text(options: dict[str, click.Option], argument: str, has_text: bool) -> bool:
    """Whether an argument cannot be an option: there are spaces in its name, or a letter that no option has."""
    if argument.startswith("--"):
        name = argument.partition("=")[0]
        return any(c.isspace() for c in name) or nearest(name, options) is None
    if _SHORT_THEN_SPACE.match(argument):
        return True
    if has_text and len(argument) == 2 and argument[1].isalpha():
        return False
    for letter in argument[1:]:
        option = options.get(f"-{letter}")
        if option is None or not option.is_flag:
            return option is None
    return False


def _corrected_line(command: list[str], args: list[str], kinds: list[str], text: str) -> str:
    """The corrected command line: the options first, then `--` and the text in quotes."""
    pairs = list(zip(args, kinds, strict=True))
    words = [argument for argument, kind in pairs if kind == "free" or argument is text]
    others = [argument for argument, kind in pairs if kind in ("option", "value") and argument is not text]
    return _short_line([*command, *others, "--", " ".join(words)]) or f"{shlex.join(command)} -- TEXT"


def as_one_text(command: list[str], parameters: Iterable[click.Parameter], args: list[str]) -> str | None:
    """The corrected command line, with all words of the text as one argument; None if it is too long to show.

    command: the words of the command, such as ["qwen3tts", "say"]. parameters: the parameters of the command. args: its
    arguments as the user typed them.
    """
    kinds = _kinds({name: p for p in parameters if isinstance(p, click.Option) for name in p.opts}, args)
    words = [argument for argument, kind in zip(args, kinds, strict=True) if kind == "free"]
    others = [argument for argument, kind in zip(args, kinds, strict=True) if kind in ("option", "value")]
    dash = ["--"] if words and words[0].startswith("-") and words != ["-"] else []
    return _short_line([*command, *others, *dash, *([" ".join(words)] if words else [])])


def _short_line(words: list[str]) -> str | None:
    """A command line of these words; None if it is too long to show or not printable."""
    line = shlex.join(words)
    return line if line.isprintable() and len(line) <= _SHOWN_CHARACTERS else None
