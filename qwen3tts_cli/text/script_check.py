"""Refuse a text in a script that the opened model cannot speak, and name a model that can."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..models.config.model import ModelConfig

# First word of a character's Unicode name: (name of the script in messages, whether the large models speak it).
_SCRIPTS = {
    "CJK": ("Chinese", True),
    "HIRAGANA": ("Japanese", True),
    "KATAKANA": ("Japanese", True),
    "HANGUL": ("Korean", True),
    "CYRILLIC": ("Cyrillic", True),
}

# Letters that belong to no script, and symbols that Unicode counts as letters; character_folding.py replaces them.
_SYMBOLS = frozenset("\u00b5\u03bc\u2126\u03a9ʹʻʼʽˈˌːªº")
# A single Greek letter is a symbol (alpha rays, delta t); two or more are a Greek word.
_GREEK = "[\u0391-\u03a9\u03b1-\u03c9]"


def check_script(text: str, config: ModelConfig) -> None:
    """Raise UsageError if the text contains letters that the opened model cannot say.

    Only a model with a voice manifest and English as its only language refuses letters: all outside the Latin script,
    except single Greek letters. Other models accept any text.
    """
    if text.isascii() or config.voice is None or set(config.languages) != {"english"}:
        return
    foreign = {char for char in set(text) if not _is_latin(char)}
    if not re.search(_GREEK + "{2}", text):
        foreign = {char for char in foreign if not re.match(_GREEK, char)}
    if not foreign:
        return
    scripts = {_script_name(char) for char in foreign}
    first = next(char for char in text if char in foreign)
    script = _script_name(first)
    if script == "CJK" and scripts & {"HIRAGANA", "KATAKANA"}:
        script = "HIRAGANA"
    name, spoken = _SCRIPTS.get(script, (script.capitalize(), False))
    who = f"the embedded voice ({config.voice.name}) speaks English only"
    what = f"{name} text ('{first}', U+{ord(first):04X})"
    if spoken:
        raise UsageError(f"{who}; {what} needs a large model: qwen3tts models pull 0.6b, then -m 0.6b")
    raise UsageError(f"{who}; {what} is in none of the ten languages that the large models speak")


class IncomingScriptCheck:
    """Checks a text that comes in pieces as `check_script` checks it whole: the same texts are refused, at the first
    piece that shows it."""

    def __init__(self, config: ModelConfig) -> None:
        self._config, self._last = config, ""

    def feed(self, text: str) -> None:
        """Check the next piece. Raises UsageError; a script that only later pieces show is not named in it."""
        # with the character before the piece, because two Greek letters are a word and one is a symbol
        check_script(self._last + text, self._config)
        self._last = text[-1:] or self._last


def _is_latin(char: str) -> bool:
    """Whether a character is not a letter, or can be folded to Latin letters."""
    if char in _SYMBOLS or not unicodedata.category(char).startswith("L"):
        return True
    for part in unicodedata.normalize("NFKD", char):
        if unicodedata.category(part).startswith("L") and part not in _SYMBOLS:
            name = unicodedata.name(part, "")
            if not name.startswith(("LATIN ", "MODIFIER LETTER ")):
                return False
    return True


def _script_name(char: str) -> str:
    return unicodedata.name(char, "unknown").replace("-", " ").split()[0]
