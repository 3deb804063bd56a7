"""Suggestions for a name that is unknown."""

from __future__ import annotations

from collections.abc import Iterable

_COMPARED_CHARACTERS = 64  # difflib is quadratic in the length


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, or None where none is like it."""
    import difflib

    return next(iter(difflib.get_close_matches(name[:_COMPARED_CHARACTERS], list(known), 1)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ ", did you mean 'x'?" for the known name that is most like `name`, or "" where none is like it."""
    near = nearest(name, known)
    return "" if near is None else f", did you mean {near!r}?"
