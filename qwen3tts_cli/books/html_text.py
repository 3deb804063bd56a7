"""HTML to blocks of text: paragraphs, headings, items and rows, without what a listener does not expect."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import InputError
from . import html_encoding, html_tags
from .document import Document, Paragraph
from .headings import Block, one_line, speaks, split_at_headings
from .html_tags import names

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_BREAK, _CELL = "\x01", "\x02"  # a line break; the end of a cell of a table
_LONGEST_MARK = 3  # characters of the mark of a note, such as a letter
_SPACES = re.compile(r"[ \t\n\r\f]+")
_SKIPPED = names(
    "head script style nav template noscript rt rp iframe object audio video canvas x-svg select textarea datalist "
    "annotation annotation-xml dialog map"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = names(
    "address article aside blockquote body caption center dd details dir div dl dt fieldset figcaption figure footer "
    "form header hgroup hr html legend li listing main menu ol optgroup option p pre search section summary table "
    "tbody tfoot thead tr ul"
) | frozenset(_HEADINGS)
_NOTES = names(
    "footnote footnotes endnote endnotes rearnote rearnotes noteref footnote-ref footnoteref footnote-back "
    "footnote-backref doc-footnote doc-endnote doc-endnotes doc-noteref doc-backlink"
)
_NOTE_ATTRIBUTES = ("class", "role", "epub:type")
_PAGE_BREAKS = names("pagebreak doc-pagebreak")  # as a class it may be that of a whole chapter
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)


@dataclass
class HtmlText:
    """What is spoken of an HTML document.

    blocks: in order. places: for each of the ids that were asked for, the number of blocks before the element.
    title, author, language: as the head names them, or empty.
    """

    blocks: list[Block]
    places: dict[str, int] = field(default_factory=dict)
    title: str = ""
    author: str = ""
    language: str = ""


def parse_html(name: str, data: bytes, *, alt: bool, code: bool) -> Document:
    """Return the chapters of an HTML document, which begin at headings; see `split_at_headings`.

    name: for messages. alt: images are spoken as their alternative text. code: blocks of code are spoken. Raises
    InputError for a document over the limits of html_encoding.py and html_tags.py.
    """
    text = html_encoding.decode_html(name, data)
    found = read_html(name, text, alt=alt, code=code)
    return Document(split_at_headings(found.blocks), found.title, found.author, found.language)


def read_html(
    name: str,
    text: str,
    *,
    alt: bool = False,
    code: bool = False,
    xhtml: bool | None = None,
    ids: Collection[str] = (),
    markup: bool = False,
) -> HtmlText:
    """Return what is spoken of an HTML document.

    xhtml: None: as the document says. ids: of elements whose places are returned. markup: `<break>` stays in the text.
    name, alt, code, errors: see `parse_html`.
    """
    tree = parse_tree(name, text, xhtml)
    walk = _Walk(alt, code, frozenset(ids), markup)
    if tree.root is not None:
        walk.run(tree.root)
    result = HtmlText(walk.blocks, walk.places)
    if (title := tree.css_first("head title")) is not None:
        result.title = one_line(title.text())
    if tree.root is not None:
        attributes = tree.root.attributes
        result.language = (attributes.get("lang") or attributes.get("xml:lang") or "").strip()
    for meta in tree.css("head meta[name][content]"):
        if (meta.attributes["name"] or "").strip().lower() == "author" and not result.author:
            result.author = one_line(meta.attributes["content"] or "")
    return result


def parse_tree(name: str, text: str, xhtml: bool | None = None) -> LexborHTMLParser:
    """Return the tree of an HTML document; see `html_tags.prepare`. xhtml: None: as the document says."""
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    prepared = html_tags.prepare(name, text, html_encoding.is_xhtml(text) if xhtml is None else xhtml)
    try:
        return LexborHTMLParser(prepared)
    except SelectolaxError as error:
        raise InputError(f"{name}: the HTML cannot be parsed: {one_line(str(error))}") from None


def join_cells(text: str) -> str:
    """Return a text with a comma and a space between its cells, which end in _CELL; empty ones are left out."""
    return ", ".join(filter(None, (cell.strip() for cell in text.split(_CELL))))


class _Walk:
    """Visits the nodes of a tree in order, without recursion, and collects blocks."""

    def __init__(self, alt: bool, code: bool, ids: frozenset[str], markup: bool) -> None:
        self.alt, self.code, self.ids, self.markup = alt, code, ids, markup
        self.blocks: list[Block] = []
        self.places: dict[str, int] = {}
        self.parts: list[str] = []  # of the block that is being read
        self.level = self.pre = self.superscript = 0
        self.in_row = False
        self.blocks_in_cell = 0

    def run(self, root: LexborNode) -> None:
        open_nodes: list[LexborNode] = []
        node: LexborNode | None = root
        while True:
            if node is not None:
                if self.enter(node) and (child := node.first_child) is not None:
                    open_nodes.append(node)
                    node = child
                    continue
            elif open_nodes:
                node = open_nodes.pop()
            else:
                break
            self.leave(node)
            node = node.next if node is not root else None
        self.flush()

    def enter(self, node: LexborNode) -> bool:
        """Begin a node. Returns whether its children are visited."""
        tag = node.tag
        if tag == "-text":
            text = node.text_content or ""
            self.parts.append(text.replace("\n", _BREAK) if self.pre else text)
            return False
        if tag is None or tag[0] in "-!":
            return tag == "-document"
        attributes = node.attributes
        if self.is_skipped(tag, attributes):
            return False
        if tag in _BLOCKS:
            self.begin_block(tag)
        for key in ("id", "name"):
            if (value := attributes.get(key)) and value in self.ids:
                self.places.setdefault(value, len(self.blocks))
        if tag in ("pre", "listing"):
            self.pre += 1
            return self.code
        if tag == "sup":
            if not self.superscript and self.is_note(node):
                return False
            self.superscript += 1
        elif tag in ("td", "th"):
            self.begin_cell()
        else:
            self.add_element(tag, attributes)
        return True

    def is_skipped(self, tag: str, attributes: dict[str, str | None]) -> bool:
        if tag in _SKIPPED:
            return True
        if not attributes:
            return False
        if "hidden" in attributes or (attributes.get("aria-hidden") or "").strip().lower() == "true":
            return True
        if (style := attributes.get("style")) and _HIDDEN.search(style):
            return True
        for name in _NOTE_ATTRIBUTES:
            if value := attributes.get(name):
                words = value.lower().split()
                if not _NOTES.isdisjoint(words) or (name != "class" and not _PAGE_BREAKS.isdisjoint(words)):
                    return True
        return False

    def is_note(self, node: LexborNode) -> bool:
        """Whether a superscript refers to a note: it has no letter, or it is a link to a place in the book."""
        text = node.text()
        if not any(map(str.isalpha, text)):
            return True
        if len(text.strip()) > _LONGEST_MARK:
            return False
        parent = node.parent
        link = parent if parent is not None and parent.tag == "a" else node.css_first("a[href]")
        return link is not None and "#" in (link.attributes.get("href") or "")

    def add_element(self, tag: str, attributes: dict[str, str | None]) -> None:
        if tag == "br":
            self.parts.append(_BREAK)
        elif tag == "img":
            if self.alt and (text := attributes.get("alt")):
                self.parts.append(f" {text} ")
        elif tag == "wbr":
            return
        elif tag == "break" and self.markup:
            self.parts.append(f'<break time="{attributes.get("time") or ""}"/>')

    def begin_block(self, tag: str) -> None:
        if self.level:
            self.parts.append(_BREAK)  # a heading stays one block
            return
        if self.in_row and tag in ("p", "div") and not self.blocks_in_cell:
            self.blocks_in_cell += 1
            self.parts.append(" ")
            return
        self.flush()
        self.in_row = tag == "tr"
        self.level = _HEADINGS.get(tag, 0)

    def begin_cell(self) -> None:
        self.blocks_in_cell = 0
        if self.in_row:
            self.parts.append(_CELL)
        elif not self.level:
            self.flush()

    def leave(self, node: LexborNode) -> None:
        tag = node.tag
        if tag in ("pre", "listing"):
            self.pre -= self.pre > 0
        elif tag == "sup":
            self.superscript -= self.superscript > 0
        if tag not in _BLOCKS:
            return
        if self.level and tag not in _HEADINGS:
            self.parts.append(_BREAK)
        elif self.in_row and tag in ("p", "div"):
            self.parts.append(" ")
        else:
            self.flush()
            self.in_row, self.level = False, 0

    def flush(self) -> None:
        """End the block that is being read."""
        if not self.parts:
            return
        text = _SPACES.sub(" ", "".join(self.parts))
        self.parts.clear()
        lines = (join_cells(line) for line in text.split(_BREAK)) if not self.in_row else [join_cells(text)]
        text = "\n".join(filter(None, lines)).replace(_BREAK, " ")
        if speaks(text) or (self.markup and "<break" in text):
            self.blocks.append(Block(Paragraph(text), self.level))
