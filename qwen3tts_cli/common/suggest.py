"""Suggestions for a misspelled name."""

from __future__ import annotations

from collections.abc import Iterable

_COMPARED_CHARACTERS = 64  # difflib is quadratic in the length


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to `name`, or None if none is similar."""
    import difflib

    return next(iter(difflib.get_close_matches(name[:_COMPARED_CHARACTERS], list(known), 1)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" with the known name most similar to `name`, or "" if none is similar."""
    near = nearest(name, known)
    return "" if near is None else f", did you mean {near!r}?"
