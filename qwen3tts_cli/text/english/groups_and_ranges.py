"""Numbers written in groups of digits, ranges of numbers, and decades.

Each public function takes the match of a rule in number_rules.py and returns its replacement, which may be the matched
text unchanged."""

from __future__ import annotations

import re

from . import number_words, units_and_signs
from .rewrite_rules import word_set

# Words before two numbers that make them a range, not a subtraction.
_COUNTED = (
    "(?i)"
    r"\b(?:pp?\.?|pages?|chapters?|verses?|sections?|volumes?|figures?|lines?|steps?|parts?|rows?|levels?|items?|"
    r"questions?|ages?|aged|grades?|years?|from|between|about|around|numbers?)\s$"
)
_VERBS = word_set("is are was were equals equal makes make gives give leaves leave plus minus times and or to")
_LEFT = r"([$£€¥₹]?)(\d[\d,]{0,18}(?:[.:]\d{1,15})?)(\s?[A-Za-z°%.]{0,12})$"
_RIGHT = r"([$£€¥₹]?)(\.?\d[\d,]{0,18}(?:[.:]\d{1,15})?)(\s?[A-Za-z°%.]{0,12})"
_HALF = r"\s?[AaPp]\.?[Mm]\.?\s?"
_REACH = 48

# Text before "30s" that shows that it means seconds, or (_DECADE_BEHIND) a decade.
_SECONDS_BEHIND = (
    "(?i)"
    r"(?:^|[:=(~,]|\d\s?[a-z]{1,5}|\b(?:in|for|after|within|every|wait|waits|waited|takes?|took|only|least|most|than|"
    r"about|around|last|lasts|lasted|over|under|exactly|another|an?|is|was|to|by|at|of|and|or|first|next))\s?$"
)
_DECADE_BEHIND = (
    "(?i)"
    r"(?:\b(?:the|his|her|my|your|our|their|its|early|mid|late|low|high|upper|lower|roaring|swinging|[a-z]{2,}'s)[ -]|'"
    r"|ties(?:,? (?:and|or|to|through)|,| to) )$"
)
_SECONDS_AHEAD = word_set(
    "later ago before after left remaining delay timeout into per or and at on in to was is are were long for from "
    "with until if when then but as of each more total max min maximum minimum"
)


def with_commas(match: re.Match[str]) -> str:
    """Groups of three digits with any separator: replace the separators by commas."""
    return ",".join(re.findall(r"\d+", match.group()))


def spaced_groups(match: re.Match[str]) -> str:
    """Groups of three digits separated by spaces: make one number with commas, unless they may be several numbers."""
    number, _, fraction = match.group().partition(",")
    groups = number.split()
    several = all(group.endswith("00") for group in groups) and "000" not in groups
    if not fraction and (several or (len(groups) == 2 and groups[1] != "000")):
        return match.group()
    return ",".join(groups) + ("." + fraction if fraction else "")


def lakhs(match: re.Match[str]) -> str:
    """Digits in Indian groups, 12,34,567: regroup them in groups of three."""
    return f"{int(match.group().replace(',', '')):,}"


def postal(match: re.Match[str]) -> str:
    """A ZIP code: read digit by digit."""
    return ", ".join(number_words.digits(group).replace(",", "") for group in match.group().split("-"))


def dotted_groups(match: re.Match[str]) -> str:
    """Groups of three digits separated by points: make one number with commas, unless they are an IP address."""
    groups = match.group().split(".")
    if len(groups) == 4 and all(int(group) < 256 for group in groups):
        return match.group()
    return ",".join(groups)


def with_point(match: re.Match[str]) -> str:
    """A number with a decimal comma, €1.234,50: write it with a decimal point and no separators."""
    fraction = match.group("fraction").strip("-")
    number = match.group("whole").replace(".", "") + ("." + fraction if fraction else "")
    return match.groupdict().get("currency", "") + number


