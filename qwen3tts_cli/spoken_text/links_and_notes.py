"""What stands in a text for eyes alone: addresses of pages, marks of notes, signs of emphasis."""

from __future__ import annotations

import re

# An address ends at a space, at a quotation mark or bracket that no address has, and at the letters of a script
# without spaces, which follow an address directly.
_ADDRESS = re.compile(
    r"<?(?<![A-Za-z0-9@._-])(?:(?:https?|ftp)://|(?=www\.))"
    r"(?P<rest>[^\s<>\"“”‘’«»…{}|\\^`\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef]{1,2000})>?",
    re.IGNORECASE,
)
_HOST = re.compile(r"(?:[^/?#@]*@)?(?:www\.)?(?P<host>[\w.-]*\w)", re.IGNORECASE)
_MAIL = re.compile(r"<?\bmailto:(?=[\w.%+-]{1,64}@)([^\s<>?]{1,300})(?:\?[^\s<>]{0,300})?>?", re.IGNORECASE)
_SENTENCE_MARKS = ".,;:!?'*_"
_NUMBERS = r"\d{1,3}(?:\s?[,;\u2010-\u2014-]\s?\d{1,3}){0,30}"
_NOTE = re.compile(rf"(?:[^\S\n]?\[{_NUMBERS}\])+(?![(:])")
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_SUPERSCRIPT = re.compile(f"[^\\S\\n]?[⁻⁺]?[{_RAISED}]+(?:[,⁻–-][{_RAISED}]+)*")
# A raised digit behind these is a power; behind other words it is the mark of a note.
_UNIT = re.compile(r"(?<![^\W_])(?:[^\W\d_]|[cdhkmnp\u00b5\u03bc]m|ft|yd|mi|ha)$")
_FORMULA = re.compile(r"\([^()]{0,40}\)$")
_ELEMENT = re.compile(r"[A-Z][a-z]?(?![a-z])")
_EMPHASIS = re.compile(r"(?<![\w*_\\/])(?P<sign>__?|\*{1,3})(?=[^\s*_])([^*_\n]{0,300}[^\s*_])(?P=sign)(?![\w*_/])")


def without_notes(text: str) -> str:
    """Return the text without the marks of notes: [12], [3, 4], [5-7], and raised digits that are no power."""
    if "[" in text:
        text = _NOTE.sub("", text)
    return text if text.isascii() else _SUPERSCRIPT.sub(_superscript, text)


def _superscript(match: re.Match[str]) -> str:
    found, text = match.group(), match.string
    before, after = text[max(match.start() - 50, 0) : match.start()], text[match.end() : match.end() + 3]
    if found[0].isspace() or not before or before[-1].isspace() or before[-1] in "([":
        return found if _ELEMENT.match(after) else ""
    if before[-1].isnumeric() or after[:1] in ("⁺", "⁻") or "⁻" in found or _UNIT.search(before[-4:]):
        return found
    formula = _FORMULA.search(before)
    is_power = formula is not None and not re.search(r"[^\W\d_]{3}", formula.group())
    return found if is_power else ""


def with_spoken_links(text: str, in_english: bool) -> str:
    """Return the text with the host of each address in place of it, in English as `link to example.com`.

    Mail addresses stay.
    """
    lower = text.lower()
    if "://" in text or "www." in lower:
        text = _ADDRESS.sub(lambda match: _link(match, in_english), text)
    return _MAIL.sub(r"\1", text) if "mailto:" in lower else text


def _link(match: re.Match[str], in_english: bool) -> str:
    address = match["rest"]
    kept = address.rstrip(_SENTENCE_MARKS)
    while kept.endswith((")", "]")) and kept.count(kept[-1]) > kept.count("(" if kept[-1] == ")" else "["):
        kept = kept[:-1].rstrip(_SENTENCE_MARKS)
    host = _HOST.match(kept)
    if host is None or not any(character.isalnum() for character in host["host"]):
        return match.group()
    before, after = "<" * match.group().startswith("<"), ">" * match.group().endswith(">")
    if before and after:
        before = after = ""
    return f"{before}{'link to ' if in_english else ''}{host['host']}{address[len(kept) :]}{after}"


def without_emphasis(text: str) -> str:
    """Return the text without the signs around _words_ and *words* that plain text marks emphasis with."""
    return _EMPHASIS.sub(r"\2", text) if "_" in text or "*" in text else text
