"""Markdown to blocks of text, by markdown-it-py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InputError
from .document import Document, Paragraph
from .headings import Block, one_line, speaks, split_at_headings
from .html_text import read_html

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

MAX_DEPTH = 100  # of quotes and lists
MAX_QUOTED_LINES = 100_000  # in quotes inside quotes; each level counts
MAX_LABELS = 20  # of links, nested in each other
_BRACKET, _ANGLE = "\0", "\x01"  # `[` and `<` that are text, until the end
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?=[ \t]*[\w-]+[ \t]*:|[ \t]*#)((?:.*\n)*?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
_FIELD = re.compile(r"([\w-]+)[ \t]*:[ \t]*(.*)")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,200}\]:")
_REFERENCE = re.compile(r"\[\^[^\[\]\s]{1,200}\]")
_BREAK = re.compile(r"<break(?=[\s/>])[^<>]{0,200}>", re.IGNORECASE)
_BRACKETS = re.compile(r"\\.|[\[\]]|`+", re.DOTALL)
_ESCAPED = re.compile(r"\\+(?=[\[\0]|[<\x01]break(?=[\s/>]))")


def parse_markdown(name: str, text: str, *, alt: bool, code: bool, markup: bool) -> Document:
    """Return the chapters of a Markdown text, which begin at headings; see `split_at_headings`.

    text: its lines end in LF. Title, author and language are those of the front matter; the title is else that of the
    only heading of level 1. name: for messages. alt: images are spoken as their alternative text. code: blocks of code
    are spoken. markup: brackets and `<break>` are markup where the source has them without a backslash. Raises
    InputError for quotes and lists more than MAX_DEPTH deep, or too many lines of them.
    """
    text, fields = _take_front_matter(text)
    blocks = _Blocks(name, alt, code, markup).read(text.translate({1: " ", 2: " "}))
    title = fields.get("title", "")
    if not title and len(first := [block for block in blocks if block.level == 1]) == 1:
        title = split_at_headings(first, markup)[0].title if split_at_headings(first, markup) else ""
    return Document(
        split_at_headings(blocks, markup),
        title,
        fields.get("author", ""),
        fields.get("lang", fields.get("language", "")),
        has_markup=markup,
    )


def _take_front_matter(text: str) -> tuple[str, dict[str, str]]:
    """Return the text with empty lines for its front matter, and the fields of that, lists joined by commas."""
    found = _FRONT_MATTER.match(text)
    if found is None:
        return text, {}
    fields: dict[str, list[str]] = {}
    name = ""
    for line in found[1].split("\n"):
        if field := _FIELD.match(line):
            name = field[1].lower().removesuffix("s")
            fields[name] = [field[2]]
        elif line.lstrip().startswith("- ") and name:
            fields[name].append(line.lstrip()[2:])
    joined = {
        name: ", ".join(
            value for each in values for part in _list_items(each) if (value := one_line(part.strip().strip("\"'")))
        )
        for name, values in fields.items()
    }
    return "\n" * found[0].count("\n") + text[found.end() :], joined


def _list_items(value: str) -> Sequence[str]:
    value = value.strip()
    return value[1:-1].split(",") if value.startswith("[") and value.endswith("]") else (value,)


def _parser(name: str) -> MarkdownIt:
    from markdown_it import MarkdownIt
    from markdown_it.parser_block import ParserBlock

    class Bounded(ParserBlock):
        """Refuses what the parser would leave out: it drops blocks that are nested too deeply."""

        quoted_lines = 0  # of the quotes inside quotes, which are looked through once more for each level

        def tokenize(self, state: StateBlock, startLine: int, endLine: int) -> None:
            if state.level > MAX_DEPTH:
                raise InputError(f"{name}: quotes and lists are nested more than {MAX_DEPTH} deep, the limit")
            if state.level > 3 and state.parentType == "blockquote":
                self.quoted_lines += endLine - startLine
                if self.quoted_lines > MAX_QUOTED_LINES:
                    raise InputError(f"{name}: more than {MAX_QUOTED_LINES:,} lines in nested quotes, the limit")
            super().tokenize(state, startLine, endLine)

    parser = MarkdownIt("commonmark", {"maxNesting": MAX_DEPTH + 10}).enable("table").enable("strikethrough")
    parser.block = Bounded()
    parser.configure("commonmark", {"maxNesting": MAX_DEPTH + 10}).enable(["table", "strikethrough"])
    parser.helpers = _Helpers()
    parser.block.ruler.before("reference", "footnote_definition", _skip_footnote)
    return parser


class _Helpers:
    """The parser's functions for links, with one for labels that takes linear time; the original is exponential."""

    def __init__(self) -> None:
        from markdown_it import helpers

        self.parseLinkDestination = helpers.parseLinkDestination
        self.parseLinkTitle = helpers.parseLinkTitle
        self._text, self._ends = "", {}

    def parseLinkLabel(self, state: StateInline, start: int, disableNested: bool = False) -> int:
        """Return the place of the bracket that closes the one at `start`, or -1. Links may lie in labels."""
        if state.src is not self._text:
            self._text, self._ends = state.src, _bracket_ends(state.src)
        return self._ends.get(start, -1)


