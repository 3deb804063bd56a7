"""Rewriting by patterns in a fixed order, and the parts that patterns of numbers are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

# Number of up to 15 digits, with or without thousands separators; longer runs are read digit by digit first of all.
INT = r"(?:\d{1,3}(?:,\d{3}){1,4}(?!,?\d)|\d{1,15})"
NUMBER = rf"{INT}(?:\.\d{{1,15}})?(?!\d)"
# Where a number may begin: neither inside a word nor inside another number.
START = r"(?<![A-Za-z0-9_])(?<!\d[.,])"
END = r"(?![A-Za-z0-9])"

Wording = str | Callable[[re.Match[str]], str]

# What a step needs that looks for a hyphen beside a digit.
HYPHEN = frozenset(("0-",))
# A run of letters, or a sign.
_TOKEN = re.compile(r"[^\W\d_²³µΩ]+|[^\w\s]|[_\n²³µΩ]")


def word_set(words: str) -> frozenset[str]:
    """The words of a string."""
    return frozenset(words.split())


def words_and_signs(keys: Iterable[str]) -> frozenset[str]:
    """The words and the signs that the keys consist of, as a step needs them."""
    return frozenset(token for key in keys for token in _TOKEN.findall(key))


def any_of(keys: Iterable[str]) -> str:
    """A pattern of any of the keys, the longest first."""
    return "(?:" + "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True)) + ")"


class RewriteRules:
    """Replacements in order: (what it needs, pattern, wording).

    A step is passed over, and its pattern not even compiled, where the text has none of the words and signs that it
    needs (a string: each of its signs; None: it always runs): most texts need few of them.
    """

    def __init__(self, *steps: tuple[str | frozenset[str] | None, str, Wording]) -> None:
        self._steps = [(needs and frozenset(needs), pattern, wording) for needs, pattern, wording in steps]
        self._compiled: dict[int, re.Pattern[str]] = {}

    def apply(self, text: str) -> str:
        found = set(_TOKEN.findall(text))
        if "-" in found and re.search(r"\d-|-\d", text):
            found |= HYPHEN
        for index, (needs, pattern, wording) in enumerate(self._steps):
            if needs is None or not needs.isdisjoint(found):
                compiled = self._compiled.get(index)
                if compiled is None:
                    compiled = self._compiled[index] = re.compile(pattern)
                text = compiled.sub(wording, text)
        return text
