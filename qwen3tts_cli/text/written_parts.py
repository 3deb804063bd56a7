"""Which part of a text each part of what is spoken of it says, where numbers became words and words were replaced.

The words that are the same in both are found. Where a cut is among others, it goes to the gap whose punctuation marks
are those of the cut. Any input takes linear time.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

# Letters of scripts without spaces, each of which counts as a word.
_DENSE = "\u0e00-\u0eff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_DENSE}]|[^\W_{_DENSE}]+")
_QUOTES = "\"'“”‘’«»‹›„‚「」『』"
_OPENING = "\"'“‘„‚«‹([{¿¡「『《（"
# How many words of the text may be without a word that is spoken, and how many for each spoken word without one.
_LOST, _LOST_PER_WORD = 24, 4
_REACH = 50  # words on each side of the likeliest gap that are looked at

_Place = tuple[int, int, int]  # the first, the likeliest and the last of the words before which a cut may be


def cut_alike(text: str, parts: Sequence[str]) -> list[str]:
    """Cut a text into as many parts as it is spoken in. Joined, they are the text again; some may be empty.

    parts: what is spoken, at least one part.
    """
    if len(parts) == 1:
        return [text]
    if "".join(parts) == text:
        return list(parts)
    words = list(_WORD.finditer(text))
    spoken: list[str] = []
    firsts = []
    for part in parts:
        firsts.append(len(spoken))
        spoken += (match.group().casefold() for match in _WORD.finditer(part))
    places = _places(spoken, [match.group().casefold() for match in words])
    cuts = [0]
    for before, part, first in zip(parts, parts[1:], firsts[1:], strict=False):
        cuts.append(max(cuts[-1], _cut(text, words, places[first], _marks(_tail(before) + _head(part)))))
    return [text[start:end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def _places(spoken: list[str], written: list[str]) -> list[_Place]:
    """Where the text may be cut for a cut before each spoken word, and behind the last. Both: words without case."""
    places: list[_Place] = []
    i = j = 0
    for found, at in [*_matches(spoken, written), (len(spoken), len(written))]:
        if found == i:  # words before it that are not spoken may be on either side
            places.append((j, at, at))
        else:
            share = (at - j) / (found - i)
            places.append((j, j, j))
            places += ((j, j + round(k * share), at) for k in range(1, found - i))
            places.append((at, at, at))
        i, j = found + 1, at + 1
    return places


def _matches(spoken: list[str], written: list[str]) -> Iterator[tuple[int, int]]:
    """The places of words that are the same in both: runs, which begin with two words; and between runs such words as
    are there once in both."""
    ends = len(spoken), len(written)
    spoken, written = [*spoken, ""], [*written, ""]  # the ends are alike
    pairs: dict[tuple[str, str], list[int]] = {}
    for place in range(ends[1]):
        pairs.setdefault((written[place], written[place + 1]), []).append(place)
    i = j = 0
    while i < ends[0]:
        if spoken[i] == written[j]:
            yield i, j
            i, j = i + 1, j + 1
            continue
        behind, place = ends
        for k in range(i, ends[0]):
            found = pairs.get((spoken[k], spoken[k + 1]), [])
            index = bisect_left(found, j)
            if index < len(found) and found[index] - j <= _LOST + _LOST_PER_WORD * (k - i):
                behind, place = k, found[index]
                break
        counts, others = Counter(spoken[i:behind]), Counter(written[j:place])
        known = {word: at for at, word in enumerate(written[j:place], j) if counts[word] == others[word] == 1}
        last = -1
        for k in range(i, behind):
            if (at := known.get(spoken[k], -1)) > last:
                yield k, at
                last = at
        i, j = behind, place


def _cut(text: str, words: list[re.Match[str]], place: _Place, marks: set[str]) -> int:
    """The position of a cut. marks: the punctuation marks at the cut of what is spoken."""
    first, likeliest, last = place

    def cost(word: int) -> tuple[bool, bool, int]:
        gap = text[slice(*_gap(text, words, word))]
        found = _marks(gap)
        return not re.search(r"\s", gap), not (marks & found or marks == found), abs(word - likeliest)

    word = min(range(max(first, likeliest - _REACH), min(last, likeliest + _REACH) + 1), key=cost)
    start, end = _gap(text, words, word)
    if word in (0, len(words)):
        return (0, len(text))[word > 0]
    gap = text[start:end]
    spaced = re.match(r".*\s", gap, re.DOTALL)
    return start + (spaced.end() if spaced else len(gap.rstrip(_OPENING)))


def _gap(text: str, words: list[re.Match[str]], word: int) -> tuple[int, int]:
    """Where the gap before a word begins and ends."""
    return words[word - 1].end() if word else 0, words[word].start() if word < len(words) else len(text)


def _marks(gap: str) -> set[str]:
    return {character for character in gap if not character.isspace() and character not in _QUOTES}


def _tail(part: str) -> str:
    """What is behind the last word of a part."""
    return re.search(r"[\W_]*\Z", part).group()


def _head(part: str) -> str:
    """What is before the first word of a part."""
    return re.match(r"[\W_]*", part).group()
