"""A text of any length as it is spoken: chapters, and the paragraphs of each."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Paragraph:
    """A text that is followed by the pause of a paragraph: a paragraph, a heading, an item of a list, a row of a table.

    text: may have line breaks where the source has them. line: its first line in the source, from 1; 0 if the source
    has no lines that a reader knows, as in an EPUB.
    """

    text: str
    line: int = 0


@dataclass(frozen=True)
class Chapter:
    """A part of the text with a file or mark of its own. The heading is its first paragraph, if it is to be spoken.

    title: the text of its heading, without markup; empty if it has none.
    """

    title: str
    paragraphs: list[Paragraph] = field(default_factory=list)


@dataclass(frozen=True)
class Document:
    """An input, parsed. title, author, language: as the input names them, or empty. cover: a JPEG or PNG file, or None.

    has_markup: whether square brackets and `<break>` in the paragraphs are markup, see spoken_text/markup_tags.py; a
    bracket that is text then has a backslash before it.
    """

    chapters: list[Chapter]
    title: str = ""
    author: str = ""
    language: str = ""
    cover: bytes | None = None
    has_markup: bool = False