def _bracket_ends(text: str) -> dict[int, int]:
    """Return the place of the closing bracket for each opening one that has at most MAX_LABELS nested in it."""
    ends: dict[int, int] = {}
    opened: list[list[int]] = []  # of each open bracket: its place, how many are nested in it
    runs = {len(run[0]): run.start() for run in re.finditer("`+", text)}  # the last run of backticks of each length
    place, last = 0, len(text)
    while place < last and (found := _BRACKETS.search(text, place)):
        place = found.end()
        if found[0] == "[":
            opened.append([found.start(), 0])
        elif found[0] == "]" and opened:
            start, nested = opened.pop()
            if nested <= MAX_LABELS:
                ends[start] = found.start()
            if opened:
                opened[-1][1] = max(opened[-1][1], nested + 1)
        elif found[0][0] == "`" and runs.get(len(found[0]), -1) > found.start():
            end = re.compile(f"(?<!`){found[0]}(?!`)").search(text, place)
            place = end.end() if end else place
    return ends


def _skip_footnote(state: StateBlock, startLine: int, endLine: int, silent: bool) -> bool:
    """A rule of the parser: a footnote's definition, with its indented paragraphs, is no block."""
    if state.is_code_block(startLine) or silent:
        return False
    begin = state.bMarks[startLine] + state.tShift[startLine]
    if not _FOOTNOTE.match(state.src, begin, state.eMarks[startLine]):
        return False
    line, rules = startLine + 1, state.md.block.ruler.getRules("paragraph")
    while line < endLine and not state.isEmpty(line) and state.sCount[line] >= state.blkIndent:
        begin = state.bMarks[line] + state.tShift[line]
        if _FOOTNOTE.match(state.src, begin, state.eMarks[line]) or any(
            rule(state, line, endLine, True) for rule in rules
        ):
            break
        line += 1
    while line < endLine and (state.isEmpty(line) or state.sCount[line] - state.blkIndent >= 4):
        line += 1
    state.line = line
    return True


class _Blocks:
    """Collects the blocks of one text."""

    def __init__(self, name: str, alt: bool, code: bool, markup: bool) -> None:
        self.name, self.alt, self.code, self.markup = name, alt, code, markup
        self.blocks: list[Block] = []

    def read(self, text: str) -> list[Block]:
        from markdown_it.rules_core import StateCore

        parser = _parser(self.name)
        state = StateCore(text.replace("\0", "\ufffd"), parser, {})
        parser.block.parse(state.src, parser, state.env, state.tokens)
        level, line, row = 0, 0, None
        for token in state.tokens:
            if token.map:
                line = token.map[0] + 1
            if token.type == "heading_open" and token.level == 0:
                level = int(token.tag[1])
            elif token.type == "heading_close":
                level = 0
            elif token.type == "tr_open":
                row = []
            elif token.type == "tr_close":
                self.add(", ".join(filter(None, row or ())), line)
                row = None
            elif token.type in ("fence", "code_block") and self.code:
                self.add(self.literal(token.content), line)
            elif token.type == "html_block":
                self.add_html(token.content, line)
            elif token.type == "inline":
                children: list[Token] = []
                parser.inline.parse(token.content, parser, state.env, children)
                text = self.inline(children).strip()
                if row is None:
                    self.add(text, line, level)
                else:
                    row.append(" ".join(text.split()))
        return self.blocks

    def add(self, text: str, line: int, level: int = 0) -> None:
        text = _REFERENCE.sub("", text)
        if self.markup:
            text = _ESCAPED.sub(lambda found: found[0] * 2, text).replace(_BRACKET, r"\[")
            text = re.sub(r"\x01(?=break[\s/>])", r"\\<", text)
        text = text.replace(_BRACKET, "[").replace(_ANGLE, "<").strip()
        if speaks(text) or (self.markup and "<break" in text):
            self.blocks.append(Block(Paragraph(text, line), level))

    def add_html(self, html: str, line: int) -> None:
        for block in read_html(self.name, html, alt=self.alt, code=self.code, xhtml=False, markup=self.markup).blocks:
            self.blocks.append(Block(Paragraph(_REFERENCE.sub("", block.paragraph.text), line), block.level))

    def inline(self, tokens: list[Token]) -> str:
        parts = []
        for token in tokens:
            if token.type == "text":
                parts.append(token.content)
            elif token.type in ("text_special", "code_inline"):
                parts.append(self.literal(token.content))
            elif token.type in ("softbreak", "hardbreak"):
                parts.append("\n")
            elif token.type == "image" and self.alt:
                parts.append(self.inline(token.children or []))
            elif token.type == "html_inline":
                parts.append(self.html_inline(token.content))
        return "".join(parts)

    def html_inline(self, tag: str) -> str:
        if self.markup and _BREAK.fullmatch(tag):
            return tag
        return "\n" if re.match(r"<br(?=[\s/>])", tag, re.IGNORECASE) else ""

    def literal(self, text: str) -> str:
        """A text without markup."""
        return text.replace("[", _BRACKET).replace("<", _ANGLE)
