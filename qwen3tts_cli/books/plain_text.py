"""Plain text: paragraphs at blank lines, chapters at `[chapter:Title]`."""

from __future__ import annotations

import re

from .document import Chapter, Document, Paragraph
from .headings import one_line, speaks

_CHAPTER = re.compile(r"[ \t]*\[chapter:((?:[^\[\]\\\n]|\\.)*)\][ \t]*")
_SEPARATOR = re.compile(r"[\s*\-_#~=+.·•●○§⁂※❦❧☙◆◇★☆—–]+")  # a line between two paragraphs that is only drawn


def parse_plain_text(text: str, markup: bool) -> Document:
    """Return the paragraphs and chapters of a plain text whose lines end in LF.

    markup: whether square brackets are markup, `[chapter:Title]` at the beginning of a line included. A paragraph keeps
    its line breaks; its line counts from 1. A title is not spoken, and what is before the first one has no title.
    Paragraphs without a letter, digit or tag and chapters without a paragraph are left out.
    """
    chapters = [Chapter("")]
    lines: list[str] = []
    first = 0

    def end_paragraph() -> None:
        joined = "\n".join(lines).strip()
        if speaks(joined) or (markup and "<break" in joined):
            chapters[-1].paragraphs.append(Paragraph(joined, first))
        lines.clear()

    for number, line in enumerate(text.split("\n"), 1):
        if markup and (found := _CHAPTER.match(line)):
            end_paragraph()
            chapters.append(Chapter(one_line(re.sub(r"\\([\[\]\\])", r"\1", found[1]))))
            line = line[found.end() :]
        if not line.strip() or _SEPARATOR.fullmatch(line):
            end_paragraph()
            continue
        if not lines:
            first = number
        lines.append(line.rstrip())
    end_paragraph()
    return Document([chapter for chapter in chapters if chapter.paragraphs], has_markup=markup)
