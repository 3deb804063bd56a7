"""Messages for a command line whose first word is not a command; each names a command to run instead.

This module is imported only for that error.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import click

from ..common.suggest import nearest

_SHOWN_CHARACTERS = 200
_ELSEWHERE = {
    **dict.fromkeys(("pull", "download", "path", "rm", "remove", "verify", "pack", "unpack", "model"), "models"),
    **dict.fromkeys(("create", "clone", "design", "preview", "show", "rename", "export", "import", "voice"), "voices"),
    **dict.fromkeys(("encode", "decode", "info"), "codec"),
    **dict.fromkeys(("speak", "tts", "talk", "read", "synthesize", "generate", "run"), "say"),
}
_OTHER_NAMES = {"download": "pull", "remove": "rm", "clone": "create"}


def unknown_command(args: list[str], known: Iterable[str]) -> str:
    """The message for a first argument that is not a command."""
    name, rest, known = args[0], args[1:], list(known)
    if name.lower() in known:
        return f"no command {name!r}, did you mean {name.lower()}?"
    if name in ("help", "version"):
        return f"no command {name!r}, did you mean qwen3tts --{name}?"
    if name == "list":
        return f"no command {name!r}, did you mean qwen3tts models list or qwen3tts voices list?"
    if group := _ELSEWHERE.get(name):
        inner = [] if group == "say" or name in ("model", "voice") else [_OTHER_NAMES.get(name, name)]
        line = _say_line(rest) if group == "say" else _line([group, *inner, *rest])
        return f"no command {name!r}, did you mean: {line}"
    if close := nearest(name, known):
        return f"no command {name!r}, did you mean {close}?"
    shown = name if name.isprintable() and len(name) <= _SHOWN_CHARACTERS else name[:20] + "..."
    return f"no command {shown!r}, known are {', '.join(known)}; to speak a text: {_say_line(args)}"


def option_before_command(option: str, args: list[str]) -> str:
    """The message for an option of `say` where a command is expected. args: the whole command line."""
    return f"no such option: {option}; to speak a text: {_say_line(args)}"


def check_dash(context: click.Context, args: list[str]) -> None:
    """Raise UsageError for a text that begins with a dash where a command is expected."""
    from .commands.say import say
    from .dash_arguments import check

    check(say, click.Context(say, context, "say"), args, True)


def _say_line(args: list[str]) -> str:
    """The command that speaks the arguments: all words of the text as one argument."""
    from .commands.say import say
    from .dash_arguments import as_one_text

    return as_one_text(["qwen3tts", "say"], say.params, args) or "qwen3tts say ..."


def _line(words: list[str]) -> str:
    line = shlex.join(["qwen3tts", *words])
    return line if line.isprintable() and len(line) <= _SHOWN_CHARACTERS else f"qwen3tts {words[0]} ..."
