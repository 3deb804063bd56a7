"""Types of command line options. Their errors say in words what is wrong; main.py adds the name of the option."""

from __future__ import annotations

import math
import re
from typing import Any

import click

_PLAIN = re.compile(r"[\w.,:+%-]{1,40}")
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")


def as_typed(value: Any) -> str:
    """A refused value for a message: as typed, or in quotes if it is long or has special characters."""
    from ..common.json_fields import short_repr

    text = str(value)
    return text if _PLAIN.fullmatch(text) else short_repr(text)


def to_integer(value: Any) -> int | None:
    """The integer that a value is or spells; None for any other value, such as 1.5, 1e3 or true."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else None


class Integer(click.ParamType):
    """An integer in [low, high]; returns int."""

    name = "integer"

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        number = to_integer(value)
        if number is None or not self.low <= number <= self.high:
            self.fail(f"{as_typed(value)} is not a whole number from {self.low} to {self.high}", parameter, context)
        return number

    def get_metavar(self, *arguments: Any, **attributes: Any) -> str:
        return "N"


class Number(click.ParamType):
    """A finite number in [low, high], or in (low, high] if `above` is True; returns float."""

    name = "number"

    def __init__(self, low: float, high: float, above: bool = False) -> None:
        self.low, self.high, self.above = low, high, above

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        low = number > self.low if self.above else number >= self.low
        if not (low and number <= self.high):
            bounds = f"above {self.low:.10g} and at most" if self.above else f"from {self.low:.10g} to"
            self.fail(f"{as_typed(value)} is not a number {bounds} {self.high:.10g}", parameter, context)
        return number

    def get_metavar(self, *arguments: Any, **attributes: Any) -> str:
        return "X"


class CountOrAuto(click.ParamType):
    """An integer from 1 to `most`, or "auto"; returns int, 0 for "auto"."""

    name = "count"

    def __init__(self, most: int) -> None:
        self.most = most

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        if isinstance(value, str) and value.strip().lower() == "auto":
            return 0
        number = to_integer(value)
        if number is None or not 1 <= number <= self.most:
            self.fail(f"{as_typed(value)} is neither auto nor a whole number from 1 to {self.most}", parameter, context)
        return number

    def shell_complete(self, context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem("auto")] if "auto".startswith(incomplete) else []


class IntegerChoice(click.ParamType):
    """One of several integers; returns int."""

    name = "integer"

    def __init__(self, *choices: int) -> None:
        self.choices = choices

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        number = to_integer(value)
        if number not in self.choices:
            self.fail(f"{as_typed(value)} is not one of {', '.join(map(str, self.choices))}", parameter, context)
        return number

    def shell_complete(self, context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(str(each)) for each in self.choices if str(each).startswith(incomplete)]


class Choice(click.Choice):
    """One of several words, in upper or lower case; returns the word in lower case."""

    def __init__(self, *choices: str) -> None:
        super().__init__(choices, case_sensitive=False)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        key = value.strip().lower() if isinstance(value, str) else None
        if key not in self.choices:
            self.fail(f"{as_typed(value)!r} is not one of {', '.join(self.choices)}", parameter, context)
        return key
