"""Split a text into utterances of bounded length.

text -> paragraphs (blank lines) -> sentences (sentencex) -> pieces no longer than the limit -> greedy packing.

Every stage is a generator over bounded slices, so memory stays flat and time linear for any input. An utterance never
crosses a blank line: a change in one paragraph leaves the utterances of every other paragraph as they were.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from ..errors import UsageError

# sentencex is quadratic in the number of quotations of a paragraph, hence bounded windows; a window holds several
# utterances, so that few sentences are looked at twice.
_WINDOW_PER_LIMIT = 4
_MIN_WINDOW_CHARACTERS = 2000

_SPEAKABLE = re.compile(r"[^\W_]")
_PARAGRAPH_BREAK = re.compile(r"\n\s*\n|[\f\u2029]")
_WORD_START = re.compile(r"\S")

# A period that sentencex takes for an end in some language: initials ("M. Dupont"), and text that goes on with a
# lower-case letter or a digit ("art. 5"). A missed end only makes a candidate cut disappear.
_INITIAL_AT_END = re.compile(r"(?:^|[^\w])[^\W\d_]\.\s+$")

_CLOSERS = "\"'”’»）)\\]】」』》〉"
_SPACE = re.compile(r"\s+")
# How far behind the limit the whitespace of a cut, or a grapheme cluster, is followed.
_LOOKAHEAD = 64

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
    depends on the text alone, and starts afresh after every blank line.

    limit: characters (code points), at least 1. language: a model's language name, a code such as "en", or "auto".
    prepare: rewrites each sentence (folding, spelling out) before its length counts; it must be a pure function.
    Raises UsageError at the call, before anything is yielded, when the text holds no letter or digit.
    """
    if limit < 1:
        raise UsageError(f"utterance length: {limit} characters, at least 1 is needed")
    if not _SPEAKABLE.search(text):
        raise UsageError("nothing to speak: the text holds no letter or digit")
    if len(text) <= limit:
        whole = prepare(text) if prepare else text
        if prepare and not _SPEAKABLE.search(whole):
            raise UsageError("nothing to speak: the text holds no letter or digit that this voice can say")
        if len(whole) <= limit:
            return iter((whole,))
    return _split(text, limit, _LANGUAGE_CODES.get(language.lower(), language.lower()), prepare)


def _split(text: str, limit: int, code: str, prepare: Callable[[str], str] | None) -> Iterator[str]:
    spoke = False
    window = max(_MIN_WINDOW_CHARACTERS, _WINDOW_PER_LIMIT * limit)
    for start, end in _paragraphs(text):
        units = _sentences(text, start, end, window, limit, "en" if code == "auto" else code)
        if prepare:
            units = _prepared(units, prepare)
        for utterance in _packed(units, limit):
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
                sentences = list(_pieces(sentences[0], limit))
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
        if sentences and _goes_on(sentences[-1], part):
            sentences[-1] += part
        else:
            sentences.append(part)
        position += length
    if position != len(window):
        return [window]
    return sentences


def _goes_on(before: str, after: str) -> bool:
    if not before.rstrip().endswith("."):
        return False
    return after[:1].islower() or after[:1].isdigit() or bool(_INITIAL_AT_END.search(before[-8:]))


def _prepared(sentences: Iterator[str], prepare: Callable[[str], str]) -> Iterator[str]:
    for sentence in sentences:
        spoken = prepare(sentence).strip()
        if spoken:
            yield spoken + " " if sentence[-1:].isspace() else spoken


def _packed(sentences: Iterator[str], limit: int) -> Iterator[str]:
    """Join neighbours greedily while they fit: whatever comes later never changes an utterance that is out."""
    packed = ""
    for sentence in sentences:
        for piece in _pieces(sentence, limit):
            if len((packed + piece).rstrip()) <= limit:
                packed += piece
            else:
                if _SPEAKABLE.search(packed):
                    yield packed.strip()
                packed = piece.lstrip()
    if _SPEAKABLE.search(packed):
        yield packed.strip()


def _pieces(sentence: str, limit: int) -> Iterator[str]:
    """Cut a sentence so that each piece, without the whitespace around it, fits the limit."""
    start = 0
    while len(sentence[start:].strip()) > limit:
        end = _cut(sentence, _WORD_START.search(sentence, start).start(), limit)
        yield sentence[start:end]
        start = end
    yield sentence[start:]


def _cut(sentence: str, start: int, limit: int) -> int:
    """Where to end the piece that begins with the word at `start`: past the whitespace that follows it."""
    stop = min(start + limit + _LOOKAHEAD, len(sentence))
    for pattern in _cuts():
        best = start
        for match in pattern.finditer(sentence, start, stop):
            # The mark must fit, the whitespace behind it need not.
            if match.start() + len(match.group().rstrip()) > start + limit:
                break
            best = match.end()
        # A mark in the first third would leave a stump.
        if best - start >= max(1, limit // 3):
            return best
    spaces = [match.end() for match in _SPACE.finditer(sentence, start, stop) if match.start() <= start + limit]
    if not spaces:
        return _grapheme_cut(sentence, start, limit)
    rest = len(sentence.rstrip()) - start
    if rest <= 2 * limit:
        # Two pieces are left: cut near the middle, so that no stray last word is spoken alone.
        spaces = [end for end in spaces if start + rest - end <= limit] or spaces
        return min(spaces, key=lambda end: abs(2 * (end - start) - rest))
    return spaces[-1]


@lru_cache(maxsize=1)
def _cuts() -> tuple[re.Pattern[str], ...]:
    """Where a sentence longer than the limit is cut, best first: ends inside a quotation, then clauses.

    ASCII marks count only before whitespace (1,000 and 7:30 stay whole), full-width ones anywhere.
    """
    return (
        re.compile(rf"(?<![.!?…])[.!?…]+[{_CLOSERS}]*\s+|[。！？｡।]+[{_CLOSERS}]*\s*"),
        re.compile(rf"[;:][{_CLOSERS}]*\s+|[；：]\s*|\s[—–]\s+|—\s*"),
        re.compile(rf",[{_CLOSERS}]*\s+|[，、､]\s*|\n\s*"),
    )


def _grapheme_cut(sentence: str, start: int, limit: int) -> int:
    """The last boundary of an extended grapheme cluster (UAX 29) within the limit."""
    import regex

    cut = start
    for cluster in regex.finditer(r"\X", sentence, pos=start, endpos=min(start + limit + _LOOKAHEAD, len(sentence))):
        if cluster.end() > start + limit:
            break
        cut = cluster.end()
    return cut if cut > start else start + limit
