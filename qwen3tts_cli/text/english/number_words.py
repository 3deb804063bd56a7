"""English number words, from the Unicode CLDR rules (unicode-rbnf)."""

from functools import lru_cache

# The library has rules below 10^18; beyond a thousand of its last named unit nobody follows a cardinal anyway.
_MAX_NAMED = 10**15
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGITS_PER_BREATH = 4
_COPIED_DIGITS = 10
_YEARS = range(1100, 2100)


@lru_cache(maxsize=1)
def _engine():
    # Imported here: it costs about 30 ms, and most texts hold no number that needs a name.
    from unicode_rbnf import RbnfEngine

    return RbnfEngine.for_language("en")


# The library takes 100 us for a name; texts repeat their numbers.
@lru_cache(maxsize=1024)
def _named(number: int, purpose: str) -> str:
    from unicode_rbnf import FormatPurpose

    return _engine().format_number(number, FormatPurpose[purpose]).text


def digits(text: str) -> str:
    """Each digit by name, with a pause after every few: "one two three four, five"."""
    names = [_DIGITS[int(char)] for char in text if char in "0123456789"]
    groups = [" ".join(names[i : i + _DIGITS_PER_BREATH]) for i in range(0, len(names), _DIGITS_PER_BREATH)]
    return ", ".join(groups)


def cardinal(text: str) -> str:
    """A whole number in ASCII digits, commas allowed, by name; read digit by digit where it has none."""
    text = text.replace(",", "")
    if len(text) > 15 or (len(text) > 1 and text[0] == "0"):
        return digits(text)
    return _named(int(text), "CARDINAL")


def ordinal(text: str) -> str:
    """A whole number as a rank: "21" is "twenty-first"."""
    text = text.replace(",", "")
    return _named(int(text), "ORDINAL") if len(text) <= 15 else digits(text)


def year(text: str) -> str:
    """Four digits as a year is read; other numbers as cardinal() does."""
    return _named(int(text), "YEAR") if len(text) == 4 and int(text) in _YEARS else cardinal(text)


def whole(text: str) -> str:
    """A whole number in running text: a year, a count, or, from ten digits on, a number that is dialled or copied."""
    if len(text) >= _COPIED_DIGITS and "," not in text and not text.endswith("000"):
        return digits(text)
    return year(text)


def decimal(text: str) -> str:
    """A number with or without a fraction: "3.14" is "three point one four"."""
    whole, point, fraction = text.partition(".")
    if not point:
        return cardinal(whole)
    return f"{cardinal(whole) if whole else ''} point {' '.join(_DIGITS[int(char)] for char in fraction)}".strip()


def plural(noun: str) -> str:
    """The regular plural, for the nouns of number words and units."""
    if noun.endswith("y"):
        return noun[:-1] + "ies"
    if noun.endswith(("x", "ch")):
        return noun + "es"
    return noun + "s"
