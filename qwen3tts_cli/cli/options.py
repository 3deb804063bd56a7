"""Decorators that declare options shared by commands, and classes of commands and options that read the settings."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any

import click
from click.core import ParameterSource

from ..common.audio_constants import RATES, SAMPLE_RATE
from ..errors import ModelNotFoundError, UsageError
from . import completion, dash_arguments, settings
from .option_types import Choice, CountOrAuto, Integer, IntegerChoice, Number, as_typed

SEED_LIMIT = (1 << 64) - 1
INT32_LIMIT = (1 << 31) - 1


class Setting(click.Option):
    """An option that also has a QWEN3TTS_* variable and a key in the configuration file. An error in the value names
    the variable or the key that it comes from."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.envvar = f"QWEN3TTS_{self.name.upper()}"

    def handle_parse_result(self, context: click.Context, options: Any, arguments: list[str]) -> Any:
        try:
            return super().handle_parse_result(context, options, arguments)
        except click.BadParameter as error:
            if self.is_flag:
                value = context.params.get(self.name, os.environ.get(self.envvar, ""))
                error.message = f"{as_typed(value)} is neither true nor false"
            if source := self.source(context):
                raise UsageError(f"{source}: {error.message}") from None
            raise

    def source(self, context: click.Context) -> str | None:
        """The variable, or the file and key, that the value comes from; None for a value of the command line."""
        source = context.get_parameter_source(self.name)
        if source is ParameterSource.DEFAULT_MAP:
            return f"{settings.path()}: {self.name}"
        return self.envvar if source is ParameterSource.ENVIRONMENT else None


class EmptySetting(Setting):
    """A setting whose variable may be empty, which overrides the configuration file."""

    def resolve_envvar_value(self, context: click.Context) -> str | None:
        return os.environ.get(self.envvar)


_NAMED = re.compile(r"(?:unknown )?(model|voice|language|instruct)\b")
_TYPED = f"{__name__}.typed"


def as_one_text(context: click.Context) -> str | None:
    """The command line of a TextCommand with all words of its text as one argument; None if it is too long."""
    parameters = context.command.get_params(context)
    return dash_arguments.as_one_text(context.command_path.split(), parameters, context.meta.get(_TYPED, []))


class SettingsCommand(click.Command):
    """A command whose `Setting` options take defaults from the configuration file."""

    wants_text = False

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        # An invalid file prevents neither the help nor completions, into which no error may be printed.
        options = args[: args.index("--")] if "--" in args else args
        if not any(option in ("-h", "--help") for option in options):
            with contextlib.suppress(*[Exception] * bool(extra.get("resilient_parsing"))):
                extra["default_map"] = settings.load()
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (UsageError, ModelNotFoundError) as error:
            # The error does not say that the unknown name comes from a variable or the configuration file: add that.
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
    """A command with a text among its arguments. If the text begins with a dash, or the shell split it into several
    arguments, the error gives the corrected command line."""

    wants_text = True

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta[_TYPED] = list(args)
        return super().parse_args(context, args)


def setting(*names: str, **attributes: Any) -> Any:
    """Declare an option of class Setting."""
    return click.option(*names, cls=Setting, **attributes)


def file(*names: str, **attributes: Any) -> Any:
    """Declare an option that names a file."""
    return click.option(*names, **{"metavar": "FILE", "shell_complete": completion.files, **attributes})


def model_named(*names: str, **attributes: Any) -> Any:
    """Declare an option that names a model and takes no default from the settings."""
    return click.option(*names, **{"metavar": "NAME", "shell_complete": completion.models, **attributes})


model = setting(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=completion.models,
    help="Embedded voice, alias (0.6b, 1.7b, ...), repository id, or folder. [default: the embedded voice]",
)
quiet = setting("-q", "--quiet", is_flag=True, help="Write only errors to stderr.")

_THREADS: dict[str, Any] = {
    "type": Integer(1, 1024),
    "metavar": "N",
    "help": "Number of threads. [default: one per core]",
}
threads = click.option("--threads", **_THREADS)

_SEED: dict[str, Any] = {"type": Integer(0, SEED_LIMIT), "metavar": "N"}
_DRAWN_SEED: dict[str, Any] = {**_SEED, "help": "64-bit seed. [default: drawn at random]"}
seed = click.option("--seed", **_DRAWN_SEED)
seed_setting = setting("--seed", **_DRAWN_SEED)
seed_of_one = click.option("--seed", **_SEED, default=1, help="64-bit seed. [default: 1]")

_AUDIO_FORMAT: dict[str, Any] = {
    "type": Choice("wav", "flac", "ogg", "opus", "mp3"),
    "help": "Format of an output without extension, such as stdout. [default: wav]",
}
audio_format = click.option("--audio-format", **_AUDIO_FORMAT)
audio_format_setting = setting("--audio-format", **_AUDIO_FORMAT)

