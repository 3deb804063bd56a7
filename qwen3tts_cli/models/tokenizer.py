"""The tokenizer: byte-level BPE of Qwen2 with a checkpoint's vocab.json, merges.txt and added tokens.

The stages: added tokens are cut out of the text; the rest is normalised to NFC and split into words; the UTF-8 bytes of
a word become token ids, whose neighbouring pairs are merged in the order of their ranks.
Source: transformers tokenization_qwen2.py, Qwen2Tokenizer; the pattern is its PRETOKENIZE_REGEX.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..common.json_fields import read_object, short_repr
from ..errors import CheckpointError, UsageError
from .bpe_merges import MAX_ID, MISSING, MergeTable, load_merge_table

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# the same for ASCII text: `re` can match it, so that the slow import of `regex` is not needed
ASCII_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\na-zA-Z0-9]?[a-zA-Z]+|[0-9]| ?[^\sa-zA-Z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MAX_ADDED_TOKENS = 1024
MAX_ADDED_CHARACTERS = 128
_MAX_CONFIG_BYTES = 1 << 20
_LOW, _HIGH = 0xFFFFFFFF, 0xFFFFFFFF << 32
_SHORT_PARTS = 48  # up to this length a scan is faster than a heap
_WORD_CACHE = 1 << 13
_WORD_CACHE_CHARACTERS = 32
_LONG_MARKS = 32


class Tokenizer:
    """Encodes text. Several threads may use an instance at the same time.

    table: the merges. added: maps added tokens to ids. added_pattern: matches an added token; None if there are none.
    max_id: the largest id that `encode` can return.
    """

    def __init__(self, table: MergeTable, added: dict[str, int]) -> None:
        self._table, self._words = table, {}  # type: MergeTable, dict[str, tuple[int, ...]]
        self.added = added
        self.max_id = max(table.max_id, *added.values(), 0)
        # longest first: if one added token is the beginning of another, the longer one is cut out
        longest_first = sorted(added, key=len, reverse=True)
        self.added_pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if added else None

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`; added tokens in the text become their ids. Raises UsageError for lone
        surrogates."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            found = f"lone surrogate U+{ord(text[error.start]):04X} at character {error.start + 1}"
            raise UsageError(f"text: {found}: not valid Unicode") from None
        parts = self.added_pattern.split(text) if self.added_pattern else [text]
        ids: list[int] = []
        for number, part in enumerate(parts):
            if number % 2:
                ids.append(self.added[part])
            elif part:
                self.encode_plain(part, ids)
        return ids

    def encode_plain(self, text: str, ids: list[int]) -> None:
        """Append the ids of a text to `ids`; the text of an added token is like other text."""
        plain = nfc(text)
        self.encode_words((plain[start:end] for start, end in word_spans(plain)), ids)

    def encode_words(self, words: Iterable[str], ids: list[int]) -> None:
        """Append the ids of words, which word_spans has found in a text in NFC, to `ids`."""
        cache = self._words
        for word in words:
            known = cache.get(word)
            if known is None:
                known = tuple(self._encode_word(word))
                if len(word) <= _WORD_CACHE_CHARACTERS:
                    if len(cache) >= _WORD_CACHE:
                        cache.clear()
                    cache[word] = known
            ids += known

    def _encode_word(self, word: str) -> list[int]:
        """Merge the bytes of one word: the pair of the lowest rank first, the leftmost of equal ranks first."""
        byte_ids = self._table.byte_ids
        parts = [byte_ids[byte] for byte in word.encode("utf-8")]
        return _merge_short(parts, self._table) if len(parts) <= _SHORT_PARTS else _merge_long(parts, self._table)


def word_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each word of a text in NFC. Joined, the words are the text; each is merged on its own."""
    return (match.span() for match in _word_pattern(text.isascii()).finditer(text))


def load_tokenizer(folder: Path, *, keep: bool = True) -> Tokenizer:
    """Load the tokenizer of a checkpoint folder. keep: see load_merge_table. Raises CheckpointError."""
    folder = Path(folder)
    return Tokenizer(load_merge_table(folder, keep=keep), _read_added_tokens(folder / "tokenizer_config.json"))


