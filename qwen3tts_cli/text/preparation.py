"""Bring a text into the alphabet that a voice declares: one character at a time, so linear for any input."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING

from .markup import strip_markup

if TYPE_CHECKING:
    from ..models.config.model import VoiceManifest

# What spelling works on, and what a manifest without an alphabet of its own is taken to accept.
_PRINTABLE_ASCII = "".join(map(chr, range(0x20, 0x7F)))

# Symbols beyond ASCII that spelling puts into words.
_SPELLED_SYMBOLS = frozenset("¢£¥€₹₩₽₱₺₪₫฿₦₴₿°²³×÷±≈≤≥≠→\u00b5\u03a9§©√∞‰\n")

# What Unicode's compatibility decomposition does not tell.
_FOLDS = {
    **dict.fromkeys("‘’‚‛`´ʹʻʼʽˈ′", "'"),
    **dict.fromkeys("“”„‟«»‹›″〝〞「」『』《》", '"'),
    **dict.fromkeys("‐‑\u2043", "-"),
    **dict.fromkeys("‒–—―⸺⸻\u2e3a", " -- "),
    **dict.fromkeys("•‣◦∙●○■□▪▫", " "),
    **dict.fromkeys("→⇒➔➜⟶", "→"),
    **dict.fromkeys("\u2028\u2029\r\v\f\x85", "\n"),
    **dict.fromkeys("。｡", ". "),
    **dict.fromkeys("、､", ", "),
    "⁄": "/",
    "∕": "/",
    "−": "-",
    "∗": "*",
    "⋅": "×",
    "∼": "~",
    "〜": "~",
    "·": " ",
    "˚": "°",
    "∆": " delta ",
    "∑": " sum of ",
    "∏": " product of ",
    "∫": " integral of ",
    "∂": " partial ",
    "∇": " nabla ",
    "∈": " in ",
    "↔": " to ",
    "⇔": " to ",
    "№": "No. ",
    "™": "",
    "®": "",
    "\u03bc": "\u00b5",
    "\u2126": "\u03a9",
    "¿": "",
    "¡": "",
    "ß": "ss",
    "ẞ": "SS",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "ø": "o",
    "Ø": "O",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "Ð": "D",
    "þ": "th",
    "Þ": "Th",
    "ł": "l",
    "Ł": "L",
    "ħ": "h",
    "Ħ": "H",
    "ı": "i",
    "ŋ": "ng",
    "Ŋ": "Ng",
    "ŧ": "t",
    "Ŧ": "T",
    "ƒ": "f",
    "ə": "a",
    "Ə": "A",
    "ɑ": "a",
    "ɡ": "g",
}


def prepare(text: str, manifest: VoiceManifest | None) -> str:
    """The text as the voice wants it: folded to its alphabet, with numbers, symbols and abbreviations in words.

    A voice without a manifest, or one that does not declare spell_out, gets the text untouched; so does a text that is
    already as declared, spaces included. Otherwise the result holds `allowed_characters` alone, and is empty where none
    of the text can be said.
    """
    return fold_and_spell(strip_markup(text), manifest) if manifest is not None and manifest.spell_out else text


def fold_and_spell(text: str, manifest: VoiceManifest) -> str:
    """The same for a text, or a sentence of one, that `plain` has been through."""
    allowed = frozenset(manifest.allowed_characters or _PRINTABLE_ASCII)
    folded = fold(text, allowed | _SPELLED_SYMBOLS | frozenset(_PRINTABLE_ASCII))
    if (manifest.default_language or "english").lower() in ("english", "en"):
        # Imported here: its patterns and the number names serve only texts of such a voice.
        from .english.spell_out import Speller

        as_digits = manifest.whole_numbers_as_digits_up_to if allowed.issuperset("0123456789") else None
        folded = Speller(-1 if as_digits is None else as_digits).spell(folded)
    if folded == text and allowed.issuperset(text):
        return text
    return _tidy(_restrict(folded, allowed))


def fold(text: str, keep: frozenset[str]) -> str:
    """Replace every character outside `keep` by its nearest equivalent; what has none becomes a space or nothing."""
    if not keep.issuperset(text) or "²" in text or "³" in text:
        text = _beside(text)
    return text.translate({ord(char): _fold_character(char, keep) for char in set(text) - keep})


def _beside(text: str) -> str:
    """The text without what folds differently beside a digit or a letter."""
    found = set(text)
    for needs, pattern, replacement in _CONTEXTUAL:
        # Most texts have few of the characters, and wide character classes take milliseconds to compile.
        if not found.isdisjoint(needs):
            text = re.sub(pattern, replacement, text)
    return text


def _fold_character(char: str, keep: frozenset[str]) -> str:
    if char in _FOLDS:
        return _FOLDS[char]
    # Decomposed alone: normalising a whole text sorts its combining marks, in quadratic time.
    folded = ""
    for part in unicodedata.normalize("NFKD", char):
        if part in keep:
            folded += part
        elif part in _FOLDS:
            folded += _FOLDS[part]
        elif part.isdecimal():
            folded += str(unicodedata.decimal(part))
        elif unicodedata.category(part) not in ("Mn", "Mc", "Me", "Cf"):
            folded += " "
    return folded


_EXPONENT_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def _exponent(match: re.Match[str]) -> str:
    if match.group() in ("²", "³"):
        return match.group()
    # A raised digit behind a word is a footnote mark, behind a single letter a power.
    behind = match.string[max(match.start() - 2, 0) : match.start()]
    raised = behind[-1:].isdigit() or behind[-1:] == ")" or (behind[-1:].isalpha() and not behind[:-1].isalpha())
    return "^" + match.group().translate(_EXPONENT_DIGITS) if raised else ""


def _grouped(match: re.Match[str]) -> str:
    return ",".join(re.findall(r"\d+", match.group()))


def _greek_letter(match: re.Match[str]) -> str:
    letter, text = match.group(), match.string
    if letter in "\u03bc\u03a9":  # micro and ohm
        return letter
    name = unicodedata.name(letter).split()[-1].lower()
    before = " " if text[max(match.start() - 1, 0) : match.start()].isalnum() else ""
    return before + name + (" " if text[match.end() : match.end() + 1].isalnum() else "")


_GREEK = "[\u0391-\u03a9\u03b1-\u03c9]"
# The characters of which a text needs one, the pattern, and what takes its place.
_CONTEXTUAL: tuple[tuple[str, str, str | Callable[[re.Match[str]], str]], ...] = (
    # U+2013 between digits is a range, U+2212 behind a digit or letter a subtraction.
    ("‒–", r"(?<=[\d%°¢€²³⁰-⁹]) ?[‒–] ?(?=[$£€¥]?\d)|(?<=[A-Za-z.])[‒–](?=[$£€¥]?\d)", "-"),
    (
        "‒–",
        r"(?<=[a-z.\d])[‒–](?=(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Ma[ry]|Apr|Ju[nl]|Aug|Sep|Oct|Nov|Dec))",
        "-",
    ),
    (
        "‒–",
        r"(?<=\d)(\s?[A-Za-z]{1,2}\.?(?:[Mm]\.)?| [mb]illion) [‒–] (?=[$£€¥]?\d)",
        r"\1 - ",
    ),
    # With a space in front of it alone, a dash is a sign.
    ("‒–", r"(?<![^\s(\[=:~])[‒–](?=[$£€¥]?\.?\d)", "-"),
    ("–", r"(?<=\d)–(?=[A-Z]\d)", "-"),
    ("·⋅∙", r"(?<=\d) ?[·⋅∙] ?(?=\d)", " × "),
    ("º", r"(?<=\d)\s?º", "°"),
    ("↑▲", r"[↑▲] ?(?=[$£€]?\d)", "up "),
    ("↓▼", r"[↓▼] ?(?=[$£€]?\d)", "down "),
    # Spaces of a fixed width group the digits of one number.
    (
        "\u00a0\u2006\u2007\u2008\u2009\u202f",
        r"(?<![\d.,])\d{1,3}(?:[\u00a0\u2006-\u2009\u202f]\d{3}){1,4}(?![\d\u00a0\u202f])",
        _grouped,
    ),
    ("−", r"(?<=\w) ?− ?(?=\w)", " minus "),
    ("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", r"[⁰¹²³⁴-⁹⁻]+", _exponent),
    ("¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞", r"(?<=\d)(?=[¼-¾⅐-⅞])", " "),
    (
        "".join(map(chr, (*range(0x391, 0x3AA), *range(0x3B1, 0x3CA)))),
        f"(?<!{_GREEK}){_GREEK}(?!{_GREEK})",
        _greek_letter,
    ),
)


def _restrict(text: str, allowed: frozenset[str]) -> str:
    def nearest(char: str) -> str:
        for candidate in (char.lower(), char.upper()):
            if candidate in allowed:
                return candidate
        return " "

    return text.translate({ord(char): nearest(char) for char in set(text) - allowed})


def _tidy(text: str) -> str:
    """One space between words, none before a mark, one mark where several pauses meet."""
    text = " ".join(text.split())
    text = re.sub(r" (?=[,.;:!?])", "", text)
    text = re.sub(r"[,;:](?: ?[,;:])+", ",", text)
    text = re.sub(r"[,;:] ?(?=[.!?])", "", text)
    text = re.sub(r"(?<=[.!?]) ?[,;:](?= |$)", "", text)
    return text.strip(" ,;:")
