"""Checks of the arguments of the Python API: type and range. NumPy scalars are converted to Python's types.

Every function takes the argument's name, for the message, and its value. It returns the converted value, or raises
UsageError with the value's type and, if it is short, the value.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
from typing import Any, NoReturn

import numpy as np

from ..errors import UsageError
from .json_fields import short_repr

_SHOWN_BITS = 80


def refuse(name: str, value: object, expected: str) -> NoReturn:
    """Raise UsageError: the argument `name` is `value`, but must be what `expected` says."""
    raise UsageError(f"{name}: found {describe(value)}, expected {expected}")


def describe(value: object) -> str:
    """Describe any value in one short line: "the float 1.5", "a list", "an array of float32, shape (3, 4)"."""
    kind = type(value).__name__
    if value is None or isinstance(value, (bytes, bytearray)):
        return "None" if value is None else kind
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {value.shape}"
    if isinstance(value, (str, float, np.floating, bool, np.bool_)):
        return f"the {kind} {short_repr(value) if isinstance(value, str) else value}"
    if isinstance(value, int):
        return f"the {kind} {value}" if value.bit_length() <= _SHOWN_BITS else f"an {kind} of {value.bit_length()} bits"
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def describe_name(name: object) -> str:
    """Return an unknown argument name for a message: `name` itself if it is an identifier, else its description."""
    return name if isinstance(name, str) and name.isidentifier() else describe(name)


def integer(name: str, value: Any, low: int, high: int) -> int:
    """Return an int in [low, high], from an int or NumPy integer; not from a bool or float. Raises UsageError."""
    expected = f"an integer from {low} to {high}"
    if isinstance(value, (bool, np.bool_)):
        refuse(name, value, expected)
    try:
        number = operator.index(value)
    except TypeError:
        refuse(name, value, expected)
    if not low <= number <= high:
        refuse(name, number, expected)
    return number


def number(name: str, value: Any, low: float, high: float) -> float:
    """Return a finite float in [low, high], from any real number. A bool is refused. Raises UsageError."""
    expected = f"a number from {low:g} to {high:g}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        refuse(name, value, expected)
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not low <= found <= high:
        refuse(name, value, expected)
    return found


def boolean(name: str, value: Any) -> bool:
    """Return a bool, from a bool or a NumPy bool. Raises UsageError."""
    if not isinstance(value, (bool, np.bool_)):
        refuse(name, value, "True or False")
    return bool(value)


def text(name: str, value: Any) -> str:
    """Return a str, from a str or a NumPy string. Raises UsageError."""
    if not isinstance(value, str):
        refuse(name, value, "a string")
    return str(value)


def name_or_path(name: str, value: Any) -> str | os.PathLike[str]:
    """Return a name (str), or the os.PathLike object of a path. Raises UsageError."""
    if isinstance(value, str):
        return str(value)
    if not isinstance(value, os.PathLike) or not isinstance(os.fspath(value), str):
        refuse(name, value, "a name, or a pathlib.Path")
    return value
