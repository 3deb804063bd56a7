"""Remove emoji and pictures from a text: nobody says them. Signs with a meaning, such as © or →, stay."""

from __future__ import annotations

import re

_PICTURES = (
    "\u231a-\u231b\u23e9-\u23fa\u25fb-\u25fe\u2600-\u2775\u2795-\u2797\u27a1\u27b0\u27bf\u2b1b-\u2b1c\u2b50\u2b55"
    "\U0001f000-\U0001f0ff\U0001f170\U0001f171\U0001f17e\U0001f17f\U0001f18e\U0001f191-\U0001f19a\U0001f1e6-\U0001f265"
    "\U0001f300-\U0001faff"
)
# Characters that are pictures only with the mark U+FE0F behind them: ▶, ↔, ℹ.
_OTHERS = (
    "\u2139\u2194-\u21aa\u2328\u23cf\u24c2\u25aa\u25ab\u25b6\u25c0\u2934\u2935\u2b05-\u2b07\u3030\u303d\u3297\u3299"
)
_MARKS = "[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
_ONE = rf"(?:[{_PICTURES}]{_MARKS}*|[{_OTHERS}]\ufe0f{_MARKS}*|[0-9#*]\ufe0f?\u20e3)"
_JOINED = rf"{_ONE}(?:\u200d(?:{_ONE}|[{_OTHERS}]))*"
_MANY = re.compile(rf"[^\S\n]?{_JOINED}(?:[^\S\n]?{_JOINED})*")
_LEFT_OVER = re.compile("[\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f]")
# Letters of scripts without spaces.
_DENSE = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")
_CLOSING = ".,;:!?…)]"


def without_pictures(text: str) -> str:
    """Return the text without emoji, also those of several characters, and without the marks of their appearance."""
    if text.isascii():
        return text
    return _LEFT_OVER.sub("", _MANY.sub(_space, text))


def _space(match: re.Match[str]) -> str:
    """What takes the place of pictures: a space where they have separated two words."""
    before = match.string[max(match.start() - 1, 0) : match.start()]
    after = match.string[match.end() : match.end() + 1]
    if match.group()[0].isspace():
        return "" if not after or after.isspace() or after in _CLOSING else " "
    dense = _DENSE.match(before) or _DENSE.match(after)
    return " " if before.isalnum() and after.isalnum() and not dense else ""
