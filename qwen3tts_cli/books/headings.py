"""Blocks of a text to chapters: which headings begin one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from .document import Chapter, Paragraph

_MARKUP = re.compile(r"(?<!\\)(?:\[(?:pause|voice):[^\[\]]{0,200}\]|<break(?=[\s/>])[^<>]{0,200}>)")


class Block(NamedTuple):
    """A paragraph, and whether it is a heading.

    paragraph: never without a letter or digit. level: 1 to 6 for a heading of this level, else 0.
    """

    paragraph: Paragraph
    level: int = 0


def speaks(text: str, has_markup: bool = False) -> bool:
    """Whether a text has a letter or digit, outside of markup if there is any."""
    return any(map(str.isalnum, _MARKUP.sub("", text) if has_markup else text))


def one_line(text: str) -> str:
    """Return a text with single spaces for its whitespace, as titles are."""
    return " ".join(text.split())


def chapter_level(blocks: Iterable[Block]) -> int:
    """Return the level of the headings that begin chapters: the highest that occurs at least twice, else 1."""
    counts = Counter(block.level for block in blocks if block.level)
    return min((level for level, count in counts.items() if count > 1), default=1)


def plain_title(text: str, has_markup: bool) -> str:
    """Return the title that a heading gives a chapter: its text on one line, without markup and its backslashes."""
    return one_line(re.sub(r"\\(?=[\[\\]|<break)", "", _MARKUP.sub("", text)) if has_markup else text)


def split_at_headings(blocks: list[Block], has_markup: bool = False) -> list[Chapter]:
    """Return the chapters of a text; see `chapter_level`. What is before the first heading has an empty title."""
    level = chapter_level(blocks)
    chapters: list[Chapter] = []
    for block in blocks:
        if block.level == level:
            chapters.append(Chapter(plain_title(block.paragraph.text, has_markup)))
        elif not chapters:
            chapters.append(Chapter(""))
        chapters[-1].paragraphs.append(block.paragraph)
    return [chapter for chapter in chapters if any(speaks(each.text, has_markup) for each in chapter.paragraphs)]
