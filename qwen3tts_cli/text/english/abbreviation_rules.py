"""The rewrite rules that replace English abbreviations by words."""

from __future__ import annotations

import re

from . import dates_and_amounts, roman_numerals, units_and_signs
from .abbreviation_tables import (
    BOOKS,
    COMPASS,
    DOTTED_UNITS,
    MONTHS,
    NUMBERED,
    PHRASES,
    STATES,
    STREETS,
    TITLES,
    WEEKDAYS,
)
from .rewrite_rules import RewriteRules, any_of, word_set, words_and_signs
from .sentence_ends import ends_sentence, is_inside_sentence

_PHRASE = any_of((*PHRASES, *(key.capitalize() for key in PHRASES if key[0].islower())))
_DAY = any_of((*WEEKDAYS, *WEEKDAYS.values()))
_MONTH = any_of((*MONTHS, *units_and_signs.MONTHS))
# Names before "St." that make it a street even without a house number.
_STREET_NAMES = word_set(
    "Main Wall Elm Oak Maple Pine Cedar High Market Church Fleet Oxford Baker Bourbon Broad Front Water State Park "
    "Washington Bond Regent Downing Lombard Canal Bleecker Mulberry Pearl Spring King Queen Bridge Mill School Center"
)
# The beginning of an abbreviation: not inside a word, and not behind another period.
_BEGIN = r"(?<![A-Za-z.])(?<![A-Za-z]')"
_REACH = 64
_LIFE = {"b": "born ", "d": "died "}
# Text before "no." which shows that it is the word "no" and not the abbreviation of "number".
_NO_BEHIND = (
    r"(?:[!?\"'.-]|\b(?:said|say|says|saying|answered|replied|voted|vote|votes|with|me|him|her|them|us|is|was|are|be|a|an|"
    r"just|simply|yes|or|than|probably|still|definitely))\s?[\"']?$"
)


def _around(match: re.Match[str]) -> tuple[str, str]:
    """Return up to _REACH characters of the text that ends with a match, and of the text behind it."""
    text, end = match.string, match.end()
    return text[max(end - _REACH, 0) : end], text[end : end + _REACH]


def _street(match: re.Match[str]) -> str:
    """Elm St., 5th Ave. Before a name, St. and Dr. are titles, unless the number of a house or street precedes."""
    word = match.group(1)
    before = match.string[max(match.start() - _REACH, 0) : match.start()]
    named = re.search(r"(?:\d(?:st|nd|rd|th)?|\b[A-Z][\w'-]*\.?) $", before)
    numbered = re.search(r"\d(?:st|nd|rd|th)? (?:[NSEW]\.? )?(?:[A-Z][\w'-]* ){0,3}$", before)
    # 42nd St. New York, 5 St. James's Square.
    numbered = numbered and not re.search(r"\d $", before)
    numbered = numbered or before.strip().rsplit(" ", 1)[-1] in _STREET_NAMES
    _, after = _around(match)
    ends = ends_sentence("St.", after)
    if not named or (word in TITLES and not numbered and not ends and re.match(r"\s[\"']?[A-Z]", after)):
        return "Doctor" + dates_and_amounts.sentence_period(match) if word == "Dr" and not named else match.group()
    return STREETS[word] + ("." if ends else "")


def _title(match: re.Match[str]) -> str:
    return TITLES[match.group(1)] + " " * match.string[match.end() : match.end() + 1].isalpha()


def _verse(match: re.Match[str]) -> str:
    """John 3:16-18."""
    book, chapter, verse, last = match.groups()
    return f"{BOOKS.get(book, book)} {chapter}, {verse}" + (f" to {last}" if last else "")


def _numbered(match: re.Match[str]) -> str:
    word, behind = match.group(1), match.string[max(match.start() - 2, 0) : match.start()]
    if word in DOTTED_UNITS and behind.strip()[-1:].isdigit():
        return match.group()
    return NUMBERED[word] + " "


def _number(match: re.Match[str]) -> str:
    """Bus no. 5. After words such as "said", "no." is the word no at the end of a sentence."""
    before = match.string[max(match.start() - _REACH, 0) : match.start()]
    first = re.match(r"1(?!\d)", match.string[match.end() : match.end() + 2])
    return match.group() if re.search(_NO_BEHIND, before) and not first else "number "


def _named(match: re.Match[str]) -> str:
    """The name of a month, weekday or state."""
    name = match.group(1)
    return (MONTHS.get(name) or WEEKDAYS.get(name) or STATES.get(name) or name) + dates_and_amounts.sentence_period(
        match
    )


