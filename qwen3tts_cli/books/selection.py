"""Which chapters of a text are spoken, and the list of them."""

from __future__ import annotations

import re

from ..errors import UsageError
from .document import Document

_SHOWN_CHARACTERS = 40
_LONGEST = 10_000  # characters of a selection


def select_chapters(selection: str, count: int) -> list[int]:
    """Return the chapters that a selection such as "2-5,9" or "7-" names, counted from 0, in order, each once.

    count: the number of chapters. Raises UsageError if the selection is malformed or names a chapter that is not there.
    """
    shown = selection if len(selection) <= _SHOWN_CHARACTERS else selection[:_SHOWN_CHARACTERS] + "..."
    name = f"--chapters {shown!r}"
    if len(selection) > _LONGEST:
        raise UsageError(f"{name}: more than {_LONGEST:,} characters, the limit")
    chosen: set[int] = set()
    for part in selection.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:(-)\s*([0-9]{1,9})?\s*)?", part)
        if found is None:
            raise UsageError(f"{name}: expected numbers and ranges such as 2-5,9")
        first = int(found[1])
        last = int(found[3]) if found[3] else count if found[2] else first
        for number in (first, last) if found[3] else (first,):
            if not 1 <= number <= count:
                there = f"there are chapters 1 to {count}" if count > 1 else "there is one chapter"
                raise UsageError(f"{name}: no chapter {number}, {there}")
        if last < first:
            raise UsageError(f"{name}: the range {first}-{last} ends before it begins")
        chosen.update(range(first - 1, last))
    return sorted(chosen)


def list_chapters(document: Document) -> list[dict[str, str | int]]:
    """Return a dict for each chapter: `number` from 1, `title`, `characters` and `paragraphs`."""
    return [
        {
            "number": number,
            "title": chapter.title,
            "characters": sum(len(paragraph.text) for paragraph in chapter.paragraphs),
            "paragraphs": len(chapter.paragraphs),
        }
        for number, chapter in enumerate(document.chapters, 1)
    ]
