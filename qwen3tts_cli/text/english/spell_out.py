"""Spell out what an English voice cannot read from signs and digits.

A text runs through a fixed list of (pattern, wording) steps, specific before general; whole numbers come last. Every
pattern is bounded, or eats the run it begins in, so a step costs linear time whatever the text is.
"""

from __future__ import annotations

import re

from . import number_words, units_and_signs
from .abbreviation_rules import ABBREVIATIONS
from .rewrite_rules import INT, RewriteRules, any_of, words_and_signs

_ADDRESS_SIGNS = {
    "@": "at",
    ".": "dot",
    "/": "slash",
    "-": "dash",
    "_": "underscore",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "%": "percent",
    "+": "plus",
    ":": "colon",
    "~": "tilde",
}


def _address(match: re.Match[str]) -> str:
    """A URL or mail address read aloud; the marks behind it belong to the sentence."""
    address = re.sub(r"^(?:[a-z]+://)?(?:www\.)?", "", match.group(), flags=re.IGNORECASE)
    spoken = address.rstrip(".,;:!?)'/")
    behind = address[len(spoken) :].replace("/", "")
    for sign, name in _ADDRESS_SIGNS.items():
        spoken = spoken.replace(sign, f" {name} ")
    return spoken + behind


def _sign(match: re.Match[str]) -> str:
    return f" {units_and_signs.SIGNS[match.group()]} "


_PLACES = {".": "dot slash ", "..": "dot dot slash ", "~": "tilde slash "}
_WWW = ("www", "Www", "WWW")

_LAYOUT = RewriteRules(
    # A blank line or a list item ends what was before; other line ends are spaces.
    ("\n", r"(?<=[A-Za-z0-9)%\"'])[^\S\n]?\n\s*(?:\n\s*|[-*+] |(?=\d{1,3}[.)]\s))", ". "),
    ("\n-*+>", r"\n\s*(?:[-*+>] )?|^[-*+>] ", " "),
    ("+", r"\+\s?/\s?-", "±"),
    (":;", r"(?<![A-Za-z0-9])[:;]-?[()DP](?![A-Za-z0-9])", " "),
)

_ADDRESSES = RewriteRules(
    (frozenset((":", *_WWW)), r"(?<![A-Za-z])(?:(?:[Hh][Tt][Tt][Pp][Ss]?|ftp)://|[Ww][Ww][Ww]\.)[^\s<>\"]+", _address),
    ("@", r"(?<![\w.%+-])[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}", _address),
)

_SIGNS = RewriteRules(
    ("-", r"-{2,}", ", "),
    ("#", r"(?<![A-Za-z])([CF])#", r"\1 sharp"),
    ("+", r"(?<=[A-Za-z])\+\+", " plus plus "),
    ("&", r"&{2,}", " and "),
    ("§", r"§§\s?", "sections "),
    ("$", r"\$(?=[A-Za-z_{(])", "dollar "),
    ("/", r"(?<=[\w~])/\.(?=[A-Za-z])", "/dot "),
    ("/", r"(?<![^\s(\"'=:])(\.{1,2}|~)/(?=[\w.])", lambda match: _PLACES[match.group(1)]),
    ("=+*_~#|^/<>", r"={3,}|\+{2,}|[*_~#|^]{2,}|/{2,}|<{2,}|>{2,}", " "),
    ("#", r"#(?=[A-Za-z])", "hashtag "),
    ("/", r"(?<![A-Za-z])and/or(?![A-Za-z])", "and or"),
    ("/", r"(?<![A-Za-z])km/h(?![A-Za-z])", "kilometers per hour"),
    ("/", r"(?<=[A-Za-z0-9])/(?=[A-Za-z0-9])", " slash "),
    ("\\", r"(?<=[A-Za-z0-9:])\\(?=[A-Za-z0-9])", " backslash "),
    (words_and_signs(units_and_signs.SIGNS), any_of(units_and_signs.SIGNS), _sign),
    ("<", r"<(?=[^\s\d=-])([^<>\n]{1,80})(?<!\s)>", r" \1 "),
    ("<", r"(?<=[A-Za-z0-9])<(?=[A-Za-z0-9])", " less than "),
    (">", r"(?<=[A-Za-z0-9])>(?=[A-Za-z0-9])", " greater than "),
    ("<", r"<(?=\s?\d)|(?<=\s)<(?=\s)", " less than "),
    (">", r">(?=\s?\d)|(?<=\s)>(?=\s)", " greater than "),
    ("()[]{}|/", r"\s[(\[{]|[)\]}](?=\s?[A-Za-z0-9])|\s[|/]\s", ", "),
)


class Speller:
    """Rewrites English text; whole numbers up to `as_digits_up_to` (-1: none) that stand alone stay digits."""

    def __init__(self, as_digits_up_to: int) -> None:
        self._as_digits_up_to = as_digits_up_to

    def spell(self, text: str) -> str:
        """The text with numbers, money, times, units, abbreviations, addresses and signs in words."""
        for steps in (_LAYOUT, _ADDRESSES, ABBREVIATIONS):
            text = steps.apply(text)
        if re.search(r"\d", text):
            # Imported here: most sentences hold no number.
            from .number_rules import NUMBERS, SPELLINGS

            text = NUMBERS.apply(SPELLINGS.apply(text))
            text = re.sub(rf"(?<!\d){INT}(?!\d)", self._integer, text)
        return _SIGNS.apply(text)

    def _integer(self, match: re.Match[str]) -> str:
        number = match.group()
        plain = number.replace(",", "")
        if str(int(plain)) == plain and int(plain) <= self._as_digits_up_to:
            return plain
        return number_words.whole(number)