def card(match: re.Match[str]) -> str:
    """Groups of four digits, as on a bank card: read digit by digit, unless they are years."""
    groups = match.group().split()
    if all(1100 <= int(group) < 2100 for group in groups):
        return match.group()
    return ", ".join(number_words.digits(group) for group in groups)


def toll_free(match: re.Match[str]) -> str:
    """1-800 before letters: read digit by digit."""
    return ", ".join(number_words.digits(group) for group in re.findall(r"\d+", match.group())) + ", "


def tilde(match: re.Match[str]) -> str:
    """A tilde: "to" after a number, else "about"."""
    found = re.search(_LEFT, match.string[max(match.start() - _REACH, 0) : match.start()])
    return " to " if found and _is_measure(found.group(3)) else " about "


def spaced_hyphen(match: re.Match[str]) -> str:
    """A hyphen with spaces between numbers: "to" for times, years, pages and measures, else "minus"."""
    behind = match.string[max(match.start() - _REACH, 0) : match.start()]
    ahead = match.string[match.end() : match.end() + _REACH]
    left, right = re.search(_LEFT, behind), re.match(_RIGHT, ahead)
    if left is None or right is None or not _is_measure(left.group(3)):
        return match.group()
    return " to " if _is_range(left, right, behind, ahead) else " minus "


def _is_measure(suffix: str) -> bool:
    """Whether the text behind a number is empty, a unit, a magnitude, or "am" or "pm"."""
    unit = suffix.strip().rstrip(".")
    if not unit or unit in units_and_signs.UNITS or unit.lower() in units_and_signs.MAGNITUDES:
        return True
    return re.fullmatch(_HALF, unit) is not None


def _is_range(left: re.Match[str], right: re.Match[str], behind: str, ahead: str) -> bool:
    if "=" in re.split("[,;!?] ", behind)[-1] or "=" in re.split("[,;!?] ", ahead)[0]:
        return False
    if ":" in left.group(2) or ":" in right.group(2) or re.fullmatch(_HALF, right.group(3)):
        return True
    low, high = (float(side.group(2).rstrip(".").replace(",", "")) for side in (left, right))
    if low >= high:
        return False
    if 1100 <= low < high < 2100 and left.group(2).isdigit() and right.group(2).isdigit():
        return True
    if re.search(_COUNTED, behind[: left.start()]) or (left.group(1) and right.group(1)):
        return True
    noun = right.group(3).strip().rstrip(".")
    return bool(noun) and noun not in _VERBS


def decade(match: re.Match[str]) -> str:
    """A decade of years or ages: 1990s, 30s. Seconds (30s) are left unchanged for the rule of units."""
    quote, number = match.group(1, 2)
    if len(number) == 2 and not quote and match.group()[2] != "'" and not _is_decade(match):
        return match.group()
    return number_words.plural(number_words.cardinal(number) if len(number) == 2 else number_words.year(number))


def _is_decade(match: re.Match[str]) -> bool:
    behind = match.string[max(match.start() - _REACH, 0) : match.start()]
    row = re.search(r"(?:(?:\d\d)?\d0'?s(?:,? (?:and|or|to|through)|,) ){1,4}$", behind)
    if row:
        # In "20s and 30s" the text before "20s" decides for both numbers.
        return row.group()[:4].isdigit() or bool(re.search(_DECADE_BEHIND, behind[: row.start()]))
    if re.search(_DECADE_BEHIND, behind):
        return True
    following = re.match(r" ([a-z]+)", match.string[match.end() : match.end() + 24])
    # At the beginning of a text, the next word decides: 70s music, 30s later.
    if re.search(_SECONDS_BEHIND, behind) and (behind or not following):
        return False
    return following is not None and following.group(1) not in _SECONDS_AHEAD


def tens(match: re.Match[str]) -> str:
    """10s of, 100s of, 1000s of: tens, hundreds, thousands."""
    return {"10": "tens", "100": "hundreds"}.get(match.group(1), "thousands")
