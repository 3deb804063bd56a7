"""What a listener expects of a text that was written for readers, for every model and language.

The rules in their order: lines become one line, and rules, tables and lists sentences; addresses, notes, pictures and
signs of emphasis go; dots and hyphens become ellipses and dashes; headings in capitals become words. Words are added in
English texts alone. Any input takes linear time.
"""

from __future__ import annotations

import re
from collections import Counter

from ..text.languages_and_voices import language_name
from ..text.markup import join_divided_words
from ..text.speakable import SPEAKABLE
from .headings import as_words, with_chapter_number
from .links_and_notes import with_spoken_links, without_emphasis, without_notes
from .pictures import without_pictures

_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_DIVIDED_BY_SOFT_HYPHEN = re.compile("\u00ad[^\\S\n]*\n[^\\S\n]*")
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\x00-\x08\x0e-\x1f\x7f]")
_SHARED_WORD = re.compile(r"(?<=[^\W_])[-\u2010][^\S\n]*\n[^\S\n]*(?=(?:und|oder)\b)")
_RULE = re.compile(r"\s*([-_=~*+#•⁂])(?:\s*\1){2,}\s*|\s*⁂\s*")
_QUOTED = re.compile(r"\s{0,3}(?:>\s?)+")
_ITEM = re.compile(r"\s*(?:[-*+•‣◦–]\s+|(?P<label>\(?\d{1,3}[.)]\s+))(?=\S)")
_ENDED = re.compile(r"[.!?…:;,。！？：；，、][\"'”’»)\]」』]*$")
# Letters and marks of scripts without spaces.
_DENSE = "\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff9f\U00020000-\U0003ffff"
_BETWEEN_DENSE = re.compile(rf"(?<=[{_DENSE}])\n(?=[{_DENSE}])")
_DOTS = re.compile(r"\.(?: ?\.){2,}")
_BEHIND_DOTS = re.compile(r"(?<=[^\W_]…)(?=[^\W_])")
_SPACED_DASH = re.compile(r"(?<!\S)-{2,3}(?!\S)")
_NUMBER_DASH = re.compile(r"(?<=\d)--(?=\d)")
_CLOSE_DASH = re.compile(r"(?<=[\w.,;:!?…\"'”’»)\]])-{2,3}(?=[\s\w\"'“‘”’]|$)(?!-)|―")
_SPACES = re.compile(r"[^\S\n]{2,}|\t")
_BEFORE_MARK = re.compile(r"(?<=[^\s.,;:!?]) (?=[.,](?:\s|$))")
_TEX_QUOTES = re.compile(r"``([^`'\n]{1,300})''")

_HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u3041-\u30ff\uff66-\uff9f"
_HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
# Letters of languages that are written in Cyrillic letters and are not Russian.
_NOT_RUSSIAN = frozenset("іїєґўјљњћђџѓќѕәғқңөұүһ")
_LEAST_DENSE_SHARE = 0.25  # of letters: an East Asian text has foreign words, a foreign text seldom has more than names
_LEAST_KANA_SHARE = 0.1  # of kana and Han together


def for_listening(paragraph: str, language: str = "auto") -> str:
    """Return the text of a paragraph as a listener expects it, on one line but for numbered items; empty if there is
    nothing to say.

    paragraph: without markup and blank lines. language: the name or code of its language, or "auto"; words are added
    only in "english".
    """
    in_english = language_name(language) == "english"
    text = _INVISIBLE.sub("", _DIVIDED_BY_SOFT_HYPHEN.sub("", _LINE_END.sub("\n", paragraph)))
    if "\n" in text:
        text = join_divided_words(_SHARED_WORD.sub("- ", text))
    text = _on_one_line(text.split("\n"))
    text = without_notes(with_spoken_links(text, in_english))
    text = _SPACES.sub(" ", _TEX_QUOTES.sub("“\\1”", without_emphasis(without_pictures(text))))
    text = _BEHIND_DOTS.sub(" ", _DOTS.sub("…", text).replace(" …", "…"))
    text = _CLOSE_DASH.sub("—", _SPACED_DASH.sub("—", _NUMBER_DASH.sub("–", text)))
    text = "\n".join(_BEFORE_MARK.sub("", line).strip() for line in text.split("\n"))
    if not SPEAKABLE.search(text):
        return ""
    text = as_words(text)
    return with_chapter_number(text) if in_english else text


def _on_one_line(lines: list[str]) -> str:
    """Join the lines of a paragraph. The rows of a table and the items of a list end as sentences."""
    if all(_QUOTED.match(line) for line in lines):
        lines = [_QUOTED.sub("", line, count=1) for line in lines]
    marks = [_ITEM.match(line) for line in lines]
    is_list = marks[0] is not None or sum(mark is not None for mark in marks) > 1
    out, ends = "", False
    for line, mark in zip(lines, marks, strict=True):
        row = line.strip()
        if _RULE.fullmatch(row):
            ends = True
            continue
        is_row = len(row) > 2 and row[0] == row[-1] == "|"
        if is_row:
            if not SPEAKABLE.search(row):
                continue  # the line below the head of a table
            row = ", ".join(filter(None, map(str.strip, row.split("|"))))
        is_item = is_list and mark is not None
        if is_item and not mark["label"]:
            row = line[mark.end() :].strip()
        if out and (ends or is_item or is_row):
            out = _ended(out)
        glue = "\n" if is_item and mark["label"] else " "
        if out and row:
            dense = glue == " " and _BETWEEN_DENSE.search(f"{out[-1]}\n{row[0]}")
            out += "" if dense else glue
        out += row
        ends = is_row
    return out


def _ended(text: str) -> str:
    return text if _ENDED.search(text[-8:]) else text + "."


def language_of(text: str, default: str = "auto") -> str:
    """Return the language that the script of a text shows: chinese, japanese, korean or russian; else `default`.

    The text should have some sentences: a Japanese heading may have Chinese characters alone.
    """
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if character.isalpha():
            counts[_script(character)] += count
    letters = sum(counts.values())
    dense = counts["han"] + counts["kana"]
    if not letters:
        return default
    if max(dense, counts["hangul"]) >= _LEAST_DENSE_SHARE * letters:
        if counts["hangul"] > dense:
            return "korean"
        return "japanese" if counts["kana"] >= _LEAST_KANA_SHARE * dense else "chinese"
    is_russian = counts["cyrillic"] > letters / 2 and not counts["other cyrillic"]
    return "russian" if is_russian else default


def _script(character: str) -> str:
    if re.match(f"[{_HAN}]", character):
        return "han"
    if re.match(f"[{_KANA}]", character):
        return "kana"
    if re.match(f"[{_HANGUL}]", character):
        return "hangul"
    if "\u0400" <= character <= "\u04ff":
        return "other cyrillic" if character.lower() in _NOT_RUSSIAN else "cyrillic"
    return "other"
