"""Decide where a text may be cut into utterances: not inside a unit; and cut sentences that are too long.

A unit is spoken without a pause: an abbreviation and its word, a number and the noun that it counts, a date, a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from .english.rewrite_rules import word_set
from .english.sentence_ends import is_inside_sentence, is_lowercase_word

_WORD_START = re.compile(r"\S")
_SPACE = re.compile(r"\s+")
CLOSERS = "\"'”’»）)\\]】」』》〉"
# Characters after the limit that are searched for the whitespace behind a cut, or for the end of a grapheme cluster.
_LOOKAHEAD = 64
# Characters on each side of a position that are examined by would_divide.
_REACH = 64

# A period that ends no sentence in any language: initials ("M. Dupont").
_INITIAL_AT_END = r"(?:^|[^\w])[^\W\d_]\.\s+$"
# Language code: abbreviations that precede a capitalised word, in addition to the abbreviations that sentencex knows.
_LEADING = {
    "de": "Hr Hrn Fr Frl Dr Prof Dipl Ing St Nr Abs Art Bd Hrsg bzw ca vgl evtl ggf inkl Tel Mio Mrd Chr Jh Jhs Str Fa",
    "fr": "M MM Mme Mlle Mgr Me Dr Pr St Ste p pp art chap fig vol av bd boul env cf ex réf tél",
    "es": "Sr Sra Sres Srta Dr Dra D Dña Ud Uds Vd Prof Ing Lic Gral Av Avda C núm pág págs art fig vol aprox ej EE UU",
    "it": "Sig Sigg Dott sec Prof Avv Ing Arch Geom On Rag S St p pp pag art fig vol cfr es ca tel",
    "pt": "Sr Sra Srs Srta Dr Dra Prof Profa Eng D Av R núm pág págs art fig vol ex aprox tel",
    "ru": "г гг ул д кв пр пл им проф акад доц гос стр рис табл т е и п тыс млн млрд руб коп см ср напр св",
}
# English titles, which occur in texts of other languages too.
_TITLES = "Mr Mrs Ms Dr Prof St"
_LAST_WORD = r"([^\W\d_]+)\.\s+$"

_LABEL = (
    r"(?:(?:^|\n)[^\S\n]*(?:(?:\d{1,3}|[A-Za-z]|[IVX]{1,5})[.)]|[-*+•>]|#{1,6}|(?:[-*+] )?\[[ xX]\])|"
    r"(?:^|\s)\(?(?:\d{1,2}|[a-z])\))[^\S\n]+$"
)
_DIVIDED = r"[^\W_][-\u2010\u00ad][^\S\n]*\n\s*$"
_NUMBER_AT_END = (
    r"(?:(?:\d|\(\d{1,5}\)|(?<!\w)[A-Z]{3})\s+|(?:\d(?:\s?[A-Za-z%°.]{1,5}|['\"′″])?\s?[-–—−+×÷=~/*xX]|[$£€¥₹₩#])\s*)$"
)
_WORD_AHEAD = r"([^\W\d_]+)"
# Words after a number that are not the noun which the number counts or names.
_FUNCTION_WORDS = word_set(
    "a an the and or nor but to in on at of for from with by as is are was were be been has have had will would can "
    "could may might must should if that than then when while who which it he she they we you i this these those not "
    "so because before after until into over under about per via und oder et ou y o e и или il la le les der die das"
)
_NOUN_AND_NUMBER = (
    r"(?<![^\W\d_])(?:[A-Z][a-z]+|[Pp]ages?|[Cc]hapters?|[Ss]ections?|[Ff]igures?|[Tt]ables?|[Ss]teps?|[Nn]umbers?|"
    r"[Rr]ooms?|[Vv]ersions?|[Ll]ines?|[Vv]ol(?:ume)?\.?|[Gg]ates?|[Pp]hases?|[Ll]evels?|[Nn]o\.)[^\S\n]+$"
)
_ROMAN_OR_NUMBER = r"(?:\d|[IVX]{1,5}(?![^\W_]))"
# Abbreviations that belong to the word in front of them.
_BEHIND_NAMES = (
    r"(?:(?:Inc|Ltd|Corp|Co|Jr|Sr|Esq|LLC|PLC|plc|GmbH|AG|KG|OHG|Bros|Ph\.?D|M\.D|MD|vs?\.|vs|al\.|Ave|Blvd|Rd|Ln|Hwy|"
    r"[ECMP][SD]T|GMT|UTC|CES?T|BST|AM|PM|[ap]\.m|[AP]\.M|BC|AD|BCE|CE|B\.C|A\.D)(?![^\W_])|"
    r"(?:St|Dr|Sq)\.?(?=\s*(?:[,;:.)]|[a-z]|$)))"
)
_OPERATORS = "=+×÷≤≥≈≠"
_SAID = r"[?!…][\"'”’»]+\s+$"
_DASH_AND_SAID = r"[?!…\"”»]\s*[—–]\s?$"
# Dates with the month as a word: 5 mai 2024, 5 de mayo de 2024, 6th of May.
_DATE_AT_END = r"(?<!\d)\d{1,2}(?:st|nd|rd|th)?\.?\s(?:(?:de|of)\s$|(?:(?:de|of)\s)?[^\W\d_]{3,12}\s(?:de\s)?$)"
_DAY_AT_END = r"\d(?:st|nd|rd|th)?\s(?:(?:de|of)\s)?$"
_DAY_AHEAD = r".{0,4}(?<![^\W_])(?:de|of)\s[^\W\d_]"
_DATE_AHEAD = r"(?:(?:de\s)?\d{4}(?!\d)|[^\W\d_]{3,12}\s(?:de\s)?\d{4}(?!\d))"
_NUMBER_AHEAD = r"\(?[$£€¥₹₩+]?[.]?\d"
_MEASURE_AT_END = r"\d(?:\s?[A-Za-z%°.]{1,5}|['\"′″])?(?:\s[xX])?\s+$"
_OPERATION_AHEAD = r"(?:[-–—−+×÷=~/*]\s*|[xX]\s)[$£€¥₹₩]?\d"
_GOES_ON_AFTER_NUMBER = (
    r"[%‰°€£¥₹₩$℃℉]|[ap]\.?\s?m(?![^\W_])|[AP]\.?M(?![^\W_])|"
    r"(?:hundred|thousand|million|billion|trillion|km|cm|mm|kg|mg|lbs?|oz|ft|in\.|mph|min|mins|hrs?|sec|[kMGT]B|"
    r"[kMG]Hz|kWh?|m|g|s|h|l|EUR|USD|GBP|CHF|Uhr|Euro|Mio|Mrd|тыс|млн|млрд|руб)(?![^\W_])"
)
_COUPLE = r"(?<![^\W\d_])(?:Mr|Mrs|Ms|Dr|Prof)\.?\s(?:and|or)\s+$"
_MONTH_AT_END = (
    r"(?<![^\W\d_])(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|January|February|March|April|June|July|August|"
    r"September|October|November|December)\.?\s(?:\d{1,2}(?:st|nd|rd|th)?,\s)?\s*$"
)
# Links and tags, which are one unit however many words they contain.
_TAG = r"<[/!?]?[A-Za-z][^<>]{0,1000}>"
_MARKUP = (
    r"!?\[[^\[\]]{0,300}\](?:\((?:<[^<>\n]{0,500}>|[^()\s]{0,500})(?:\s\"[^\"\n]{0,100}\")?\)|\[[^\[\]\n]{0,100}\])"
)
_LONGEST_MARKUP = 1024


def would_divide(text: str, position: int, code: str) -> bool:
    """Whether a cut at `position`, which is behind whitespace, would divide a unit.

    Units: an abbreviation and its word, the groups of a number, a range, a number and the noun that it counts, a noun
    and its number, a formula, a word hyphenated at a line end, a list label and its item, quoted speech and its "he
    said", a Markdown link, a tag. code: the two-letter code of the language.
    """
    before, after = text[max(position - _REACH, 0) : position], text[position : position + _REACH]
    mark = before.rstrip()[-1:]
    if not mark or not after:
        return False
    if mark in "-\u2010\u00ad" and re.search(_DIVIDED, before):
        return True
    if mark in ".)]-*+•>#" and re.search(_LABEL, before):
        return True
    if mark == "." and _is_abbreviation(before, after, code):
        return True
    if re.match(_BEHIND_NAMES, after) and (mark.isalnum() or mark in ",."):
        return True
    if mark == "&" or after.startswith("& ") or re.search(_COUPLE, before):
        return True
    return _is_number(before, after) or _is_speech(before, after) or _is_in_markup(text, position)


def _is_number(before: str, after: str) -> bool:
    """Whether a cut would divide a number, a number and the noun that it counts, a date, or a formula."""
    mark = before.rstrip()[-1]
    if re.search(_NUMBER_AT_END, before) and re.match(_NUMBER_AHEAD, after):
        return True
    if re.match(_OPERATION_AHEAD, after) and re.search(_MEASURE_AT_END, before):
        return True
    if mark.isdigit() and (re.match(_GOES_ON_AFTER_NUMBER, after) or _counts(before, after)):
        return True
    if re.match(_ROMAN_OR_NUMBER, after) and re.search(_NOUN_AND_NUMBER, before):
        return True
    if mark in _OPERATORS or (after[0] in _OPERATORS and after[1:2].isspace()):
        return True
    if re.match(_DAY_AHEAD, before[-4:] + after) and re.search(_DAY_AT_END, before):
        return True
    if re.match(_DATE_AHEAD, after) and re.search(_DATE_AT_END, before):
        return True
    return after[0].isdigit() and re.search(_MONTH_AT_END, before) is not None


def _is_speech(before: str, after: str) -> bool:
    """Whether a cut would divide quoted speech from its "he said", or a spaced punctuation mark, as in French, from its
    word."""
    if before.rstrip()[-1] in "«‹" or after[0] in "»›" or (after[0] in "?!;:" and not after[1:2].isalnum()):
        return True
    if after[0] in "—–" and after[1:].lstrip()[:1].islower():
        return re.search(_DASH_AND_SAID, before + after[0]) is not None
    return after[0].islower() and re.search(f"{_SAID}|{_DASH_AND_SAID}", before) is not None


def _is_abbreviation(before: str, after: str, code: str) -> bool:
    # A sentence seldom begins with a lower-case letter or a digit. If it does, the text is not cut before it.
    if after[:1].isdigit():
        return True
    if after[:1].islower():
        return (
            not is_lowercase_word(before) if code == "en" else not re.search(r"(?<![^\W_])[^\W\d_]{5,}\.\s+$", before)
        )
    if code == "en":
        return is_inside_sentence(before, after)
    if re.search(_INITIAL_AT_END, before) or (code == "de" and re.search(r"(?<!\d)\d{1,2}\.\s+$", before)):
        return True
    found = re.search(_LAST_WORD, before)
    return found is not None and found.group(1) in _leading(code)


def _counts(before: str, after: str) -> bool:
    """Whether the number before a space counts or names the word after it."""
    word = re.match(_WORD_AHEAD, after)
    return word is not None and "\n" not in before[len(before.rstrip()) :] and word.group() not in _FUNCTION_WORDS


@lru_cache
def _leading(code: str) -> frozenset[str]:
    return frozenset((*_TITLES.split(), *_LEADING.get(code, "").split()))


def _is_in_markup(text: str, position: int) -> bool:
    start = text.rfind("[", max(position - _LONGEST_MARKUP, 0), position)
    if start < 0 or text.find("]", position, position + _LONGEST_MARKUP) < 0:
        # The position may be inside the target of a link.
        start = text.rfind("](", max(position - _LONGEST_MARKUP, 0), position)
        start = text.rfind("[", max(start - _LONGEST_MARKUP, 0), start) if start >= 0 else -1
    found = re.match(_MARKUP, text[start : start + _LONGEST_MARKUP]) if start >= 0 else None
    if found is not None and start + found.end() > position:
        return True
    start = text.rfind("<", max(position - _LONGEST_MARKUP, 0), position)
    found = re.match(_TAG, text[start : start + _LONGEST_MARKUP]) if start >= 0 else None
    return found is not None and start + found.end() > position


def cut_sentence(sentence: str, limit: int, code: str) -> Iterator[str]:
    """Cut a sentence into parts of at most `limit` characters, not counting the whitespace around a part.

    The parts joined are the sentence. code: the two-letter code of the language.
    """
    start = 0
    while len(sentence[start:].strip()) > limit:
        end = _cut(sentence, _WORD_START.search(sentence, start).start(), limit, code)
        yield sentence[start:end]
        start = end
    yield sentence[start:]


def _cut(sentence: str, start: int, limit: int, code: str) -> int:
    """Return the end of the part that begins with the word at `start`; the whitespace behind the part belongs to it."""
    stop = min(start + limit + _LOOKAHEAD, len(sentence))
    for pattern in cut_patterns():
        # The punctuation mark must fit the limit; the whitespace behind it need not.
        ends = [
            match.end()
            for match in pattern.finditer(sentence, start, stop)
            if match.start() + len(match.group().rstrip()) <= start + limit
        ]
        best = next((end for end in reversed(ends) if not would_divide(sentence, end, code)), start)
        # A cut in the first third of the limit would leave a short part.
        if best - start >= max(1, limit // 3):
            return best
    spaces = [match.end() for match in _SPACE.finditer(sentence, start, stop) if match.start() <= start + limit]
    if not spaces:
        return grapheme_cut(sentence, start, limit)
    rest = len(sentence.rstrip()) - start
    spaces.reverse()
    if rest <= 2 * limit:
        # The rest fits two parts: cut near the middle, so that the last part is not a single word.
        spaces.sort(key=lambda end: (start + rest - end > limit, abs(2 * (end - start) - rest), end))
    # If every space is inside a unit, a unit is divided.
    return next((end for end in spaces if not would_divide(sentence, end, code)), spaces[0])


@lru_cache(maxsize=1)
def cut_patterns() -> tuple[re.Pattern[str], ...]:
    """Return patterns that match up to a cut within a sentence, the best cuts first: sentence ends in a quotation,
    clause marks, commas.

    An ASCII mark must be followed by whitespace, so that 1,000 and 7:30 stay whole; a full-width mark need not be.
    """
    return (
        re.compile(rf"(?<![.!?…])[.!?…]+[{CLOSERS}]*\s+|[。！？｡।]+[{CLOSERS}]*\s*"),
        re.compile(rf"[;:][{CLOSERS}]*\s+|[；：]\s*|\s[—–]\s+|—\s*"),
        re.compile(rf",[{CLOSERS}]*\s+|[，、､]\s*|\n\s*"),
    )


def grapheme_cut(sentence: str, start: int, limit: int) -> int:
    """Return the last boundary of an extended grapheme cluster (UAX 29) within the limit."""
    import regex

    cut = start
    for cluster in regex.finditer(r"\X", sentence, pos=start, endpos=min(start + limit + _LOOKAHEAD, len(sentence))):
        if cluster.end() > start + limit:
            break
        cut = cluster.end()
    return cut if cut > start else start + limit
