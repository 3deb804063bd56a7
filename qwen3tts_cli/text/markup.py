"""Strip markup from a text, which is not spoken: escape sequences, HTML, Markdown, and hyphens at line ends.

Any input takes linear time: every pattern has a bounded length, or cannot match across its own first character, and
block marks are matched line by line.
"""

from __future__ import annotations

import re

from .english.rewrite_rules import word_set

# Terminal escape sequences (ECMA-48): CSI, strings such as OSC up to their terminator, and two-character sequences.
_ESCAPES = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\^\[|\\(?:x1[bB]|033|e))\[[0-9;?]{0,40}[A-Za-z]|\x1b[ -/]*[0-Z\\^-~]|\x1b[\[\]]?|[^\n]\x08"
)
_BLOCKS = (
    "address article aside blockquote body br caption center dd details div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 head header hr html li main nav ol p pre section summary table tbody tfoot thead title tr "
    "ul break"
)
# Inline elements of HTML and SSML; any other word in angle brackets is kept.
_INLINES = (
    "a abbr acronym audio b bdi bdo big button canvas cite code col colgroup data datalist del dfn em embed emphasis "
    "font i iframe img input ins kbd label lang legend link map mark meta meter noscript object option output param "
    "phoneme picture progress prosody q rp rt ruby s samp say-as script select small source span speak strike strong "
    "style sub sup svg td template textarea th time track tt u var video voice wbr"
)
_VALUE = r"(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+)"
_FLAG = "(?:async|autoplay|checked|controls|defer|disabled|hidden|loop|multiple|muted|open|readonly|required|selected)"
_TAG = (
    rf"</?(?P<name>{'|'.join((_BLOCKS + ' ' + _INLINES).split())})"
    rf"(?:\s+[\w:.-]{{1,50}}\s?=\s?{_VALUE}|\s+{_FLAG}(?=[\s/>]))*\s*/?>"
)
# Elements that are separated by a comma.
_CELLS = word_set("td th option")
# Elements whose contents are not spoken.
_UNREAD = r"<(script|style|template)(?:\s[^<>]{0,500})?>"
_DECLARATION = r"<(?:!(?i:doctype)|\?[A-Za-z])[^<>]{0,500}>|<!\[CDATA\[|\]\]>"
_AUTOLINK = r"<((?:https?|ftp|mailto):[^<>\s]{1,2000}|[\w.%+-]{1,64}@[\w.-]{1,255})>"
_POWER = r"(?:(?<=[\d)])|(?<=\b[A-Za-z]))<sup>([-−]?\d{1,3})</sup>"
_ENTITY = r"&(?:#\d{1,12}|#[xX][0-9A-Fa-f]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});"

