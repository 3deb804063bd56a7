"""Rules that rewrite text by regular expressions in a fixed order, and parts of patterns for numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

# A whole number of up to 15 digits, with or without thousands separators. Longer runs of digits are rewritten earlier.
INT = r"(?:\d{1,3}(?:,\d{3}){1,4}(?!,?\d)|\d{1,15})"
NUMBER = rf"{INT}(?:\.\d{{1,15}})?(?!\d)"
# The beginning and the end of a number: not inside a word or inside another number.
START = r"(?<![A-Za-z0-9_])(?<!\d[.,])"
END = r"(?![A-Za-z0-9])"

Replacement = str | Callable[[re.Match[str]], str]

# The requirement of a rule whose pattern has a hyphen beside a digit.
HYPHEN = frozenset(("0-",))
# A run of letters, or a single sign.
_TOKEN = re.compile(r"[^\W\d_²³µΩ]+|[^\w\s]|[_\n²³µΩ]")


def word_set(words: str) -> frozenset[str]:
    """Return the words of a string, which are separated by spaces."""
    return frozenset(words.split())


def words_and_signs(keys: Iterable[str]) -> frozenset[str]:
    """Return all words and signs that occur in the keys, as the requirement of a rule."""
    return frozenset(token for key in keys for token in _TOKEN.findall(key))


def any_of(keys: Iterable[str]) -> str:
    """Return a pattern that matches any of the keys, the longest first."""
    return "(?:" + "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True)) + ")"


class RewriteRules:
    """Rules (requirement, pattern, replacement), applied in order. pattern, replacement: as in re.sub.

    requirement: a set of words and signs, or a string of signs. A rule is skipped if the text contains none of them.
    None: the rule is always applied. A pattern is compiled at its first use, because most texts need few rules.
    """

    def __init__(self, *rules: tuple[str | frozenset[str] | None, str, Replacement]) -> None:
        self._rules = [(required and frozenset(required), pattern, new) for required, pattern, new in rules]
        self._compiled: dict[int, re.Pattern[str]] = {}

    def apply(self, text: str) -> str:
        """Return the rewritten text."""
        found = set(_TOKEN.findall(text))
        if "-" in found and re.search(r"\d-|-\d", text):
            found |= HYPHEN
        for index, (required, pattern, replacement) in enumerate(self._rules):
            if required is None or not required.isdisjoint(found):
                compiled = self._compiled.get(index)
                if compiled is None:
                    compiled = self._compiled[index] = re.compile(pattern)
                text = compiled.sub(replacement, text)
        return text
