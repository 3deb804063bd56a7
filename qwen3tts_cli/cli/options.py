"""Options shared by commands: their types, and the decorators that declare them."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any

import click
from click.core import ParameterSource

from ..errors import ModelNotFoundError, UsageError
from . import completion, dash_arguments, settings
from .option_types import Choice, CountOrAuto, Integer, Number, found

SEED_LIMIT = (1 << 64) - 1
INT32_LIMIT = (1 << 31) - 1


class Setting(click.Option):
    """An option that also has a QWEN3TTS_* variable and a key in the configuration file; errors name the source."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.envvar = f"QWEN3TTS_{self.name.upper()}"

    def handle_parse_result(self, context: click.Context, options: Any, arguments: list[str]) -> Any:
        try:
            return super().handle_parse_result(context, options, arguments)
        except click.BadParameter as error:
            if self.is_flag:
                error.message = (
                    f"{found(context.params.get(self.name, os.environ.get(self.envvar, '')))} is neither true nor false"
                )
            if source := self.source(context):
                raise UsageError(f"{source}: {error.message}") from None
            raise

    def source(self, context: click.Context) -> str | None:
        """Where the value comes from that was not typed: the variable, or the file and the key; None for what was."""
        source = context.get_parameter_source(self.name)
        if source is ParameterSource.DEFAULT_MAP:
            return f"{settings.path()}: {self.name}"
        return self.envvar if source is ParameterSource.ENVIRONMENT else None


_NAMED = re.compile(r"(?:unknown )?(model|voice|language|instruct)\b")
_TYPED = f"{__name__}.typed"


def as_one_text(context: click.Context) -> str | None:
    """The line of a TextCommand with all words of its text as one argument; None for a long one."""
    parameters = context.command.get_params(context)
    return dash_arguments.as_one_text(context.command_path.split(), parameters, context.meta.get(_TYPED, []))


class SettingsCommand(click.Command):
    """A command whose `Setting` options take defaults from the configuration file."""

    wants_text = False

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        # A broken file must not keep anyone from reading the help.
        options = args[: args.index("--")] if "--" in args else args
        if not any(option in ("-h", "--help") for option in options):
            # Nor may it print into a line that the shell completes.
            with contextlib.suppress(*[Exception] * bool(extra.get("resilient_parsing"))):
                extra["default_map"] = settings.load()
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (UsageError, ModelNotFoundError) as error:
            # A name that is not known is found out late, and its message does not say that nobody typed it.
            named = _NAMED.match(str(error))
            option = next((p for p in self.params if named and p.name == named[1] and isinstance(p, Setting)), None)
            if option is not None and (source := option.source(context)):
                raise type(error)(f"{source}: {error}") from None
            raise

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not context.resilient_parsing:
            dash_arguments.check(self, context, args, self.wants_text)
        return super().parse_args(context, args)


class TextCommand(SettingsCommand):
    """A command with a text among its arguments: where that begins with a dash, or the shell divided it, the error says
    what to do."""

    wants_text = True

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta[_TYPED] = list(args)
        return super().parse_args(context, args)


def setting(*names: str, **attributes: Any) -> Any:
    """Declare an option of class Setting."""
    return click.option(*names, cls=Setting, **attributes)


model = setting(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=completion.models,
    help="Embedded voice, alias (0.6b, 1.7b, ...), repo id, or folder. [default: the embedded voice]",
)
quiet = setting("-q", "--quiet", is_flag=True, help="Nothing on stderr but errors.")

_AUDIO_FORMAT = {
    "type": Choice("wav", "flac", "ogg", "opus", "mp3"),
    "help": "Format of an output without extension, such as stdout. [default: wav]",
}
audio_format = click.option("--audio-format", **_AUDIO_FORMAT)
usual_audio_format = setting("--audio-format", **_AUDIO_FORMAT)

_SUBTYPE: dict[str, Any] = {
    "metavar": "NAME",
    "shell_complete": completion.subtypes,
    "help": "Subtype of libsndfile: PCM_16, PCM_24, FLOAT, VORBIS, ...",
}
subtype = click.option("--subtype", **_SUBTYPE)
usual_subtype = setting("--subtype", **_SUBTYPE)

batch = setting(
    "--batch",
    type=CountOrAuto(64),
    default="auto",
    metavar="N",
    help="Utterances of a long text made at a time. [default: auto]",
)


def _no_cache() -> bool:
    context = click.get_current_context(silent=True)
    completes = context is not None and context.resilient_parsing  # a broken file is nothing to it
    return not completes and bool(settings.load().get("no_cache", False))


no_cache = setting(
    "--no-cache",
    is_flag=True,
    default=_no_cache,  # of the file also for commands that take no other default from there
    help="Write nothing into the cache folder; use what is there.",
)


def as_json(text: str) -> Any:
    """Declare the switch --json."""
    return click.option("--json", "as_json", is_flag=True, help=text)


_SAMPLING = (
    ("--temperature", Number(0, 100), "Temperature of the talker; 0: argmax."),
    ("--top-k", Integer(0, INT32_LIMIT), "Keep the k likeliest codes of the talker; 0: all."),
    ("--top-p", Number(0, 1, above=True), "Keep the likeliest codes up to this mass."),
    ("--repetition-penalty", Number(0, 100, above=True), "Divides the logits of codes already spoken."),
    ("--subtalker-temperature", Number(0, 100), "The same for the code predictor; 0: argmax."),
    ("--subtalker-top-k", Integer(0, INT32_LIMIT), "The same for the code predictor; 0: all."),
    ("--subtalker-top-p", Number(0, 1, above=True), "The same for the code predictor."),
)


def sampling(command: Any) -> Any:
    """Declare the sampling options; the default of each is the checkpoint's generation_config."""
    for name, kind, text in reversed(_SAMPLING):
        command = setting(name, type=kind, metavar="N" if isinstance(kind, Integer) else "X", help=text)(command)
    return command


def engine(command: Any) -> Any:
    """Declare the options of the engine: precision and threads."""
    for decorate in (
        setting("--threads", type=Integer(1, 1024), metavar="N", help="Threads. [default: one per core]"),
        setting(
            "--decoder-precision",
            type=Choice("auto", "f32"),
            default="auto",
            help="Weights of the speech decoder. [default: auto]",
        ),
        setting(
            "--precision",
            type=Choice("auto", "bf16", "int8", "int4"),
            default="auto",
            help="Weights of the language model. [default: auto: int8 where it is large, else bf16, exact]",
        ),
    ):
        command = decorate(command)
    return command
