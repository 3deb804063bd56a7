"""Replace characters outside a voice's alphabet by their nearest equivalents, in linear time for any input."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

# Replacements that Unicode's compatibility decomposition does not contain.
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


def fold(text: str, keep: frozenset[str]) -> str:
    """Replace every character outside `keep` by its nearest equivalent in `keep`, or else by a space.

    Combining marks and format characters without an equivalent are removed.
    """
    if not keep.issuperset(text) or "²" in text or "³" in text:
        text = _fold_by_context(text)
    return text.translate({ord(char): _fold_character(char, keep) for char in set(text) - keep})


def _fold_by_context(text: str) -> str:
    """Replace the characters whose equivalent depends on the characters beside them."""
    found = set(text)
    for needs, pattern, replacement in _CONTEXTUAL:
        # Most texts have few of these characters, and wide character classes are slow to compile.
        if not found.isdisjoint(needs):
            text = re.sub(pattern, replacement, text)
    return text


def _fold_character(char: str, keep: frozenset[str]) -> str:
    if char in _FOLDS:
        return _FOLDS[char]
    # Each character is decomposed separately: normalising a whole text sorts its combining marks in quadratic time.
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
    # A raised digit behind a number or a single letter is a power; behind a word it is a footnote mark, and removed.
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
# (characters, pattern, replacement): applied if the text contains one of the characters.
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
    # With a space only in front of it, a dash is a minus sign.
    ("‒–", r"(?<![^\s(\[=:~])[‒–](?=[$£€¥]?\.?\d)", "-"),
    ("–", r"(?<=\d)–(?=[A-Z]\d)", "-"),
    ("·⋅∙", r"(?<=\d) ?[·⋅∙] ?(?=\d)", " × "),
    ("º", r"(?<=\d)\s?º", "°"),
    ("↑▲", r"[↑▲] ?(?=[$£€]?\d)", "up "),
    ("↓▼", r"[↓▼] ?(?=[$£€]?\d)", "down "),
    # Fixed-width spaces group the digits of one number.
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
