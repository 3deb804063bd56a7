"""English number words, by the Unicode CLDR rules (unicode-rbnf)."""

from functools import lru_cache

_NAMED_DIGITS = 15  # longer numbers are read digit by digit
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGITS_PER_GROUP = 4
_COPIED_DIGITS = 10
_YEARS = range(1100, 2100)


@lru_cache(maxsize=1)
def _engine():
    # Imported here: the import is slow, and most texts contain no number that needs words.
    from unicode_rbnf import RbnfEngine

    return RbnfEngine.for_language("en")


# Cached, because the library is slow and texts repeat their numbers.
@lru_cache(maxsize=1024)
def _named(number: int, purpose: str) -> str:
    from unicode_rbnf import FormatPurpose

    return _engine().format_number(number, FormatPurpose[purpose]).text


def digits(text: str) -> str:
    """Return the name of each digit, with a comma after every four: "one two three four, five"."""
    names = [_DIGITS[int(char)] for char in text if char in "0123456789"]
    groups = [" ".join(names[i : i + _DIGITS_PER_GROUP]) for i in range(0, len(names), _DIGITS_PER_GROUP)]
    return ", ".join(groups)


def cardinal(text: str) -> str:
    """Return a whole number (digits and commas) in words; digit by digit if it begins with 0 or is too long."""
    text = text.replace(",", "")
    if len(text) > _NAMED_DIGITS or (len(text) > 1 and text[0] == "0"):
        return digits(text)
    return _named(int(text), "CARDINAL")


def ordinal(text: str) -> str:
    """Return the ordinal of a whole number: "21" is "twenty-first"."""
    text = text.replace(",", "")
    return _named(int(text), "ORDINAL") if len(text) <= _NAMED_DIGITS else digits(text)


def year(text: str) -> str:
    """Return four digits from 1100 to 2099 as a year ("nineteen ninety"), any other number as `cardinal` does."""
    return _named(int(text), "YEAR") if len(text) == 4 and int(text) in _YEARS else cardinal(text)


def whole(text: str) -> str:
    """Return a whole number in running text as a year or a count; from ten digits on, digit by digit."""
    if len(text) >= _COPIED_DIGITS and "," not in text and not text.endswith("000"):
        return digits(text)
    return year(text)


def decimal(text: str) -> str:
    """Return a number with or without a fraction: "3.14" is "three point one four"."""
    whole, point, fraction = text.partition(".")
    if not point:
        return cardinal(whole)
    return f"{cardinal(whole) if whole else ''} point {' '.join(_DIGITS[int(char)] for char in fraction)}".strip()


def plural(noun: str) -> str:
    """Return the regular plural of a noun."""
    if noun.endswith("y"):
        return noun[:-1] + "ies"
    if noun.endswith(("x", "ch")):
        return noun + "es"
    return noun + "s"