_TARGET = (
    r"\(\s{0,8}(?:<[^<>\n]{0,500}>|<?[^()\s]{0,2000}"
    r"(?:\([^()\s]{0,500}\)[^()\s]{0,500})?)(?:\s{1,8}[\"'(][^()\n]{0,300}[\"')])?\s{0,8}\)"
)
_IMAGE = rf"!\[([^\[\]]{{0,1000}})\]{_TARGET}"
_LINK = rf"\[([^\[\]]{{0,1000}})\](?:{_TARGET}|\[\])"
_NAMED_LINK = r"!?\[([^\[\]]{0,1000})\]\[([^\[\]\n]{1,100})\]"
_DEFINITION = r"\s{0,3}\[([^\[\]^\n]{1,100})\]:\s{1,8}(?:<|[/#.]|[a-z]{2,8}:)\S*(?:\s+[\"'(][^\n]*[\"')])?\s*$"
_FOOTNOTE = r"\[\^[^\[\]\s]{1,40}\]:?"
_TASK = r"^(\s*(?:[-*+]|\d{1,9}[.)])\s+)\[[ xX]\]\s+"
_HEADING = r"\s{0,3}#{1,6}\s+"
_QUOTE = r"\s{0,3}(?:>(?![=\d$£€.])\s?)+"
_ALERT = r"^\s*\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\]\s*$"
# A shell prompt in front of a command.
_PROMPT = r"\s{0,8}\$ (?=[a-z./~])(?!(?:is|are|was|and|or|to|sign|amount|value|values|per|in)\b)"
# A fence may be followed by the name of a language, if a later fence closes the block.
_FENCE = r"\s*(?:`{3,}|~{3,})\s*$"
_OPENING = r"\s*(?:`{3,}|~{3,})\s*[\w+#.-]*\s*$"
_MARKS = (
    (r"(?<![\w*\\])\*(?=[^\s*])([^*\n]{1,500})(?<=\S)\*(?![\d*])", r"\1"),
    (r"(?<![\w\\])_(?=[^\s_])([^_\n]{1,500})(?<=\S)_(?!\w)", r"\1"),
    (r"(?<![\d\s*\\])\*{2,3}(?!\*)|(?<![*\\])\*{2,3}(?![\d\s*])|~~", ""),
    (r"(?<![\w\\])__(?=[^\s_])|(?<=[^\s_\\])__(?!\w)", ""),
    (r"(?<!=)==(?=[^\s=])([^=\n]{1,500})(?<=\S)==(?!=)", r"\1"),
    (r"`+", ""),
    (r"(?<![\w$\\])\$\$?([^\s$\d][^$\n]{0,200})(?<=\S)\$\$?(?![\w$])", r"\1"),
    (r"\\(?=[!-/:-@\[-`{-~]|\n)", ""),
)
_DIVIDED = r"(?<=[^\W_])[-\u2010\u00ad][^\S\n]{0,8}\n[^\S\n]*(?=[^\W_])"
# The first words of compounds that keep their hyphen, such as "seventy" in seventy-five.
_COMPOUNDS = word_set(
    "all anti co cross eight eighty ever ex far fifty five first forty four free full great half hand hard high ill "
    "left long low mid much multi near nine ninety non off old one open part post pre pro quasi right second self semi "
    "seven seventy short single six sixty small so soft state sub ten third thirty three top twenty two ultra up well "
    "wide work world year"
)


def strip_markup(text: str) -> str:
    """Return the text without markup. Paragraphs and lists stay, lines end in LF, HTML entities become characters."""
    bare = text.replace("\r\n", "\n").replace("\r", "\n")
    if re.search(r"[\x08\x1b\x90-\x9f]|\^\[\[|\\(?:x1[bB]|033|e)\[", bare):
        bare = re.sub(_ESCAPES, "", bare)
    if "<" in bare:
        bare = _without_comments(bare)
        bare = re.sub(_AUTOLINK, r" \1 ", bare)
        bare = re.sub(_POWER, r"^\1", bare)
        bare = re.sub(_DECLARATION, "", _without_scripts(bare))
        bare = re.sub(_TAG, _tag_replacement, bare, flags=re.I)
        bare = re.sub(r"(^|\n)[^\S\n]{0,80}, ", r"\1", bare)
    if re.search(r"[#>|=`~*_\[\\-]|\$(?![\d.]| [^a-z./~])", bare):
        bare = _without_markdown(bare)
    if "&" in bare:
        bare = re.sub(_ENTITY, _entity_character, bare)
    bare = join_divided_words(bare)
    return text if bare == text else re.sub(" {2,}", " ", bare).strip()


def join_divided_words(text: str) -> str:
    """Return a text whose lines end in LF without the hyphens that divide words at line ends; compounds keep theirs."""
    return re.sub(_DIVIDED, _join_divided, text) if "\n" in text else text


