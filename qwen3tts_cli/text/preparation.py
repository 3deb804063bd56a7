"""Rewrite a text for a voice whose manifest has spell_out: strip the markup, write numbers and symbols as words, and
replace the characters that the voice cannot read. Any input takes linear time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .character_folding import fold
from .markup import strip_markup

if TYPE_CHECKING:
    from ..models.config.model import VoiceManifest

# The characters that the speller reads, and those that a voice reads if its manifest has no allowed_characters.
_PRINTABLE_ASCII = "".join(map(chr, range(0x20, 0x7F)))

# Symbols outside ASCII that the speller writes as words.
_SPELLED_SYMBOLS = frozenset("¢£¥€₹₩₽₱₺₪₫฿₦₴₿°²³×÷±≈≤≥≠→\u00b5\u03a9§©√∞‰\n")


def prepare(text: str, manifest: VoiceManifest | None) -> str:
    """Return a text as the voice can read it.

    Without a manifest, or if its spell_out is False, this is the text unchanged. Otherwise the result contains only
    `allowed_characters`, with numbers, symbols and abbreviations as words; it is empty if the voice can say nothing of
    the text. A text that needs no change is returned unchanged, its spaces too.
    """
    return fold_and_spell(strip_markup(text), manifest) if manifest is not None and manifest.spell_out else text


def fold_and_spell(text: str, manifest: VoiceManifest) -> str:
    """Do the work of `prepare` on a text, or a sentence of a text, whose markup is already stripped."""
    allowed = frozenset(manifest.allowed_characters or _PRINTABLE_ASCII)
    folded = fold(text, allowed | _SPELLED_SYMBOLS | frozenset(_PRINTABLE_ASCII))
    if (manifest.default_language or "english").lower() in ("english", "en"):
        # Imported here, because only English voices with a manifest need it.
        from .english.spell_out import Speller

        as_digits = manifest.whole_numbers_as_digits_up_to if allowed.issuperset("0123456789") else None
        folded = Speller(-1 if as_digits is None else as_digits).spell(folded)
    if folded == text and allowed.issuperset(text):
        return text
    return _tidy(_restrict(folded, allowed))


def _restrict(text: str, allowed: frozenset[str]) -> str:
    """Replace each character outside `allowed` by its other case, or by a space."""

    def nearest(char: str) -> str:
        for candidate in (char.lower(), char.upper()):
            if candidate in allowed:
                return candidate
        return " "

    return text.translate({ord(char): nearest(char) for char in set(text) - allowed})


def _tidy(text: str) -> str:
    """Leave one space between words, no space before a punctuation mark, and one mark of several in a row."""
    text = " ".join(text.split())
    text = re.sub(r" (?=[,.;:!?])", "", text)
    text = re.sub(r"[,;:](?: ?[,;:])+", ",", text)
    text = re.sub(r"[,;:] ?(?=[.!?])", "", text)
    text = re.sub(r"(?<=[.!?]) ?[,;:](?= |$)", "", text)
    return text.strip(" ,;:")
