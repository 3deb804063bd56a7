"""Arguments of the Python API: their types checked, NumPy's scalars taken for Python's, and errors that name them.

A refused value is described by its type, and shown only where it is short.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
from typing import Any, NoReturn

import numpy as np

from ..errors import UsageError
from .json_fields import shown

_SHOWN_BITS = 80


def refuse(name: str, value: object, expected: str) -> NoReturn:
    """Raise the UsageError for an argument of a wrong type."""
    raise UsageError(f"{name}: found {described(value)}, expected {expected}")


def described(value: object) -> str:
    """A value as "the float 1.5", "a list", "an array of float32, shape (3, 4)": one short line for anything."""
    kind = type(value).__name__
    if value is None or isinstance(value, (bytes, bytearray)):
        return "None" if value is None else kind
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {value.shape}"
    if isinstance(value, (str, float, np.floating, bool, np.bool_)):
        return f"the {kind} {shown(value) if isinstance(value, str) else value}"
    if isinstance(value, int):
        return f"the {kind} {value}" if value.bit_length() <= _SHOWN_BITS else f"an {kind} of {value.bit_length()} bits"
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def named(name: object) -> str:
    """The name of an argument that there is not, on one line whatever it is."""
    return name if isinstance(name, str) and name.isidentifier() else described(name)


def integer(name: str, value: Any, low: int, high: int) -> int:
    """An integer in [low, high], also NumPy's; neither a bool nor a float is one. Raises UsageError."""
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
    """A finite number in [low, high], also NumPy's; a bool is none. Raises UsageError."""
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


def switch(name: str, value: Any) -> bool:
    """True or False, also NumPy's. Raises UsageError."""
    if not isinstance(value, (bool, np.bool_)):
        refuse(name, value, "True or False")
    return bool(value)


def text(name: str, value: Any) -> str:
    """A string, also NumPy's. Raises UsageError."""
    if not isinstance(value, str):
        refuse(name, value, "a string")
    return str(value)


def name_or_path(name: str, value: Any) -> str | os.PathLike[str]:
    """A string, also NumPy's, which is a name, or an os.PathLike of one. Raises UsageError."""
    if isinstance(value, str):
        return str(value)
    if not isinstance(value, os.PathLike) or not isinstance(os.fspath(value), str):
        refuse(name, value, "a name, or a pathlib.Path")
    return value
