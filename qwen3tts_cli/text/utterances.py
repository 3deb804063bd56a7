"""Split a text into utterances of bounded length. Texts above the limit are split by long_text.py."""

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


class NothingToSpeakError(UsageError):
    """A text has no letter or digit that can be spoken."""


def utterances(
    text: str, limit: int, language: str = "auto", prepare: Callable[[str], str] | None = None
) -> Iterator[str]:
    """Return utterances of at most `limit` characters that together say `text`, in order.

    A text that fits the limit is one utterance, unchanged. A longer text is cut at sentence ends; a sentence above the
    limit is cut at clause marks, else at spaces, else between grapheme clusters. A cut never falls where
    cut_points.would_divide is true, unless nothing else fits. Utterances are stripped; parts without a letter or digit
    are joined to a neighbour or dropped; no other character is lost, repeated or changed. The cuts depend on the text
    alone, and a cut never depends on another paragraph (blank lines separate paragraphs). LF, CR LF and CR end a line.

    limit: in code points, at least 1; CR LF counts as one. language: a language name of the model, a code such as "en",
    or "auto". prepare: a pure function that rewrites a sentence with LF line ends, before its length is measured.
    Raises NothingToSpeakError at the call, not at the first item, if the text has no letter or digit.
    """
    flat = _with_lf(text)
    if (whole := _whole(text, flat, limit, prepare)) is not None:
        return iter((whole,))
    # Imported here, because most texts are one utterance.
    from .long_text import split_long_text

    parts = split_long_text(flat, limit, language_code(language), prepare)
    return parts if prepare or flat == text else _with_own_line_ends(parts, flat, text)


def utterances_with_written(
    text: str, limit: int, language: str = "auto", prepare: Callable[[str], str] | None = None
) -> Iterator[tuple[str, str]]:
    """Return each of `utterances`, and the part of the text that it says; both have LF line ends.

    The part is exact unless the prepared text of a sentence is above the limit: then the words beside the cut decide.
    Arguments and errors are those of `utterances`.
    """
    flat = _with_lf(text)
    if (whole := _whole(flat, flat, limit, prepare)) is not None:
        return iter(((whole, flat.strip()),))
    from .long_text import split_with_written
    from .written_parts import cut_alike

    return split_with_written(flat, limit, language_code(language), prepare, cut_alike)


def _with_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _whole(text: str, flat: str, limit: int, prepare: Callable[[str], str] | None) -> str | None:
    """The whole prepared text, if it fits the limit; else None. flat: `text` with LF as its line ends."""
    if limit < 1:
        raise UsageError(f"utterance length: {limit} characters, at least 1 is needed")
    _require_speakable(text, prepare)
    if len(flat) > limit:
        return None
    whole = utterance(text, prepare)
    return whole if len(whole) <= limit else None


def language_code(language: str) -> str:
    """Return the code that the rules for cuts know a language by; of an unknown language, its name in lower case."""
    return _LANGUAGE_CODES.get(language.lower(), language.lower())


def utterance(text: str, prepare: Callable[[str], str] | None = None) -> str:
    """Return the whole prepared text as one utterance of any length. Raises NothingToSpeakError."""
    _require_speakable(text, prepare)
    if prepare:
        _require_speakable(text := prepare(text), prepare)
    return text


def _require_speakable(text: str, prepare: Callable[[str], str] | None) -> None:
    if not SPEAKABLE.search(text):
        by = " that this voice can say" if prepare else ""
        raise NothingToSpeakError(f"nothing to speak: the text holds no letter or digit{by}")


def _with_own_line_ends(parts: Iterator[str], flat: str, text: str) -> Iterator[str]:
    """Yield for each part, a slice of `flat`, the same slice of `text`. flat: `text` with LF as its line ends."""
    pairs = re.finditer("\r\n", text)
    pair = next(pairs, None)
    end = shift = 0
    for part in parts:
        # Between two parts there is no letter or digit, and every part has one, so the first match is the right one.
        start = flat.index(part, end)
        end = start + len(part)
        edges = []
        for edge in (start, end):
            while pair and pair.start() - shift < edge:
                shift += 1
                pair = next(pairs, None)
            edges.append(edge + shift)
        yield text[slice(*edges)]
