"""EPUB books: the documents of the spine, as chapters by the table of contents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from . import html_encoding
from .document import Chapter, Document
from .epub_archive import Archive
from .epub_contents import Place, read_contents
from .headings import Block, plain_title
from .html_text import HtmlText, read_html


def parse_epub(name: str, file: BinaryIO, *, alt: bool, code: bool) -> Document:
    """Return the chapters of an EPUB.

    One begins at each place that the table of contents names; without one, at each document. name: for messages. file:
    can seek. alt: images are spoken as their alternative text. code: blocks of code are spoken. Raises InputError for
    an archive over the limits of epub_archive.py, an encrypted one, and entries that are missing or broken.
    """
    archive = Archive(name, file)
    contents = read_contents(archive)
    by_entry: dict[str, list[Place]] = {}
    for place in contents.places:
        by_entry.setdefault(place.entry, []).append(place)
    documents = []
    for entry in contents.spine:
        places = by_entry.get(entry, [])
        text = _read_entry(archive, entry, [place.fragment for place in places if place.fragment], alt, code)
        documents.append(_Part(text.blocks, _starts(places, text)))
    chapters = _chapters(documents)
    return Document(chapters, contents.title, contents.author, contents.language, contents.cover)


@dataclass
class _Part:
    """A document of the spine. starts: title of a chapter by the number of blocks before it."""

    blocks: list[Block]
    starts: dict[int, str] = field(default_factory=dict)


def _read_entry(archive: Archive, entry: str, ids: list[str], alt: bool, code: bool) -> HtmlText:
    name = f"{archive.name}: the entry {entry!r}"
    text = html_encoding.decode_html(name, archive.read(entry, html_encoding.MAX_BYTES))
    return read_html(name, text, alt=alt, code=code, xhtml=True, ids=ids)


def _starts(places: list[Place], text: HtmlText) -> dict[int, str]:
    """Where chapters begin. Of two lines of the table that name the same block, the first is used.

    A line that names no element of the document is used only if there is no other: it then names the document.
    """
    starts: dict[int, str] = {}
    for place in places:
        if not place.fragment or place.fragment in text.places:
            starts.setdefault(text.places.get(place.fragment, 0), place.title)
    return starts or ({0: places[0].title} if places else {})


def _chapters(parts: list[_Part]) -> list[Chapter]:
    spoken = [part for part in parts if part.blocks]
    named = sum(len(part.starts) for part in spoken)
    if named < 2 and len(spoken) > 1:
        for part in spoken:
            part.starts = {0: next(iter(part.starts.values()), "") or _first_heading(part.blocks)}
    chapters = [Chapter("")]
    for part in parts:
        for number, block in enumerate(part.blocks):
            if number in part.starts:
                chapters.append(Chapter(part.starts[number] or _first_heading(part.blocks[number:])))
            chapters[-1].paragraphs.append(block.paragraph)
        chapters += (Chapter(title) for number, title in part.starts.items() if number >= len(part.blocks))
    found = [chapter for chapter in chapters if chapter.paragraphs]
    if len(found) == 1 and not found[0].title and spoken:
        return [Chapter(_first_heading(spoken[0].blocks), found[0].paragraphs)]
    return found


def _first_heading(blocks: list[Block]) -> str:
    return next((plain_title(block.paragraph.text, False) for block in blocks if block.level), "")