_SUBTYPE: dict[str, Any] = {
    "metavar": "NAME",
    "shell_complete": completion.subtypes,
    "help": "Subtype of the format, as libsndfile names it: PCM_16, PCM_24, FLOAT, VORBIS, ...",
}
subtype = click.option("--subtype", **_SUBTYPE)
subtype_setting = setting("--subtype", **_SUBTYPE)

_SPEED: dict[str, Any] = {
    "type": Number(0.5, 2),
    "default": 1.0,
    "metavar": "X",
    "help": "Speak X times as fast, at the same pitch: 0.5 to 2. [default: 1]",
}
speed = click.option("--speed", **_SPEED)
speed_setting = setting("--speed", **_SPEED)

rate_setting = setting(
    "--rate",
    type=IntegerChoice(*RATES),
    default=SAMPLE_RATE,
    metavar="HZ",
    help=f"Sample rate of the audio: {', '.join(map(str, RATES))}. [default: {SAMPLE_RATE}]",
)

batch = setting(
    "--batch",
    type=CountOrAuto(64),
    default="auto",
    metavar="N",
    help="Number of utterances of a long text generated together. [default: auto]",
)


reference = file("--ref", help="Speak with the voice of a recording (base models).")
ref_text = click.option(
    "--ref-text", metavar="TEXT", help="What the recording says, word for word; makes the voice more similar."
)
design = click.option("--design", metavar="TEXT", help="Speak with a voice of this description (1.7b-design).")
instruct = setting("--instruct", metavar="TEXT", help="How to speak, in words (1.7B models).")
lexicon = file(
    "--lexicon",
    metavar="FILE.tsv",
    help="Replace words: lines of from, to, language (or empty), flags i (any case) and w (whole word).",
)
greedy = click.option("--greedy", is_flag=True, help="Always take the likeliest code, in talker and code predictor.")
text_mode = setting(
    "--text-mode",
    type=Choice("full", "streaming"),
    help="Give the model the full text at the start, or a token with each frame. [default: the model's]",
)


def voice(text: str) -> Any:
    """Declare the option --voice. text: its help."""
    return setting("-v", "--voice", metavar="NAME", shell_complete=completion.voices, help=text)


def language(automatic: str) -> Any:
    """Declare the option --language. automatic: what "auto" means."""
    text = f"Language: english, en, zh, ...; auto: {automatic}."
    return setting("-l", "--language", metavar="NAME", shell_complete=completion.languages, help=text)


def retries(text: str) -> Any:
    """Declare the option --retries. text: its help."""
    return setting("--retries", type=Integer(0, 1000), default=2, show_default=True, metavar="N", help=text)


def _no_cache() -> bool:
    context = click.get_current_context(silent=True)
    completes = context is not None and context.resilient_parsing  # completions ignore an invalid file
    return not completes and bool(settings.load().get("no_cache", False))


no_cache = setting(
    "--no-cache",
    is_flag=True,
    default=_no_cache,  # all commands read this key of the configuration file, also those that read no other key
    help="Write nothing into the cache folder; what is there is still used.",
)


def json_switch(text: str) -> Any:
    """Declare the switch --json. text: its help."""
    return click.option("--json", "as_json", is_flag=True, help=text)


_SAMPLING = (
    ("--temperature", Number(0, 100), "Temperature of the talker; 0: always the likeliest code."),
    ("--top-k", Integer(0, INT32_LIMIT), "The talker draws from the N likeliest codes; 0: from all."),
    ("--top-p", Number(0, 1, above=True), "The talker draws from the likeliest codes up to this probability."),
    ("--repetition-penalty", Number(0, 100, above=True), "Divisor for logits of codes that occurred already."),
    ("--subtalker-temperature", Number(0, 100), "--temperature of the code predictor."),
    ("--subtalker-top-k", Integer(0, INT32_LIMIT), "--top-k of the code predictor."),
    ("--subtalker-top-p", Number(0, 1, above=True), "--top-p of the code predictor."),
)


def sampling(command: Any) -> Any:
    """Declare the sampling options; their defaults come from generation_config.json of the checkpoint."""
    for name, kind, text in reversed(_SAMPLING):
        command = setting(name, type=kind, metavar="N" if isinstance(kind, Integer) else "X", help=text)(command)
    return command


def engine(command: Any) -> Any:
    """Declare the options of the engine: precision and threads."""
    for decorate in (
        setting("--threads", **_THREADS),
        setting(
            "--decoder-precision",
            type=Choice("auto", "f32"),
            default="auto",
            help="Precision of the speech decoder's weights. [default: auto]",
        ),
        setting(
            "--precision",
            type=Choice("auto", "bf16", "int8", "int4", "int4-calibrated"),
            default="auto",
            help="Precision of the language models' weights; bf16 is exact. [default: auto: int8 for large models, "
            "else bf16]",
        ),
    ):
        command = decorate(command)
    return command