def _compass(match: re.Match[str]) -> str:
    return COMPASS[match.group(1)]


def _month(match: re.Match[str]) -> str:
    return MONTHS[match.group()]


def _spaced(match: re.Match[str]) -> str:
    """E.g.this, i. e. that."""
    first, second = filter(None, match.groups())
    comma = match.string[match.end() : match.end() + 1] == ","
    return f"{first}.{second}." + ("" if comma else " ")


def _days(match: re.Match[str]) -> str:
    """Mon, Wed & Fri."""
    return re.sub(rf"{any_of(WEEKDAYS)}(?![a-z])", lambda day: WEEKDAYS[day.group()], match.group())


def _span(match: re.Match[str]) -> str:
    first, second = (MONTHS.get(name) or WEEKDAYS.get(name) or name for name in match.groups())
    return f"{first} to {second}"


def _abbreviation(match: re.Match[str]) -> str:
    found = match.group()
    spoken = PHRASES.get(found) or PHRASES[found.lower()].capitalize()
    return spoken + dates_and_amounts.sentence_period(match)


def _initials(match: re.Match[str]) -> str:
    if match.group() in ("A.M.", "P.M.") and re.search(
        r"\d ?$", match.string[max(match.start() - 2, 0) : match.start()]
    ):
        return match.group()
    return " ".join(match.group().replace(".", "")) + dates_and_amounts.sentence_period(match)


def _initial(match: re.Match[str]) -> str:
    return match.group(1) if is_inside_sentence(*_around(match)) else match.group()


