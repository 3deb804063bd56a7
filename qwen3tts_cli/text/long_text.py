"""Split a text into utterances of bounded length.

text -> paragraphs (blank lines) -> sentences (sentencex) -> pieces no longer than the limit -> greedy packing.

Every stage is a generator over bounded slices, so memory stays flat and time linear for any input. An utterance never
crosses a blank line: a change in one paragraph leaves the utterances of every other paragraph as they were.
"""

import re
from collections.abc import Callable, Iterator

from ..errors import UsageError
from .cut_points import cut_sentence, would_divide
from .speakable import SPEAKABLE

# sentencex is quadratic in the number of quotations of a paragraph, hence bounded windows; a window holds several
# utterances, so that few sentences are looked at twice.
_WINDOW_PER_LIMIT = 4
_MIN_WINDOW_CHARACTERS = 2000

_PARAGRAPH_BREAK = re.compile(r"\n\s*\n|[\f\u2029]")
_WORD_START = re.compile(r"\S")


def split_long_text(text: str, limit: int, code: str, prepare: Callable[[str], str] | None) -> Iterator[str]:
    """Utterances of a text whose lines end in LF; see splitting.utterances. code: of a language, or "auto"."""
    spoke = False
    window = max(_MIN_WINDOW_CHARACTERS, _WINDOW_PER_LIMIT * limit)
    code = "en" if code == "auto" else code
    for start, end in _paragraphs(text):
        units = _sentences(text, start, end, window, limit, code)
        if prepare:
            units = _prepared(units, prepare)
        for utterance in _packed(units, limit, code):
            spoke = True
            yield utterance
    if not spoke:
        raise UsageError("nothing to speak: the text holds no letter or digit that this voice can say")


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _PARAGRAPH_BREAK.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _sentences(text: str, start: int, end: int, window: int, limit: int, code: str) -> Iterator[str]:
    """Sentences of text[start:end] with the whitespace that follows them; none is longer than the window."""
    while first := _WORD_START.search(text, start, end):
        start = first.start()
        stop = min(start + window, end)
        sentences = _segment(text[start:stop], code)
        if stop < end:
            # The window cuts its last sentence: keep what is complete, look again from there.
            if len(sentences) == 1:
                sentences = list(cut_sentence(sentences[0], limit, code))
            # One piece in a whole window is followed by whitespace alone: it is complete.
            if len(sentences) > 1:
                sentences.pop()
        yield from sentences
        start += sum(map(len, sentences))


def _segment(window: str, code: str) -> list[str]:
    """Cut a string into sentences that joined give it back."""
    # Imported here: it costs 20 ms, and most texts are one utterance.
    import sentencex

    # One character for one: whitespace other than ASCII makes sentencex slice inside a character and panic, a lone
    # surrogate has no UTF-8 form.
    clean = re.sub(r"[^\S\n]", " ", window)
    clean = re.sub(r"[\x00-\x08\x0e-\x1f\ud800-\udfff]", "\ufffd", clean)
    try:
        lengths = [len(part) for part in sentencex.segment(code, clean)]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # pyo3's PanicException is no Exception
        return [window]
    sentences: list[str] = []
    position = 0
    for length in lengths:
        part = window[position : position + length]
        # Without a space, a mark of ASCII is one inside a word: ./configure, 20.-
        inside = position and not window[position - 1].isspace() and window[position - 1 : position + 1].isascii()
        if sentences and (inside or would_divide(window, position, code)):
            sentences[-1] += part
        else:
            sentences.append(part)
        position += length
    if position != len(window):
        return [window]
    return sentences


def _prepared(sentences: Iterator[str], prepare: Callable[[str], str]) -> Iterator[str]:
    for sentence in sentences:
        spoken = prepare(sentence).strip()
        if spoken:
            yield spoken + " " if sentence[-1:].isspace() else spoken


def _packed(sentences: Iterator[str], limit: int, code: str) -> Iterator[str]:
    """Join neighbours greedily while they fit: whatever comes later never changes an utterance that is out."""
    packed = ""
    for sentence in sentences:
        for piece in cut_sentence(sentence, limit, code):
            if len((packed + piece).rstrip()) <= limit:
                packed += piece
            else:
                if SPEAKABLE.search(packed):
                    yield packed.strip()
                packed = piece.lstrip()
    if SPEAKABLE.search(packed):
        yield packed.strip()
