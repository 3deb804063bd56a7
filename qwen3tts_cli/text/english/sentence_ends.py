"""Decide whether the period of an English abbreviation also ends the sentence."""

from __future__ import annotations

import re

from .abbreviation_tables import DOTTED_UNITS, MONTHS, NUMBERED, PHRASES, STATES, STREETS, TITLES, WEEKDAYS
from .rewrite_rules import word_set

# Abbreviations that always belong to the following word.
_LEADING = frozenset(TITLES).difference({"St", "Dr", "Mt", "Ft"}) | word_set(
    "Mr Mrs Ms Dr Mt Ft vs v e.g i.e cf viz approx ca c esp incl excl avg pp p Nos nos Fig Figs fig figs "
    "Vol Vols vol vols Ch Chap ch chap Eq Eqs eq eqs Asst Messrs Mme Mlle Ste Mx P.S N.B"
)
# Abbreviations that may end a sentence, but seldom do before a capitalised word.
_INNER = (
    frozenset(STREETS)
    | frozenset(MONTHS)
    | frozenset(WEEKDAYS).difference({"Sun", "Sat"})
    | frozenset(STATES)
    | frozenset(phrase.rstrip(".").split()[-1] for phrase in PHRASES if phrase.endswith("."))
    | word_set(
        "Sec sec Art App Apt Rm Ext Tel Pt Ph.D M.D B.A M.A B.Sc M.Sc M.B.A Ph D.D.S R.N L.L.C P.C "
        "Proc Acad Sci Phys Chem Biol Educ Med Lett Appl Trans Bd Dist Cir Supp Hist Phil Cor Thess"
    )
)
# Abbreviations that often end a sentence.
_FINAL = frozenset(("etc", "a.m", "p.m", "A.M", "P.M"))

# Further abbreviations that may precede a lower-case letter.
_LOWER = (
    frozenset(NUMBERED)
    | frozenset(phrase.rstrip(".").split()[-1] for phrase in PHRASES if phrase.endswith("."))
    | word_set("temp pop abbr adj adv lit orig pl sing usu prob ref refs para paras ed eds repr illus dim max min")
).difference({"No", "no"})

# Words that, if capitalised, begin a sentence and are hardly ever names.
_OPENERS = word_set(
    "he she it they we you i the a an this that these those there here his her their our my your its but and or so yet "
    "nor if when while after before because since although though however then thus therefore meanwhile moreover "
    "furthermore also in on at by for from with without to as what why how who whom whose where which is are was were "
    "do does did has have had can could should would not no yes never nobody nothing everyone everybody everything "
    "someone somebody something anyone anything some many most much each every both another others several few once "
    "until unless despite during between among under over perhaps maybe please now today tomorrow yesterday later soon "
    "still even only just instead again let yet neither either none nevertheless otherwise besides according despite "
    "finally eventually suddenly next well good great sure ok okay yeah thanks thank sorry hello hi oh"
)
_TIME_WORDS = (
    r"(?:Eastern|Central|Mountain|Pacific|Greenwich|GMT|UTC|[ECMP][SD]?T|BST|CET|CEST|(?:Mon|Tues|Wednes|Thurs|Fri|"
    r"Satur|Sun)day|January|February|March|April|May|June|July|August|September|October|November|December|"
    r"[A-Z][a-z]+ time|Sharp)\b"
)
_LAST_WORD = r"(?<![^\W\d_])(?<!\.)([^\W\d_]+(?:\.[^\W\d_]+)*)\.[\s\"'”’)\]]*$"
_DOTTED_UNIT = rf"\d[\s-]?(?:sq\.?\s|cu\.?\s)?(?:{'|'.join(sorted(DOTTED_UNITS))}|sq|cu)\.\s*$"
# Single letters that are words of the sentence and not initials.
_LETTER_BEHIND = (
    r"\b(?:(?:[Pp]lan|[Oo]ption|[Vv]itamin|[Pp]art|[Gg]rade|[Tt]ype|[Gg]roup|[Ss]ection|[Cc]lass|[Tt]eam|[Ee]xhibit|[Rr]oom|"
    r"[Gg]ate|[Rr]ow|[Ff]igure|[Tt]able|[Pp]oint|[Ss]tep|[Ss]ide|[Ss]ize|[Kk]ey|[Ll]evel|[Uu]nit|[Bb]lock|[Zz]one|"
    r"[Aa]ppendix|[Hh]epatitis|[Aa]nswer|[Ll]etter|[Pp]roduct|[Cc]ompany|[Ss]eries)\s[A-Z]|"
    r"(?:did|do|am|was|have|had|can|could|should|will|would|may|might|must|than|and|as|like)\sI)\.[\"'”’)\]]*\s*$"
)
_NEXT_WORD = r"[\s\"'“‘(\[*_]*([^\W\d_]+(?:['’][a-z]+)?)(?![\w.&-])"
_ARTICLE_AND_TIME = r"\b(?:[Tt]he|[Aa]n?)\s+\d{1,2}(?::\d\d)?\s?[AaPp]\.\s?[Mm]\.\s*$"
_REACH = 48


def is_lowercase_word(before: str) -> bool:
    """Whether `before` ends with a period behind a lower-case word that is not an abbreviation.

    In texts without capitals such periods end sentences.
    """
    found = re.search(_LAST_WORD, before[-_REACH:])
    word = found.group(1) if found else ""
    if len(word) < 2 or not word.islower() or not word.isalpha() or not re.search("[aeiouy]", word):
        return False
    return word not in _LEADING | _INNER | _FINAL | _LOWER and not re.search(_DOTTED_UNIT, before[-_REACH:])


def is_inside_sentence(before: str, after: str) -> bool:
    """Whether the period at the end of `before` belongs to an abbreviation and the sentence continues with `after`."""
    before = before[-_REACH:]
    found = re.search(_LAST_WORD, before)
    if found is None:
        return False
    word = found.group(1)
    if word in _LEADING:
        return True
    single = all(len(part) == 1 for part in word.split("."))
    known = single or word in _INNER or word in _FINAL or re.search(_DOTTED_UNIT, before)
    return bool(known) and not ends_sentence(before, after)


def ends_sentence(before: str, after: str) -> bool:
    """Whether the abbreviation with a period at the end of `before` is the last word of its sentence.

    after: the text behind the period. If `after` begins with a lower-case letter or a digit, the sentence continues. If
    it begins with a word that usually begins sentences, the sentence has ended. Otherwise the abbreviation decides,
    because a name follows more often than a new sentence.
    """
    after = after[:_REACH]
    start = after.lstrip("\n \t\r\u00a0\"'“”’‘()[]*_")
    if not start:
        return True
    if not start[0].isupper():
        return False
    found = re.search(_LAST_WORD, before[-_REACH:])
    word = found.group(1) if found else ""
    if word in _LEADING:
        return False
    if len(word) == 1 and re.search(_LETTER_BEHIND, before[-_REACH:]):
        return True
    following = re.match(_NEXT_WORD, after)
    opener = following.group(1).lower().replace("’", "'") if following else ""
    if opener.partition("'")[0] in _OPENERS or opener.endswith("n't"):
        return True
    if word in _FINAL:
        return not (re.match(_TIME_WORDS, start) or re.search(_ARTICLE_AND_TIME, before[-_REACH:]))
    return False