ABBREVIATIONS = RewriteRules(
    ("-", rf"(?<![A-Za-z])({_DAY})\.?-({_DAY})(?![A-Za-z])\.?(?=[\s,;:)]|$)", _span),
    ("-", rf"(?<![A-Za-z])({_MONTH})\.?-({_MONTH})(?![A-Za-z])\.?(?=[\s,;:)]|$)", _span),
    (words_and_signs(STREETS), rf"{_BEGIN}({any_of(STREETS)})\.(?![A-Za-z])", _street),
    (
        word_set("Ave Blvd Rd Hwy Pkwy"),
        r"(?<=[A-Za-z] )(Ave|Blvd|Rd|Hwy|Pkwy)(?![A-Za-z.'])",
        lambda match: STREETS[match.group(1)],
    ),
    (word_set("St"), r"(?<=[a-z] )St(?=[,;)]|$)", STREETS["St"]),
    (
        words_and_signs((*BOOKS, *BOOKS.values(), "Acts")),
        rf"{_BEGIN}({any_of((*BOOKS, *BOOKS.values(), 'Acts'))})\.? "
        r"(\d{1,3}):(\d{1,3})(?:-(\d{1,3}))?(?![\d:]|\s?[AaPp]\.?[Mm])",
        _verse,
    ),
    (
        words_and_signs(TITLES),
        rf"{_BEGIN}({any_of(TITLES)})\.(?=\s?[\"']?[A-Z]|\s(?:&|and|or)\s|-elect|\s\d(?:st|nd))",
        _title,
    ),
    (word_set("Mr Mrs Ms Dr"), rf"{_BEGIN}(Mr|Mrs|Ms|Dr)(?=\s[A-Z])", _title),
    (words_and_signs(NUMBERED), rf"(?<![A-Za-z])({any_of(NUMBERED)})\.\s{{0,2}}(?=\(?\+?\d)", _numbered),
    (
        words_and_signs(NUMBERED),
        rf"(?<![A-Za-z])({any_of(key for key in NUMBERED if key.istitle() and key != 'No')})\.\s?"
        r"(?=(?:[IVXLC]{1,7}|[A-Z]\d{0,3})(?![A-Za-z]))",
        _numbered,
    ),
    (word_set("p pp"), r"(?<![A-Za-z])(pp?)\.\s?(?=[ivxl]{1,7}(?![A-Za-z]))", _numbered),
    (word_set("no"), r"(?<![A-Za-z.])no\.\s?(?=\d)", _number),
    (word_set("b d"), r"(?<![A-Za-z.])([bd])\.\s(?=\d{4}(?!\d))", lambda match: _LIFE[match.group(1)]),
    (word_set("Tel tel"), r"(?<![A-Za-z])(Tel|tel)\.(?=:)", r"\1ephone"),
    (word_set("est Est"), r"(?<![A-Za-z])([Ee])st\.(?=\s[a-z])", r"\1stimated"),
    (word_set("est Est"), r"(?<![A-Za-z])([Ee])st\.\s?(?=\d{4}(?!\d))", r"\1stablished "),
    (words_and_signs(MONTHS), rf"{_BEGIN}({any_of(MONTHS)})\.(?![A-Za-z])", _named),
    (
        words_and_signs(MONTHS),
        rf"{_BEGIN}({any_of(MONTHS)})(?= \d)|(?<=\d )({any_of(MONTHS)})(?![A-Za-z.'])",
        _month,
    ),
    (
        words_and_signs(WEEKDAYS),
        rf"{_BEGIN}({any_of(set(WEEKDAYS) - {'Sat', 'Sun'})})\.(?![A-Za-z])",
        _named,
    ),
    (
        word_set("Sat Sun"),
        r"(?:(?<=\bon )|(?<=ext )|(?<=ast )|(?<=ery )|(?<=his )|(?<=and )|(?<=or )|(?<=til )|(?<=pen )|(?<=sed )"
        r"|(?=S[a-z]{2}\.(?:,| ?[-&]| (?:and|or|to) (?:Mon|Sun)| \d)))"
        r"(Sat|Sun)\.(?![A-Za-z])",
        _named,
    ),
    (
        words_and_signs(WEEKDAYS),
        rf"{_BEGIN}({any_of(WEEKDAYS)})(?=, \d|(?:,| \d{{1,2}}(?:st|nd|rd|th)?) {_MONTH}(?![A-Za-z]))",
        _named,
    ),
    (
        words_and_signs(MONTHS),
        rf"{_BEGIN}({any_of(MONTHS)})(?=/{_MONTH}(?![A-Za-z]))|(?<=[a-z]/)({any_of(MONTHS)})(?![A-Za-z.])",
        _month,
    ),
    (
        words_and_signs(WEEKDAYS),
        rf"{_BEGIN}{_DAY}(?:(?:, (?:and |& )?|/| & | and | or ){_DAY}){{1,6}}(?![A-Za-z.])",
        _days,
    ),
    (
        words_and_signs(STATES),
        rf"{_BEGIN}(Ala|Ariz|Calif|Conn|Fla|Mich|Minn|Okla|Tenn|Wis|Wyo)\.(?![A-Za-z])",
        _named,
    ),
    (words_and_signs(STATES), rf"(?<=, )({any_of(STATES)})\.(?![A-Za-z])", _named),
    (word_set("g e"), r"(?<![A-Za-z.])(?:(e)\. ?(g)|(i)\. ?(e))\.(?: (?=[A-Za-z])|(?=[A-Za-z,]))", _spaced),
    (
        words_and_signs((*PHRASES, *map(str.capitalize, PHRASES))) - {"."},
        rf"(?<![A-Za-z.])(?:{_PHRASE}|(?i:e\.g\.|i\.e\.))(?![A-Za-z])",
        _abbreviation,
    ),
    (word_set("v"), r"(?<=[A-Za-z] )v\.(?=\s[A-Z])", "versus"),
    ("/", r"(?<![A-Za-z])w/(?=\s?[A-Za-z])", "with "),
    (".", r"(?<![A-Za-z.])(?:[A-Z]\.){2,9}(?:[A-Z](?![A-Za-z]))?|(?<![A-Za-z.\d])(?<!\d )[ap]\.m\.", _initials),
    (".", r"(?<=\d )([NSEW])\.(?= [A-Z])", _compass),
    (word_set("N S E W"), rf"{_BEGIN}([NSEW])\.(?= \d{{1,3}}(?:st|nd|rd|th)(?![A-Za-z]))", _compass),
    (".", rf"{_BEGIN}([A-Z])\.(?=\s+[A-Z\"'(&]|\s+(?:and|or|van|von|de)\s)", _initial),
    (roman_numerals.COUNTED, roman_numerals.COUNTED_NUMBER, roman_numerals.numbered_noun),
    (roman_numerals.RANKS, roman_numerals.NAMED_NUMBER, roman_numerals.numbered_name),
    (".", r"(?<=[a-z0-9])\.(?=[a-z]{2})", " dot "),
    (".", r"(?<![\w.])\.(?=[a-z]{2,4}(?![a-z])|NET(?![A-Za-z]))", "dot "),
    (".", r"(?<=[a-z])\.(?=[A-Z])", ". "),
)
