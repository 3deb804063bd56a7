"""HTML before it is parsed: limits on what makes the parser slow, and removal of what is never spoken.

The parser (Lexbor) takes quadratic time for nested elements, for attributes of one element, and for formatting elements
that are open where a block ends. `prepare` therefore reads the tags as the HTML standard does (13.2.5, Tokenization),
keeps a stack like that of its tree construction (13.2.6), and refuses a document that would be slow. Where the stack is
simpler than the standard's, it is deeper. Comments, scripts and styles are removed, so that the parser sees the tags
that were counted and no others.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import regex


def names(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


MAX_DEPTH = 10_000
MAX_TAGS = 2_000_000
_MAX_ATTRIBUTES = 250
_MAX_DEPTH_SUM = 500_000_000  # of all tags; about three seconds in the parser
_MAX_REOPENED = 1_000_000  # formatting elements that the parser makes again where a block ends
_USUAL_FORMATS = 3  # open at the same time
_SAME_FORMATS = 3  # the standard reopens at most three elements that are alike
_LIST_DEPTH = 50
_VOID = names(
    "area base basefont bgsound br col embed frame hr image img input keygen link meta param source track wbr"
)
_IGNORED = names("html head body frameset")  # at most one of each is open
_FORMATTING = names("a b big code em font i nobr s small strike strong tt u")
_SCOPES = names("applet marquee object template table caption select")
_FORMAT_SCOPES = names("applet marquee object template caption")
_REMOVED = names("script style xmp iframe noembed noframes")
_ONLY_TEXT = frozenset({"title", "textarea"})
_RENAMED = {"svg": "x-svg", "math": "x-math", "plaintext": "x-plaintext"}
_CLOSE_P = names(
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer form h1 h2 h3 "
    "h4 h5 h6 header hgroup hr li dd dt listing main menu nav ol p pre search section summary table ul"
)
_CELLS = frozenset({"td", "th"})
# opening one of these closes elements like these, if nothing that the standard calls special is open inside them
_CLOSED_BY = {
    "p": frozenset({"p"}),
    "li": frozenset({"li"}),
    "dt": frozenset({"dt", "dd"}),
    "dd": frozenset({"dt", "dd"}),
    "td": _CELLS,
    "th": _CELLS,
    "tr": _CELLS | {"tr"},
    **dict.fromkeys(("tbody", "thead", "tfoot"), _CELLS | {"tr", "tbody", "thead", "tfoot", "colgroup"}),
}
_SPECIAL = _CLOSE_P | _SCOPES | _CELLS | names("button colgroup noscript tbody textarea tfoot thead title tr")


def prepare(name: str, text: str, xhtml: bool = False) -> str:
    """Return an HTML document without comments, scripts and styles, which the parser takes a bounded time for.

    xhtml: whether elements that end in `/>` have no content. svg, math and plaintext become x-svg, x-math and
    x-plaintext, so that the rules of HTML hold inside them. name: for messages. Raises InputError for more than
    MAX_TAGS tags, elements more than MAX_DEPTH deep, and too many attributes or open elements.
    """
    return _Preparation(name, text, xhtml).run()


def _compile_tags() -> regex.Pattern[str]:
    import regex

    space = r"[\t\n\f\r ]"
    value = rf"""{space}*+={space}*+(?:"[^"]*+"|'[^']*+'|(?!["'>])[^\t\n\f\r >]++)"""
    attribute = rf"[^\t\n\f\r />][^\t\n\f\r />=]*+(?:{value})?"
    rest = rf"(?P<rest>(?:[\t\n\f\r /]++|(?P<attribute>{attribute}))*+)"
    tag = rf"<(?P<end>/?)(?P<name>[a-zA-Z][^\t\n\f\r />]*+){rest}(?P<close>>|\Z)"
    comment = r"<!--(?:>|->|(?s:.*?)(?:--!?>|\Z))"
    other = r"<!\[CDATA\[(?P<cdata>(?s:.*?))(?:\]\]>|\Z)|<[!?][^>]*+(?:>|\Z)|</[^a-zA-Z>][^>]*+(?:>|\Z)|</>"
    return regex.compile(f"{tag}|{comment}|{other}")


