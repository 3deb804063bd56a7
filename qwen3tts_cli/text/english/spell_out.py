"""Write the abbreviations, numbers, addresses and signs of an English text as words.

The rules are applied in a fixed order, specific rules before general ones, and whole numbers last. Each pattern has a
bounded length or consumes all of the run that it begins in, so that a rule takes linear time for any text.
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
    """Write a URL or mail address as words. Punctuation marks at its end belong to the sentence and are kept."""
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
    # A blank line or a list item ends the sentence before it; any other line end becomes a space.
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
    """Rewrites English text. as_digits_up_to: whole numbers up to this one stay digits; -1: no number stays digits."""

    def __init__(self, as_digits_up_to: int) -> None:
        self._as_digits_up_to = as_digits_up_to

    def spell(self, text: str) -> str:
        """Return the text with numbers, money, times, units, abbreviations, addresses and signs as words."""
        for rules in (_LAYOUT, _ADDRESSES, ABBREVIATIONS):
            text = rules.apply(text)
        if re.search(r"\d", text):
            # Imported here, because most sentences contain no number.
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
