"""Options shared by commands: their types, and the decorators that declare them."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import click
from click.core import ParameterSource

from . import settings
from .errors import UsageError

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
            source = context.get_parameter_source(self.name)
            if source is ParameterSource.DEFAULT_MAP:
                raise UsageError(f"{settings.path()}: {self.name}: {error.message}") from None
            if source is ParameterSource.ENVIRONMENT:
                raise UsageError(f"{self.envvar}: {error.message}") from None
            raise


class SettingsCommand(click.Command):
    """A command whose `Setting` options take defaults from the configuration file."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        # A broken file must not keep anyone from reading the help.
        options = args[: args.index("--")] if "--" in args else args
        if not any(option in ("-h", "--help") for option in options):
            # Nor may it print into a line that the shell completes.
            with contextlib.suppress(*[UsageError] * bool(extra.get("resilient_parsing"))):
                extra["default_map"] = settings.load()
        return super().make_context(info_name, args, parent, **extra)


class Number(click.ParamType):
    """A finite float in [low, high], or in (low, high] where `above`."""

    name = "number"

    def __init__(self, low: float, high: float, above: bool = False) -> None:
        self.low, self.high, self.above = low, high, above

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number.", parameter, context)
        low = number > self.low if self.above else number >= self.low
        if not (math.isfinite(number) and low and number <= self.high):
            bound = f"above {self.low:g} and" if self.above else f"at least {self.low:g} and"
            self.fail(f"{value} is not {bound} at most {self.high:g}.", parameter, context)
        return number

    def get_metavar(self, *arguments: Any, **attributes: Any) -> str:
        return "NUMBER"


class CountOrAuto(click.ParamType):
    """An integer from 1 to `most`, or "auto", which is 0."""

    name = "count"

    def __init__(self, most: int) -> None:
        self.most = most

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        if value in (0, "auto"):
            return 0
        try:
            number = int(value)
        except ValueError:
            number = 0
        if not 1 <= number <= self.most:
            self.fail(f"{value!r} is neither auto nor within 1 .. {self.most}.", parameter, context)
        return number


class Choice(click.Choice):
    """A case-insensitive choice."""

    def __init__(self, *choices: str) -> None:
        super().__init__(choices, case_sensitive=False)


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of models for the shell's completion."""
    from . import hub

    return [name for name in (hub.EMBEDDED, *hub.ALIASES) if name.startswith(incomplete)]


def setting(*names: str, **attributes: Any) -> Any:
    """Declare an option of class Setting."""
    return click.option(*names, cls=Setting, **attributes)


model = setting(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=complete_model,
    help="Embedded voice, alias (0.6b, 1.7b, ...), repo id, or folder. [default: the embedded voice]",
)
quiet = setting("-q", "--quiet", is_flag=True, help="Nothing on stderr but errors.")

_AUDIO_FORMAT = {
    "type": Choice("wav", "flac", "ogg", "opus", "mp3"),
    "help": "Format of an output without extension, such as stdout. [default: wav]",
}
audio_format = click.option("--audio-format", **_AUDIO_FORMAT)
usual_audio_format = setting("--audio-format", **_AUDIO_FORMAT)

batch = setting(
    "--batch",
    type=CountOrAuto(64),
    default="auto",
    metavar="N",
    help="Utterances of a long text made at a time. [default: auto]",
)


def as_json(text: str) -> Any:
    """Declare the switch --json."""
    return click.option("--json", "as_json", is_flag=True, help=text)


_SAMPLING = (
    ("--temperature", Number(0, 100), "Temperature of the talker; 0: argmax."),
    ("--top-k", click.IntRange(0, INT32_LIMIT), "Keep the k likeliest codes of the talker; 0: all."),
    ("--top-p", Number(0, 1, above=True), "Keep the likeliest codes up to this mass."),
    ("--repetition-penalty", Number(0, 100, above=True), "Divides the logits of codes already spoken."),
    ("--subtalker-temperature", Number(0, 100), "The same for the code predictor; 0: argmax."),
    ("--subtalker-top-k", click.IntRange(0, INT32_LIMIT), "The same for the code predictor; 0: all."),
    ("--subtalker-top-p", Number(0, 1, above=True), "The same for the code predictor."),
)


def sampling(command: Any) -> Any:
    """Declare the sampling options; the default of each is the checkpoint's generation_config."""
    for name, kind, text in reversed(_SAMPLING):
        command = setting(name, type=kind, metavar="N" if isinstance(kind, click.IntRange) else "X", help=text)(command)
    return command


def engine(command: Any) -> Any:
    """Declare the options of the engine: precision and threads."""
    for decorate in (
        setting("--threads", type=click.IntRange(1, 1024), metavar="N", help="Threads. [default: one per core]"),
        setting(
            "--decoder-precision",
            type=Choice("auto", "f32", "bf16"),
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
