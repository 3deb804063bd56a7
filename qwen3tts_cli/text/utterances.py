"""Split a text into utterances of bounded length: the entry, and the line ends of the text as it was given."""

import re
from collections.abc import Callable, Iterator

from ..errors import UsageError
from .speakable import SPEAKABLE

_LANGUAGE_CODES = {
    "chinese": "zh",
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "beijing_dialect": "zh",
    "sichuan_dialect": "zh",
}


def utterances(
    text: str, limit: int, language: str = "auto", prepare: Callable[[str], str] | None = None
) -> Iterator[str]:
    """Texts of at most `limit` characters that together say `text`, in order.

    A text that fits the limit is one utterance, unchanged. A longer one is cut at sentence ends, a sentence longer than
    the limit at clause marks, then spaces, then between grapheme clusters; utterances are stripped, parts without a
    letter or digit are joined to a neighbour or dropped, and no other character is lost, doubled or changed. The cut
    depends on the text alone, and starts afresh after every blank line. No cut divides what `cuts.is_whole` keeps
    together, unless nothing else fits. CR LF and CR are line ends where the text is cut.

    limit: characters (code points; CR LF is one), at least 1. language: a model's language name, a code such as "en",
    or "auto". prepare: rewrites each sentence (folding, spelling out) before its length counts, with LF for its line
    ends; it must be a pure function.
    Raises UsageError at the call, before anything is yielded, when the text holds no letter or digit.
    """
    if limit < 1:
        raise UsageError(f"utterance length: {limit} characters, at least 1 is needed")
    _check(text, prepare)
    flat = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    if len(flat) <= limit:
        whole = utterance(text, prepare)
        if len(whole) <= limit:
            return iter((whole,))
    # Imported here: most texts are one utterance.
    from .long_text import split_long_text

    parts = split_long_text(flat, limit, _LANGUAGE_CODES.get(language.lower(), language.lower()), prepare)
    return parts if prepare or flat == text else _with_own_line_ends(parts, flat, text)


def utterance(text: str, prepare: Callable[[str], str] | None = None) -> str:
    """The whole text, prepared, however long it is. Raises UsageError when the result holds no letter or digit."""
    _check(text, prepare)
    if prepare:
        _check(text := prepare(text), prepare)
    return text


def _check(text: str, prepare: Callable[[str], str] | None) -> None:
    if not SPEAKABLE.search(text):
        by = " that this voice can say" if prepare else ""
        raise UsageError(f"nothing to speak: the text holds no letter or digit{by}")


def _with_own_line_ends(parts: Iterator[str], flat: str, text: str) -> Iterator[str]:
    """Slices of the text as it was given, for slices of the one whose lines end in LF alone."""
    pairs = re.finditer("\r\n", text)
    pair = next(pairs, None)
    end = shift = 0
    for part in parts:
        # Between two parts stands neither letter nor digit, and every part has one: the first that is found is it.
        start = flat.index(part, end)
        end = start + len(part)
        edges = []
        for edge in (start, end):
            while pair and pair.start() - shift < edge:
                shift += 1
                pair = next(pairs, None)
            edges.append(edge + shift)
        yield text[slice(*edges)]
