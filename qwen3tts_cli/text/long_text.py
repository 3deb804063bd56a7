"""Split a text that is longer than one utterance.

The stages: the text is cut into paragraphs at blank lines; paragraphs into sentences, by sentencex; sentences into
parts within the limit. Then neighbouring parts are joined while they fit.

Each stage is a generator that reads slices of bounded length, so that any input takes constant memory and linear time.
An utterance never crosses a blank line, so a change in one paragraph does not change the utterances of another.
"""

import re
from collections.abc import Callable, Iterator

from ..errors import UsageError
from .cut_points import cut_sentence, would_divide
from .speakable import SPEAKABLE

# sentencex takes quadratic time in the number of quotations, so it gets windows of bounded length. A window holds
# several utterances, so that few sentences are segmented twice.
_WINDOW_PER_LIMIT = 4
_MIN_WINDOW_CHARACTERS = 2000

_PARAGRAPH_BREAK = re.compile(r"\n\s*\n|[\f\u2029]")
_WORD_START = re.compile(r"\S")


def split_long_text(text: str, limit: int, code: str, prepare: Callable[[str], str] | None) -> Iterator[str]:
    """Split a text whose lines end in LF, as described in utterances.utterances.

    limit: the most characters of an utterance. code: the two-letter code of a language, or "auto". prepare: rewrites a
    sentence before its length is measured. Raises UsageError at the end if no utterance was yielded.
    """
    return (spoken for spoken, _ in split_with_written(text, limit, code, prepare, lambda sentence, parts: parts))


def split_with_written(
    text: str,
    limit: int,
    code: str,
    prepare: Callable[[str], str] | None,
    cut_written: Callable[[str, list[str]], list[str]],
) -> Iterator[tuple[str, str]]:
    """Yield each utterance of split_long_text and the part of the text that it says.

    cut_written: cuts a sentence of the text into the parts that are given for it, prepared.
    """
    is_silent = True
    window = max(_MIN_WINDOW_CHARACTERS, _WINDOW_PER_LIMIT * limit)
    code = "en" if code == "auto" else code
    for start, end in _paragraphs(text):
        sentences = _sentences(text, start, end, window, limit, code)
        for utterance in _join_neighbours(_prepared(sentences, prepare), limit, code, cut_written):
            is_silent = False
            yield utterance
    if is_silent:
        raise UsageError("nothing to speak: the text holds no letter or digit that this voice can say")


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _PARAGRAPH_BREAK.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _sentences(text: str, start: int, end: int, window: int, limit: int, code: str) -> Iterator[str]:
    """Yield the sentences of text[start:end], each with the whitespace behind it, none longer than the window.

    window: how many characters are given to sentencex at a time. limit, code: see split_long_text.
    """
    while first := _WORD_START.search(text, start, end):
        start = first.start()
        stop = min(start + window, end)
        sentences = segment(text[start:stop], code)
        if stop < end:
            # The window may cut its last sentence, which therefore begins the next window.
            if len(sentences) == 1:
                sentences = list(cut_sentence(sentences[0], limit, code))
            # A single part that fills the window is followed by whitespace only, so it is complete.
            if len(sentences) > 1:
                sentences.pop()
        yield from sentences
        start += sum(map(len, sentences))


def segment(window: str, code: str) -> list[str]:
    """Cut a string into sentences. Joined, they are the string again."""
    # Imported here: the import is slow, and most texts are one utterance.
    import sentencex

    # Non-ASCII whitespace makes sentencex slice inside a character and panic, and a lone surrogate has no UTF-8
    # encoding. Each such character is replaced by one other character, which keeps all positions.
    clean = re.sub(r"[^\S\n]", " ", window)
    clean = re.sub(r"[\x00-\x08\x0e-\x1f\ud800-\udfff]", "\ufffd", clean)
    try:
        lengths = [len(part) for part in sentencex.segment(code, clean)]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # pyo3's PanicException is not derived from Exception
        return [window]
    sentences: list[str] = []
    position = 0
    for length in lengths:
        part = window[position : position + length]
        # An ASCII mark without a space behind it is inside a word: ./configure, 20.-
        inside = position and not window[position - 1].isspace() and window[position - 1 : position + 1].isascii()
        if sentences and (inside or would_divide(window, position, code)):
            sentences[-1] += part
        else:
            sentences.append(part)
        position += length
    if position != len(window):
        return [window]
    return sentences


def _prepared(sentences: Iterator[str], prepare: Callable[[str], str] | None) -> Iterator[tuple[str, str]]:
    """Yield each sentence as it is spoken, and as it is written. Those of which nothing is spoken are left out."""
    for sentence in sentences:
        if prepare is None:
            yield sentence, sentence
        elif spoken := prepare(sentence).strip():
            yield spoken + " " if sentence[-1:].isspace() else spoken, sentence


def _join_neighbours(
    sentences: Iterator[tuple[str, str]], limit: int, code: str, cut_written: Callable[[str, list[str]], list[str]]
) -> Iterator[tuple[str, str]]:
    """Join neighbouring sentences while they fit the limit. Later sentences never change an utterance already yielded.
    A sentence above the limit is cut first. Sentences and utterances: as spoken, and as written."""
    joined = joined_written = ""
    for sentence, written in sentences:
        parts = list(cut_sentence(sentence, limit, code))
        for part, written_part in zip(parts, cut_written(written, parts), strict=True):
            if len((joined + part).rstrip()) <= limit:
                joined += part
                joined_written += written_part
            else:
                if SPEAKABLE.search(joined):
                    yield joined.strip(), joined_written.strip()
                joined, joined_written = part.lstrip(), written_part
    if SPEAKABLE.search(joined):
        yield joined.strip(), joined_written.strip()