def _read_added_tokens(path: Path) -> dict[str, int]:
    """Read added_tokens_decoder of tokenizer_config.json. Returns a dict: content of a token: its id.

    Raises CheckpointError.
    """
    section = read_object(path, _MAX_CONFIG_BYTES).section("added_tokens_decoder")
    if len(section.values) > MAX_ADDED_TOKENS:
        found = f"{len(section.values)} tokens"
        raise CheckpointError(f"{path}: added_tokens_decoder: {found}, the limit is {MAX_ADDED_TOKENS}")
    added: dict[str, int] = {}
    for key in section.values:
        # isdigit() also accepts other digits, which int() reads differently or not at all
        if not (key.isascii() and key.isdigit() and len(key) <= 7 and int(key) <= MAX_ID):
            section.fail(short_repr(key), "that id", f"an id from 0 to {MAX_ID}")
        token = section.section(key)
        content = token.string("content", MAX_ADDED_CHARACTERS)
        if not content or content in added:
            token.fail("content", short_repr(content), "a non-empty token that occurs once")
        for flag in ("lstrip", "rstrip", "single_word"):
            token.fixed(flag, False)
        added[content] = int(key)
    if len(set(added.values())) != len(added):
        raise CheckpointError(f"{path}: added_tokens_decoder: an id occurs twice")
    return added


@functools.lru_cache(maxsize=2)
def _word_pattern(ascii_text: bool) -> Any:
    if ascii_text:
        return re.compile(ASCII_PATTERN, re.ASCII)
    import regex

    return regex.compile(PATTERN)


@functools.lru_cache(maxsize=1)
def _marks_pattern() -> Any:
    import regex

    return regex.compile(rf"\p{{M}}{{{_LONG_MARKS},}}")


def nfc(text: str) -> str:
    """Return the NFC of `text`, in near-linear time also for long runs of combining marks.

    unicodedata sorts such a run by insertion, which takes quadratic time. A stable sort by combining class gives the
    same canonical order, and the insertion sort of a sorted run takes linear time.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _marks_pattern().sub(lambda run: _ordered(run.group()), text))


def _ordered(marks: str) -> str:
    """Sort combining marks into canonical order. A mark of class 0 keeps its place, and only the marks between two
    such marks are sorted."""
    result: list[str] = []
    run: list[str] = []
    for mark in marks:
        if unicodedata.combining(mark):
            run.append(mark)
        else:
            result += sorted(run, key=unicodedata.combining)
            result.append(mark)
            run = []
    return "".join(result + sorted(run, key=unicodedata.combining))


def _merge_short(parts: list[int], table: MergeTable) -> list[int]:
    """Merge `parts` in place, scanning all pairs for the lowest rank after each merge: quadratic time."""
    merges = [table[left << 32 | right] for left, right in itertools.pairwise(parts)]
    while merges:
        best = min(merges)
        if best == MISSING:
            break
        at = merges.index(best)
        parts[at : at + 2] = [best & _LOW]
        del merges[at]
        if at < len(merges):
            merges[at] = table[parts[at] << 32 | parts[at + 1]]
        if at:
            merges[at - 1] = table[parts[at - 1] << 32 | parts[at]]
    return parts


def _merge_long(parts: list[int], table: MergeTable) -> list[int]:
    """Do the merges of _merge_short in n log n time, with a heap of rank << 32 | position and a linked list."""
    count = len(parts)
    following, preceding = list(range(1, count + 1)), list(range(-1, count - 1))
    heap: list[int] = []
    for at in range(count - 1):
        merge = table[parts[at] << 32 | parts[at + 1]]
        if merge != MISSING:
            heap.append(merge & _HIGH | at)
    heapq.heapify(heap)
    push, pop = heapq.heappush, heapq.heappop
    while heap:
        entry = pop(heap)
        at = entry & _LOW
        right = following[at]
        if parts[at] < 0 or right == count:
            continue
        merge = table[parts[at] << 32 | parts[right]]
        # the entry is stale: one of its two parts was merged with another part
        if merge ^ entry > _LOW:
            continue
        merged = parts[at] = merge & _LOW
        parts[right] = -1
        after, before = following[right], preceding[at]
        following[at] = after
        if after < count:
            preceding[after] = at
            new = table[merged << 32 | parts[after]]
            if new != MISSING:
                push(heap, new & _HIGH | at)
        if before >= 0:
            new = table[parts[before] << 32 | merged]
            if new != MISSING:
                push(heap, new & _HIGH | before)
    return [part for part in parts if part >= 0]