class _OpenElements:
    """The elements that are open, as far as they decide how long the parser takes."""

    def __init__(self) -> None:
        self.stack: list[str] = []  # except formatting elements
        self.scopes: list[Counter[str]] = [Counter()]  # those since the last of _SCOPES, by name
        self.segments: list[Counter[str]] = [Counter()]  # those since the last of _SPECIAL, by name
        self.specials: list[str] = [""]
        self.formats: list[dict[str, list[str]]] = [{}]  # formatting elements of each scope by name, with attributes
        self.alike: Counter[str] = Counter()
        self.bases: list[int] = []  # the length of the stack with each of _SCOPES on top
        self.open_formats = self.forms = self.reopened = self.foreign = 0

    def depth(self) -> int:
        return len(self.stack) + self.open_formats + self.forms

    def open(self, tag: str, rest: str) -> None:
        if tag in _IGNORED:
            return
        if tag in _FORMATTING:
            self._open_format(tag, tag + rest)
            return
        self.reopened += max(0, self.open_formats - _USUAL_FORMATS)
        if tag in _CLOSE_P and self.specials[-1] == "p":
            self._pop_special()
        if closed := _CLOSED_BY.get(tag):
            while self.specials[-1] in closed:
                self._pop_special()
        elif tag == "option" and self.stack and self.stack[-1] == tag:
            self._pop()
        if tag == "form":  # its end tag leaves what is open inside it open
            self.forms += 1
            return
        self.stack.append(tag)
        self.scopes[-1][tag] += 1
        if tag in _SPECIAL:
            self.specials.append(tag)
            self.segments.append(Counter())
        else:
            self.segments[-1][tag] += 1
        self.foreign += tag in ("x-svg", "x-math")
        if tag in _SCOPES:
            self.bases.append(len(self.stack))
            self.scopes.append(Counter())
            self.formats.append({})

    def close(self, tag: str) -> None:
        if tag in _FORMATTING:
            if formats := self.formats[-1].get(tag):
                self.alike[formats.pop()] -= 1
                self.open_formats -= 1
            return
        self.reopened += max(0, self.open_formats - _USUAL_FORMATS)
        if tag in _SCOPES:
            if len(self.scopes) > 1 and self.scopes[-2][tag]:
                self._leave_scope()
        elif tag in ("p", "dt", "dd"):
            if self.specials[-1] == tag:
                self._pop_special()
        elif tag == "li":
            self._close_item()
        elif (self.scopes if tag in _SPECIAL else self.segments)[-1][tag]:
            while self._pop() != tag:
                pass

    def _open_format(self, tag: str, key: str) -> None:
        if tag in ("a", "nobr"):
            self.close(tag)  # an open one ends where the next begins
        if self.alike[key] < _SAME_FORMATS:
            self.alike[key] += 1
            self.formats[-1].setdefault(tag, []).append(key)
            self.open_formats += 1

    def _close_item(self) -> None:
        for tag in self.stack[: -_LIST_DEPTH - 1 : -1]:
            if tag == "li":
                while self._pop() != tag:
                    pass
                return
            if tag in ("ul", "ol") or tag in _SCOPES:
                return

    def _pop(self) -> str:
        tag = self.stack.pop()
        self.scopes[-1][tag] -= 1
        if tag in _SPECIAL:
            self.specials.pop()
            self.segments.pop()
        else:
            self.segments[-1][tag] -= 1
        self.foreign -= tag in ("x-svg", "x-math")
        return tag

    def _pop_special(self) -> None:
        """Close the innermost special element; it is not one of _SCOPES, which nothing closes but its end tag."""
        while self._pop() not in _SPECIAL:
            pass

    def _leave_scope(self) -> None:
        """Close all that is open since the last of _SCOPES, and that element."""
        base = self.bases.pop()
        while len(self.stack) > base:
            self._pop()
        self.scopes.pop()
        formats = self.formats.pop()
        if self._pop() in _FORMAT_SCOPES:
            for keys in formats.values():
                self.open_formats -= len(keys)
                self.alike.subtract(keys)
            return
        for tag, keys in formats.items():
            self.formats[-1].setdefault(tag, []).extend(keys)


class _Preparation:
    """One pass over the tags of a document."""

    def __init__(self, name: str, text: str, xhtml: bool) -> None:
        self.name, self.text, self.xhtml = name, text, xhtml
        self.elements = _OpenElements()
        self.tags = self.depth_sum = 0

    def run(self) -> str:
        import html

        parts, place, text, tags = [], 0, self.text, _compile_tags()
        while (found := tags.search(text, place)) is not None:
            parts.append(text[place : found.start()])
            place = found.end()
            if (tag := found["name"]) is None:
                if found["cdata"] and (self.xhtml or self.elements.foreign):
                    parts.append(html.escape(found["cdata"]))
                continue
            if not found["close"]:
                return "".join(parts)
            tag = tag.lower()
            begins = not found["end"] and not (self._has_xml_rules() and found["rest"].endswith("/"))
            if tag not in _REMOVED:
                parts.append(self._tag(_RENAMED.get(tag, tag), found))
            if begins and (tag in _REMOVED or tag in _ONLY_TEXT):
                end = self._find_end(tag, place)
                if tag in _ONLY_TEXT:
                    parts.append(text[place:end])
                place = end
        parts.append(text[place:])
        return "".join(parts)

    def _has_xml_rules(self) -> bool:
        return self.xhtml or self.elements.foreign > 0

    def _find_end(self, tag: str, place: int) -> int:
        """The place of the end tag of an element that holds only text."""
        found = re.compile(rf"</{tag}(?=[\t\n\f\r />])", re.IGNORECASE).search(self.text, place)
        return found.start() if found else len(self.text)

    def _tag(self, tag: str, found: regex.Match[str]) -> str:
        """Count a tag. Returns it as the parser is to see it."""
        rest = found["rest"]
        self.tags += 1
        if found["end"]:
            self.elements.close(tag)
            return self._checked(f"</{tag}>")
        if len(rest) > _MAX_ATTRIBUTES and len(found.captures("attribute")) > _MAX_ATTRIBUTES:
            raise InputError(f"{self.name}: an element with more than {_MAX_ATTRIBUTES} attributes, the limit")
        if tag in _VOID:
            return self._checked(f"<{tag}{rest}>")
        if self._has_xml_rules() and rest.endswith("/"):
            self.tags += 1
            return self._checked(f"<{tag}{rest.rstrip('/')}></{tag}>")
        self.elements.open(tag, rest)
        return self._checked(f"<{tag}{rest}>")

    def _checked(self, tag: str) -> str:
        """Return the tag. Raises InputError at a limit."""
        depth, elements = self.elements.depth(), self.elements
        self.depth_sum += depth
        if depth > MAX_DEPTH:
            raise InputError(f"{self.name}: elements are nested more than {MAX_DEPTH:,} deep, the limit")
        if self.tags > MAX_TAGS:
            raise InputError(f"{self.name}: more than {MAX_TAGS:,} tags, the limit")
        if self.depth_sum > _MAX_DEPTH_SUM or elements.reopened > _MAX_REOPENED:
            raise InputError(f"{self.name}: too many elements are nested or never closed")
        return tag
