"""Roman numerals after a name or a noun: Henry VIII, World War II, Part I."""

from __future__ import annotations

import re

from . import number_words
from .rewrite_rules import any_of, word_set

# Names of rulers and popes. The number after such a name is an ordinal ("the Eighth"); after other names, a cardinal.
_RULERS = word_set(
    "Henry Louis Charles Edward George Elizabeth James William Richard Philip Philippe Pius Paul Benedict Leo "
    "Gregory Napoleon Alexander Catherine Nicholas Frederick Wilhelm Friedrich Ferdinand Francis Peter Ivan Mary "
    "Robert Alfonso Carlos Juan Ramses Ramesses Clement Innocent Urban Sixtus Boniface Celestine Constantine "
    "Theodosius Ptolemy Cleopatra Darius Xerxes Margaret Christian Gustav Haakon Harald Olaf Felipe Pedro Mehmed "
    "Murad Selim Suleiman Rama Thutmose Amenhotep Leopold Albert Rainier Baudouin Otto Rudolf Maximilian Sigismund "
    "Joseph Antiochus Seleucus Artaxerxes Justinian Basil Michael Isaac Baldwin Kenneth Harold Stephen Adrian "
    "Callixtus Eugene Hadrian Julius Martin Victor Umberto Humbert Amadeus Carol Hassan Mohammed Abdullah Emmanuel"
)
# Nouns that are followed by any Roman numeral, also I.
COUNTED = word_set(
    "War Part Chapter Volume Book Act Scene Section Article Phase Type Class Title Bowl Level Stage Figure Table "
    "Appendix Grade Schedule Apollo Category Tier Group Division Mark Amendment Canto Psalm Step Unit Lesson Episode "
    "Season Vatican"
)
COUNTED_NUMBER = rf"(?<![A-Za-z'])({any_of(COUNTED)})\s([IVXLC]{{1,8}})(?![A-Za-z0-9&-]|'(?!s))"
# Roman numerals after a name; I is missing because it is a word.
RANKS = word_set("II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX XXI XXII XXIII")
NAMED_NUMBER = rf"(?<![A-Za-z'])([A-Z][a-z]{{2,20}})\s({any_of(RANKS)})(?!\.[A-Z])(?![A-Za-z0-9&-]|'(?!s))"
_VALID = r"(?=.)(?:XC|XL|L?X{0,4})(?:IX|IV|V?I{0,4})"
_WORTH = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def numbered_noun(match: re.Match[str]) -> str:
    """Replace the numeral after a noun by digits: World War II, Part I."""
    noun, number = match.groups()
    return f"{noun} {_value(number)}" if re.fullmatch(_VALID, number) else match.group()


def numbered_name(match: re.Match[str]) -> str:
    """Replace the numeral after a name: by an ordinal after a ruler's name, else by digits."""
    name, rank = match.groups()
    if name in _RULERS:
        return f"{name} the {number_words.ordinal(str(_value(rank)))}"
    return match.group() if len(rank) == 1 else f"{name} {_value(rank)}"


def _value(number: str) -> int:
    total, before = 0, 0
    for letter in reversed(number):
        worth = _WORTH[letter]
        total += worth if worth >= before else -worth
        before = max(before, worth)
    return total