def _without_comments(text: str) -> str:
    kept, position = [], 0
    while (start := text.find("<!--", position)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept.append(text[position:start])
        position = end + 3
    return "".join(kept) + text[position:]


def _without_scripts(text: str) -> str:
    kept, position = [], 0
    ends: dict[str, int] = {}
    low = text.lower()
    for begin in re.finditer(_UNREAD, low):
        name = begin.group(1)
        # A missing end tag is searched for only once.
        if begin.start() < position or ends.get(name) == -1:
            continue
        ends[name] = end = low.find(f"</{name}>", begin.end())
        if end >= 0:
            kept.append(text[position : begin.start()])
            position = end + len(name) + 3
    return " ".join([*kept, text[position:]])


def _tag_replacement(tag: re.Match[str]) -> str:
    name = tag["name"].lower()
    return "\n" if name in _BLOCKS.split() else ", " if name in _CELLS and tag.group()[1] != "/" else ""


def _entity_character(entity: re.Match[str]) -> str:
    # Imported here, because its table of all entities is slow to load.
    import html

    return html.unescape(entity.group())


def _join_divided(division: re.Match[str]) -> str:
    """Replace a hyphen at a line end: by nothing if it divides a word, by "-" in a compound (seventy-five)."""
    text = division.string
    before = re.search(r"-?[^\W_]+$", text[max(division.start() - 40, 0) : division.start()])
    head = before.group() if before else ""
    tail = re.match(r"[^\W_]+-?", text[division.end() : division.end() + 40]).group()
    if division.group().startswith("\u00ad"):
        return ""
    if tail in ("and", "or", "to"):
        return "- "
    compound = head.startswith("-") or tail.endswith("-") or head.lower() in _COMPOUNDS
    same_case = tail.islower() or (head.isupper() and tail.isupper())
    return "-" if compound or not same_case or not (head + tail).isalpha() else ""


def _without_markdown(text: str) -> str:
    text = _without_block_marks(text)
    if "[" in text:
        text = _without_links(text)
    for pattern, replacement in _MARKS:
        text = re.sub(pattern, replacement, text)
    return text


def _without_links(text: str) -> str:
    names: set[str] = set()
    if "]:" in text:
        lines = []
        for line in text.split("\n"):
            if found := re.match(_DEFINITION, line):
                names.add(found.group(1).lower())
            else:
                lines.append(line)
        text = "\n".join(lines)
    text = re.sub(_FOOTNOTE, "", text)
    text = re.sub(_LINK, r"\1", re.sub(_IMAGE, r"\1", text))
    if names:
        text = re.sub(_NAMED_LINK, lambda link: link.group(1 if link.group(2).lower() in names else 0), text)
        text = re.sub(r"\[([^\[\]\n]{1,100})\]", lambda a: a.group(1 if a.group(1).lower() in names else 0), text)
    return text


def _without_block_marks(text: str) -> str:
    if "\n" not in text and text[:1] not in "#>|`~=*_-+$ ":
        return text
    lines = text.split("\n")
    out: list[str] = []
    in_table = False
    fences = (index for index, line in enumerate(lines) if line.lstrip()[:1] in ("`", "~") and re.match(_FENCE, line))
    last_fence = max(fences, default=-1)
    for index, line in enumerate(lines):
        if line[:4].lstrip()[:1] == ">":
            line = re.sub(_ALERT, r"\1.", re.sub(_QUOTE, "", line, count=1))
        if line.lstrip()[:2] == "$ ":
            line = re.sub(_PROMPT, "", line, count=1)
        mark = line.lstrip()[:1]
        if mark in ("-", "=", "*", "_", "|", ":", "+") and _is_rule(line):
            in_table = "|" in line or mark == "+"
            if not in_table:
                out.append("")
            continue
        header = index + 1 < len(lines) and "|" in line and "|" in lines[index + 1] and _is_rule(lines[index + 1])
        in_table = "|" in line and (in_table or header or (mark == "|" and line.rstrip().endswith("|")))
        if in_table:
            out.append(_table_row(line))
        elif mark == "#" and re.match(_HEADING, line):
            out += ["", re.sub(_HEADING, "", line, count=1).rstrip("# "), ""]
        elif mark in ("`", "~") and re.match(_OPENING if index < last_fence else _FENCE, line):
            out.append("")
        else:
            out.append(re.sub(_TASK, r"\1", line, count=1) if "[" in line[:400] else line)
    return "\n".join(out)


def _is_rule(line: str) -> bool:
    """Whether a line is a horizontal rule, the underline of a heading, or the separator below a table header."""
    marks = set(line) - set(" \t")
    if "+" in marks:
        return marks <= set("+|-=:") and line.count("-") + line.count("=") >= 3
    if "|" in marks:
        return "-" in marks and marks <= set("|:-")
    return len(marks) == 1 and marks <= set("-=*_") and sum(line.count(mark) for mark in marks) >= 3


def _table_row(line: str) -> str:
    """Return the cells of a table row, separated by commas, as a sentence."""
    cells = ", ".join(cell.strip() for cell in line.strip().strip("|").split("|") if cell.strip())
    return cells if cells.endswith((".", "!", "?")) or not cells else cells + "."
