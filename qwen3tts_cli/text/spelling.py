"""Spell out what an English voice cannot read from signs and digits.

A text runs through a fixed list of (pattern, wording) steps, specific before general; whole numbers come last. Every
pattern is bounded, or eats the run it begins in, so a step costs linear time whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property

from . import quantities, tables, words

# Number of up to 15 digits, with or without thousands separators; longer runs are read digit by digit first of all.
_INT = r"(?:\d{1,3}(?:,\d{3}){1,4}(?!,?\d)|\d{1,15})"
_NUMBER = rf"{_INT}(?:\.\d{{1,15}})?(?!\d)"
# Where a number may begin: neither inside a word nor inside another number.
_START = r"(?<![A-Za-z0-9_])(?<!\d[.,])"
_END = r"(?![A-Za-z0-9])"


def _any_of(keys: Iterable[str]) -> str:
    return "(?:" + "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True)) + ")"


_MONTH = _any_of(tables.MONTHS)
_UNIT = _any_of(tables.UNITS)
_PER = rf"(?:\s?/\s?(?P<per>{_UNIT}){_END})?"
_MAGNITUDE = r"(?P<magnitude>(?i:k|mn|m|bn|b|tn| thousand| million| billion| trillion)(?![A-Za-z0-9]))?"
_HALF = r"(?:\s?(?P<half>[AaPp])(?:\.\s?[Mm]\.?|[Mm])(?![A-Za-z]))"
_PHONE = "|".join(
    (
        r"\+\d{1,15}(?:[ .-]\(?\d{1,15}\)?){0,6}",
        r"\(\d{3}\)\s?\d{3}[-. ]\d{4}",
        rf"{_START}\d{{3}}[-.]\d{{3}}[-.]\d{{4}}",
        rf"{_START}\d{{1,7}}(?:-\d{{1,7}}){{2,6}}",
        rf"{_START}\d{{3}}-\d{{4}}",
    )
)
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
_ABBREVIATION = _any_of(tables.ABBREVIATIONS)


def _address(match: re.Match[str]) -> str:
    """A URL or mail address read aloud; the marks behind it belong to the sentence."""
    address = re.sub(r"^(?:[a-z]+://)?(?:www\.)?", "", match.group(), flags=re.IGNORECASE)
    spoken = address.rstrip(".,;:!?)'/")
    behind = address[len(spoken) :].replace("/", "")
    for sign, name in _ADDRESS_SIGNS.items():
        spoken = spoken.replace(sign, f" {name} ")
    return spoken + behind


def _title(match: re.Match[str]) -> str:
    return tables.TITLES[match.group(1)]


def _place(match: re.Match[str]) -> str:
    return tables.PLACES[match.group(1)] + quantities.kept_period(match)


def _numbered(match: re.Match[str]) -> str:
    return tables.NUMBERED[match.group(1)] + " "


def _abbreviation(match: re.Match[str]) -> str:
    found = match.group()
    spoken = tables.ABBREVIATIONS.get(found) or tables.ABBREVIATIONS[found.lower()].capitalize()
    return spoken + quantities.kept_period(match)


def _initials(match: re.Match[str]) -> str:
    return " ".join(match.group().replace(".", "")) + quantities.kept_period(match)


def _sign(match: re.Match[str]) -> str:
    return f" {tables.SIGNS[match.group()]} "


_Wording = str | Callable[[re.Match[str]], str]


class _Steps:
    """Replacements in order, compiled when a text first needs them."""

    def __init__(self, *steps: tuple[str, _Wording]) -> None:
        self._steps = steps

    @cached_property
    def _compiled(self) -> list[tuple[re.Pattern[str], _Wording]]:
        return [(re.compile(pattern), wording) for pattern, wording in self._steps]

    def apply(self, text: str) -> str:
        for pattern, wording in self._compiled:
            text = pattern.sub(wording, text)
        return text


_LAYOUT = _Steps(
    # A blank line or a list item ends what was before; other line ends are spaces.
    (r"(?<=[A-Za-z0-9])[^\S\n]?\n\s*(?:\n\s*|[-*+] )", ". "),
    (r"\n\s*(?:[-*+>] )?|^[-*+>] ", " "),
    (r"</?[A-Za-z][^<>\n]{0,100}>", " "),
    (r"(?<![A-Za-z0-9])[:;]-?[()DP](?![A-Za-z0-9])", " "),
)

_ADDRESSES = _Steps(
    (r"(?<![A-Za-z])(?:(?:[Hh][Tt][Tt][Pp][Ss]?|ftp)://|[Ww][Ww][Ww]\.)[^\s<>\"]+", _address),
    (r"(?<![\w.%+-])[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}", _address),
)

_NUMBERS = _Steps(
    (r"(?:(?<=\d)\.)?\d{16,}|(?<![\d,])\d{1,3}(?:,\d{3}){5,}(?!\d)", quantities.flood),
    (rf"{_START}(\d{{4}})-(\d\d)-(\d\d)(?:T(?=\d\d:)|(?!\d))", quantities.iso_date),
    (rf"{_START}(\d{{1,2}})/(\d{{1,2}})/(\d{{4}})(?![/\d])", quantities.slash_date),
    (rf"{_START}(\d{{1,2}})\.(\d{{1,2}})\.(\d{{4}})(?![\d])(?!\.\d)", quantities.dotted_date),
    (rf"(?:{_PHONE})(?![\d-]){_END}", quantities.phone),
    (rf"{_START}({_NUMBER}[%°]?)-(?=[$£€¥]?\d)", r"\1 to "),
    (r"(?<=[A-Za-z0-9)])\^2(?!\d)", " squared"),
    (r"(?<=[A-Za-z0-9)])\^3(?!\d)", " cubed"),
    (r"(?<=[A-Za-z0-9)])\^(?=[-A-Za-z0-9(])", " to the power of "),
    (r"(?<![A-Za-z0-9.)%\"'-])-(?=[$£€¥]?\.?\d)", " minus "),
    (
        rf"{_START}(?P<hour>\d{{1,2}}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?!\d|:\d){_HALF}?",
        quantities.time,
    ),
    (rf"{_START}(?P<hour>\d{{1,2}}){_HALF}", quantities.time),
    (
        rf"(?P<currency>{_any_of(key for key in tables.CURRENCIES if not key.isalpha())})\s?"
        rf"(?P<number>{_NUMBER}){_MAGNITUDE}{_PER}",
        quantities.money,
    ),
    (
        rf"(?<![A-Za-z])(?P<currency>{_any_of(key for key in tables.CURRENCIES if key.isalpha())})\s?"
        rf"(?P<number>{_NUMBER}){_MAGNITUDE}{_PER}",
        quantities.money,
    ),
    (
        rf"{_START}(?P<number>{_NUMBER}){_MAGNITUDE}\s?(?P<currency>{_any_of(tables.CURRENCIES)}){_END}{_PER}",
        quantities.money,
    ),
    (rf"(?<![A-Za-z0-9_,.])'?((?:1\d|20)\d0|[2-9]0)'?s{_END}", quantities.decade),
    (rf"({_MONTH}) (\d{{1,2}})(?=, ?\d{{4}}|[.,;:!?]|$)(?![.,:]\d)", quantities.month_day),
    (rf"{_START}(?P<number>{_INT})(?:st|nd|rd|th|ST|ND|RD|TH){_END}", quantities.ordinal),
    (r"(\d)'(\d{1,2})(?:\"|'')", r"\1 feet \2"),
    (rf"{_START}(?P<number>{_NUMBER})\s?(?P<unit>{_UNIT})(?P<power>[23²³])?{_END}{_PER}", quantities.quantity),
    (rf"{_START}({_NUMBER})(k|M|B|bn){_END}", quantities.magnitude),
    (rf"{_START}24/7{_END}", "24 7"),
    (r"(?<![\w/.,])(\d{1,3}\s)?(\d{1,3})/(\d{1,3})(?![\w/])(?!\.\d)", quantities.fraction),
    (r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " "),
    (rf"{_START}\d{{1,15}}(?:\.\d{{1,15}}){{2,8}}(?!\d)", quantities.version),
    (rf"{_START}{_INT}\.\d{{1,15}}(?!\d)", quantities.decimal),
    (r"(?<![\w.])\.\d{1,15}(?!\d)", quantities.decimal),
    (r"(?<=\d):(?=\d)", " to "),
    (r"(?<=\d) ?\* ?(?=\d)", " times "),
    (r"#(?=\d)", "number "),
    (r"~\s?(?=\d)", "about "),
)

_ABBREVIATIONS = _Steps(
    (r"(?<=[A-Za-z] )(St|Dr)\.(?!\s[A-Z])", _place),
    (r"(?<=[A-Za-z] )(Ave|Blvd|Rd|Ln)\.", _place),
    (rf"(?<![A-Za-z.'])({_any_of(tables.TITLES)})\.(?=\s?[A-Z])", _title),
    (r"(?<![A-Za-z.'])(Mr|Mrs|Ms|Dr)(?=\s[A-Z])", _title),
    (rf"(?<![A-Za-z])({_any_of(tables.NUMBERED)})\.\s?(?=\d)", _numbered),
    (rf"(?<![A-Za-z.])(?:{_ABBREVIATION}|(?i:e\.g\.|i\.e\.))(?![A-Za-z])", _abbreviation),
    (r"(?<![A-Za-z])w/(?=\s?[A-Za-z])", "with "),
    (r"(?<![A-Za-z.])(?:[A-Z]\.){2,9}|(?<![A-Za-z.\d])(?<!\d )[ap]\.m\.", _initials),
    (r"(?<=[a-z0-9])\.(?=[a-z]{2})", " dot "),
    (r"(?<=[a-z])\.(?=[A-Z])", ". "),
)

_SIGNS = _Steps(
    (r"-{2,}", ", "),
    (r"(?<![A-Za-z])([CF])#", r"\1 sharp"),
    (r"(?<=[A-Za-z])\+\+", " plus plus"),
    (r"={3,}|\+{2,}|[*_~#|^]{2,}|/{2,}|<{2,}|>{2,}", " "),
    (r"#(?=[A-Za-z])", "hashtag "),
    (r"(?<![A-Za-z])and/or(?![A-Za-z])", "and or"),
    (r"(?<=[A-Za-z0-9])/(?=[A-Za-z0-9])", " slash "),
    (_any_of(tables.SIGNS), _sign),
    (r"<(?=\s?\d)|(?<=\s)<(?=\s)", " less than "),
    (r">(?=\s?\d)|(?<=\s)>(?=\s)", " greater than "),
    (r"\s[(\[{]|[)\]}](?=\s?[A-Za-z0-9])|\s[|/]\s", ", "),
)


class Speller:
    """Rewrites English text; whole numbers up to `as_digits_up_to` (-1: none) that stand alone stay digits."""

    def __init__(self, as_digits_up_to: int) -> None:
        self._as_digits_up_to = as_digits_up_to

    def spell(self, text: str) -> str:
        """The text with numbers, money, times, units, abbreviations, addresses and signs in words."""
        # A spaced hyphen between numbers is a range, but in a sum.
        between = " minus " if "=" in text else " to "
        for steps in (_LAYOUT, _ADDRESSES, _ABBREVIATIONS):
            text = steps.apply(text)
        if re.search(r"\d", text):
            text = _NUMBERS.apply(text)
            text = re.sub(r"(?<=\d) - (?=\d)", between, text)
            text = re.sub(rf"(?<!\d){_INT}(?!\d)", self._integer, text)
        return _SIGNS.apply(text)

    def _integer(self, match: re.Match[str]) -> str:
        number = match.group()
        plain = number.replace(",", "")
        if str(int(plain)) == plain and int(plain) <= self._as_digits_up_to:
            return plain
        return words.whole(number)
