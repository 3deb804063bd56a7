"""A lexicon: what to say in place of words of a text.

The file is UTF-8 text of lines with two to four columns, which tabs separate:

| column | content |
|---|---|
| from | the text to replace, at most 200 characters |
| to | what to say in its place; may be empty |
| language | the name or code of the language of texts in which the line counts; empty: any |
| flags | `i`: capitals and small letters are the same; `w`: only whole words |

Blank lines, and lines that begin with `# `, are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from ..common.json_fields import short_repr
from ..errors import InputError, UsageError
from ..text.languages_and_voices import language_name

_LIMIT_BYTES = 16_000_000
_LONGEST_SOURCE = 200  # characters: a bound for the work at each place of a text
_PREFIX = 3  # characters that the entries of an index are looked up by
_FLAGS = "iw"


class Entry(NamedTuple):
    """A line of a lexicon. source: the text to replace, without line breaks. target: what to say in its place.

    language: the lower-case name of a language, or empty. any_case: flag `i`. whole_word: flag `w`.
    """

    source: str
    target: str
    language: str = ""
    any_case: bool = False
    whole_word: bool = False


class Lexicon:
    """The entries of a lexicon. It does not change; any thread may use it.

    >>> Lexicon([Entry("Dr.", "Doctor"), Entry("nginx", "engine x", any_case=True)]).apply("Dr. NGINX", "english")
    'Doctor engine x'
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Raises UsageError for an entry that is empty or too long, or is there twice."""
        self.entries = tuple(entries)
        seen = set[tuple[object, ...]]()
        for entry in self.entries:
            if problem := _problem(entry, seen):
                raise UsageError(f"lexicon: {problem}")
        self._indexes: dict[str, _Index] = {}

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Lexicon:
        """Read a file.

        Raises UsageError if there is no such file, InputError if it cannot be read or for a line that is malformed; the
        message names file and line.
        """
        name = os.fspath(path)
        try:
            with open(path, "rb") as file:
                data = file.read(_LIMIT_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise UsageError(f"lexicon {name}: {error.strerror}") from None
        except (OSError, ValueError) as error:
            raise InputError(f"lexicon {name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if len(data) > _LIMIT_BYTES:
            raise InputError(f"lexicon {name}: more than {_LIMIT_BYTES:,} bytes")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise InputError(f"lexicon {name}, line {line}: not UTF-8: byte 0x{data[error.start]:02X}") from None
        entries, seen = [], set[tuple[object, ...]]()
        for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
            if not line.strip() or line.startswith("# ") or line == "#":
                continue
            try:
                entry = _entry(line)
                problem = _problem(entry, seen)
            except UsageError as error:
                problem = str(error)
            if problem:
                raise InputError(f"lexicon {name}, line {number}: {problem}")
            entries.append(entry)
        return cls(entries)

    @property
    def digest(self) -> str:
        """The hash of the entries, in hexadecimal; it does not depend on their order."""
        text = json.dumps(sorted(self.entries), ensure_ascii=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def apply(self, text: str, language: str = "auto") -> str:
        """Return the text with its words replaced, in one pass from left to right.

        At each place the longest entry counts; of several of that length the one with a language, then the one without
        `i`, then the one with `w`. What was put in is not looked at again. A line break of the text, but not a blank
        line, counts as a space.
        language: the name or code of the language of the text; "auto": only entries for any language count.
        """
        key = language_name(language)
        index = self._indexes.get(key)
        if index is None:
            index = self._indexes[key] = _Index(entry for entry in self.entries if entry.language in ("", key))
        if not index.by_source:
            return text
        return "\n\n".join([index.apply(paragraph) for paragraph in text.split("\n\n")])


class _Index:
    """Entries by their source in lower case: by_source, and the lengths to look for at a place by what is there.

    All comparisons are of casefolded text; an entry without `i` is then compared as it is.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.by_source: dict[str, list[Entry]] = {}
        for entry in sorted(entries, key=lambda each: (not each.language, each.any_case, not each.whole_word)):
            self.by_source.setdefault(entry.source.casefold(), []).append(entry)
        lengths: dict[str, set[int]] = {}
        for source in self.by_source:
            lengths.setdefault(source[:_PREFIX], set()).add(len(source))
        self._lengths = {prefix: sorted(found, reverse=True) for prefix, found in lengths.items()}
        self._widths = sorted({len(prefix) for prefix in lengths}, reverse=True)

    def apply(self, text: str) -> str:
        line = text.replace("\n", " ")
        folded = line.casefold()
        # Where each character begins in the folded line; None if it is the same place. Folding never shortens.
        starts = None
        if len(folded) != len(line):
            starts = array("Q", accumulate((len(character.casefold()) for character in line), initial=0))
        lengths, widths = self._lengths, self._widths
        parts, kept, place, end = list[str](), 0, 0, len(line)
        while place < end:
            start = place if starts is None else starts[place]
            for width in widths:
                if (found := lengths.get(folded[start : start + width])) and (
                    match := self._match(line, place, folded, start, starts, found)
                ):
                    entry, behind = match
                    parts += text[kept:place], entry.target
                    kept = place = behind
                    break
            else:
                place += 1
        return "".join([*parts, text[kept:]]) if parts else text

    def _match(
        self, line: str, place: int, folded: str, start: int, starts: array[int] | None, lengths: list[int]
    ) -> tuple[Entry, int] | None:
        """The entry that begins at a place, and the place behind it. start: the place in the folded line."""
        for length in lengths:
            entries = self.by_source.get(folded[start : start + length])
            if not entries or start + length > len(folded):
                continue
            behind = start + length if starts is None else bisect_left(starts, start + length)
            if starts is not None and starts[behind] != start + length:
                continue  # it ends inside a character, as "s" does in a folded "ß"
            for entry in entries:
                if not entry.any_case and not line.startswith(entry.source, place):
                    continue
                if entry.whole_word and (_is_in_word(line, place - 1) or _is_in_word(line, behind)):
                    continue
                return entry, behind
        return None


