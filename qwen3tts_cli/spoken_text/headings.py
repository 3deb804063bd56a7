"""Headings as they are spoken: capitals as words, and in English the number of a chapter in digits."""

from __future__ import annotations

import re

from ..text.english.rewrite_rules import any_of
from ..text.english.roman_numerals import COUNTED, COUNTED_NUMBER, numbered_noun

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_LONGEST_SHORT_WORD = 4  # letters: a single short word in capitals may be an abbreviation
_LONGEST_ENDING = 2  # letters behind an apostrophe that belong to the word before it
_LONGEST_HEADING = 120
_ROMAN = re.compile(r"(?=[IVXLCDM])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_NOT_ROMAN = frozenset(("MIX", "DI", "MI", "LI"))
_ABBREVIATIONS = frozenset(("USA", "UK", "EU", "UNO", "FBI", "CIA", "AI"))
_VOWELS = frozenset("AEIOUY")
_NUMBER = re.compile(r"([IVX]|[IVXL]{2,8})(?:\.?$|[.:]\s+(?=[\"“‘']?[A-Z]))")
# The noun of a heading whose other words are not in capitals: CHAPTER II. The Pool of Tears.
_NOUN_IN_CAPITALS = re.compile(rf"{any_of(map(str.upper, COUNTED))}(?=\s[IVX]{{1,8}}(?![A-Za-z0-9]))")


def as_words(paragraph: str) -> str:
    """Return a paragraph of capitals alone as capitalised words; others unchanged.

    It must have several words, or a word of more than four letters. Roman numerals, words without a vowel and a few
    abbreviations stay.
    """
    if any(character.isalpha() and not character.isupper() for character in paragraph):
        return paragraph
    words = [word for word in _WORD.findall(paragraph) if word.isupper()]
    if not words or (len(words) == 1 and len(words[0]) <= _LONGEST_SHORT_WORD):
        return paragraph
    return _WORD.sub(lambda match: _as_word(match.group()), paragraph)


def _as_word(word: str) -> str:
    for apostrophe in "'’":
        head, found, tail = word.partition(apostrophe)
        if found:  # it's, we'll; but O'Brien
            return _as_word(head) + apostrophe + (tail.lower() if len(tail) <= _LONGEST_ENDING else _as_word(tail))
    if word in _ABBREVIATIONS or (word.isascii() and not _VOWELS & set(word)):
        return word
    if _ROMAN.fullmatch(word) and word not in _NOT_ROMAN:
        return word
    return word[0] + word[1:].lower()


def with_chapter_number(paragraph: str) -> str:
    """Return an English paragraph that begins as a heading, `Chapter IV` or `IV.`, with its number in digits."""
    if len(paragraph) > _LONGEST_HEADING:
        return paragraph
    if noun := _NOUN_IN_CAPITALS.match(paragraph):
        paragraph = noun.group().capitalize() + paragraph[noun.end() :]
    if re.match(COUNTED_NUMBER, paragraph):
        return re.sub(COUNTED_NUMBER, _counted, paragraph)
    number = _NUMBER.match(paragraph)
    if number and _ROMAN.fullmatch(number.group(1)):
        return _digits(number.group(1)) + paragraph[number.end(1) :]
    return paragraph


def _counted(match: re.Match[str]) -> str:
    """A noun and its number; `I` before a word is no number: Part I love."""
    is_word = match.group(2) == "I" and re.match(r"\s*[^\W\d_]", match.string[match.end() :])
    return match.group() if is_word else numbered_noun(match)


def _digits(numeral: str) -> str:
    return numbered_noun(re.match(COUNTED_NUMBER, f"Chapter {numeral}")).removeprefix("Chapter ")