def _is_in_word(line: str, place: int) -> bool:
    """Whether there is a letter, digit or combining mark at a place."""
    return 0 <= place < len(line) and unicodedata.category(line[place])[0] in "LNM"


def _entry(line: str) -> Entry:
    """The entry of a line. Raises UsageError."""
    columns = line.split("\t")
    while len(columns) > 2 and not columns[-1].strip():
        columns.pop()
    if not 2 <= len(columns) <= 4:
        found = "1 column" if len(columns) == 1 else f"{len(columns)} columns"
        raise UsageError(f"found {found}, expected from, to, language and flags with tabs between them")
    source, target, language, flags = (*columns, "", "")[:4]
    language, flags = language.strip(), flags.strip()
    if set(flags) - set(_FLAGS) or len(set(flags)) < len(flags):
        raise UsageError(f"flags {short_repr(flags)}: expected i, w or iw")
    if language and not set(language) - set(_FLAGS):
        raise UsageError(f"language {short_repr(language)}: flags are the fourth column")
    return Entry(source, target, language_name(language) if language else "", "i" in flags, "w" in flags)


def _problem(entry: Entry, seen: set[tuple[object, ...]]) -> str:
    """What is wrong with an entry, or an empty text. seen: the entries before it, to which it is added."""
    if not entry.source.strip():
        return "the text to replace is empty"
    if len(entry.source) > _LONGEST_SOURCE:
        return f"the text to replace has {len(entry.source)} characters, at most {_LONGEST_SOURCE} are possible"
    source = entry.source.casefold() if entry.any_case else entry.source
    key = (source, *entry[2:])
    if key in seen:
        return f"{short_repr(entry.source)} is there twice"
    seen.add(key)
    return ""
