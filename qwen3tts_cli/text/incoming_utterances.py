"""Cut a text that is still coming into utterances, and say which text of an utterance is certain.

The text is read character by character, and each decision looks only at the characters before it, so how the text is
cut into pieces changes no utterance. An utterance ends
    at a blank line, and with `lines` at each line end;
    at a sentence end, once it has 120 characters; the whitespace and the next character must have come;
    from two thirds of the limit on at a clause mark, from five sixths on at any space, where cut_points.would_divide
    allows it. The word behind such a place must have come too, so it is not certain before it is complete;
    within the limit at the last of these places or, within a very long word, between two grapheme clusters;
    at the end of the text, when no text comes for a while, and where the writer of the text says so.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from .cut_points import CLOSERS, cut_patterns, grapheme_cut, would_divide
from .speakable import SPEAKABLE
from .utterances import language_code

SHORTEST_UTTERANCE_CHARACTERS = 120

_LINE_ENDS = "\n\r\f\u2029"
# Characters behind the limit that show where a grapheme cluster ends.
_LOOKAHEAD = 16
# Characters before a place that are searched for the mark in front of it.
_REACH = 64
# Marks behind which an utterance may end without a space, and the quotation marks and brackets behind them.
_WIDE_OR_CLOSERS = frozenset("。！？｡।；：—，、､" + CLOSERS)
# Stands for a capitalised word of which only the first letter is known. It ends a sentence behind no abbreviation.
_CAPITAL_WORD = "Eastern"
_NUMBER_MARKS = frozenset(".,:/'’-")
_WORD_MARKS = frozenset("'’-\u2010\u2011")


class UtteranceText(NamedTuple):
    """Text that belongs to an utterance for certain.

    number: of the utterance, from 0. text: what follows the text of earlier events of this utterance; may be empty.
    ends: whether it is the last event of this utterance.
    """

    number: int
    text: str
    ends: bool


class IncomingUtterances:
    """Cuts a text that comes in pieces into utterances. Each method returns events in order.

    limit: the most characters of an utterance, at least 1. language: as in utterances.utterances. lines: whether each
    line end ends an utterance. split: if False, all text is one utterance of any length. sentences: if True, an
    utterance ends at each sentence end, and its text is in one event; for voices that need the whole text.

    Utterances are stripped, and those without a letter or digit are dropped; no other character is lost or changed. So
    an utterance has the ids of the same text given at once. LF, CR LF and CR end a line.
    """

    def __init__(
        self, limit: int, language: str = "auto", *, lines: bool = False, split: bool = True, sentences: bool = False
    ) -> None:
        code = language_code(language)
        self._code = "en" if code == "auto" else code
        self._limit, self._lines, self._split, self._whole = limit, lines, split, sentences
        self._shortest = 1 if sentences else min(SHORTEST_UTTERANCE_CHARACTERS, limit * 2 // 5)
        self._clauses_from, self._spaces_from = limit * 2 // 3, limit * 5 // 6
        # A word is cut behind this many characters of an utterance; the text before is certain.
        self._unbroken = limit - limit // 10
        # The utterance that is being read. It begins with a character that is no whitespace.
        self._text = ""
        self._place: int | None = None  # where its next word begins, if it may end there
        self._number = self._sent = 0
        self._events: list[UtteranceText] = []
        self._unsplit: list[str] = []  # pieces of a text that is not split and that are not yet certain

    def feed(self, text: str) -> list[UtteranceText]:
        """Take the next piece of the text."""
        if not self._split:
            return self._feed_unsplit(text)
        for char in text:
            self._read(char)
        certain = self._certain()
        if not self._whole and certain > self._sent and (self._sent or SPEAKABLE.search(self._text, 0, certain)):
            self._events.append(UtteranceText(self._number, self._text[self._sent : certain], False))
            self._sent = certain
        return self._take_events()

    def idle(self) -> list[UtteranceText]:
        """End the utterance, because no text has come for a while. Does nothing if its last character may be inside a
        word or number, if it has no letter or digit yet, or without `split`."""
        if SPEAKABLE.search(self._text) and not _is_unfinished(self._text):
            self._end()
        return self._take_events()

    def flush(self) -> list[UtteranceText]:
        """End the utterance behind its last character, whatever that is. Does nothing without `split`."""
        self._end()
        return self._take_events()

    def finish(self) -> list[UtteranceText]:
        """End the text."""
        if self._split:
            self._end()
            return self._take_events()
        rest = "".join(self._unsplit).rstrip()
        return [UtteranceText(0, rest, True)] if self._sent or SPEAKABLE.search(rest) else []

    def _feed_unsplit(self, text: str) -> list[UtteranceText]:
        pieces = self._unsplit
        text = text if pieces or self._sent else text.lstrip()
        if text:
            pieces.append(text)
        if self._whole or text.isspace() or not (self._sent or SPEAKABLE.search(text)):
            return []
        joined = "".join(pieces)
        certain = joined.rstrip()
        self._unsplit = [joined[len(certain) :]]
        self._sent += len(certain)
        return [UtteranceText(0, certain, False)] if certain else []

    def _take_events(self) -> list[UtteranceText]:
        events, self._events = self._events, []
        return events

    def _certain(self) -> int:
        """The number of characters that the utterance will not lose, whatever follows."""
        if self._place is not None:
            return len(self._text[: self._place].rstrip())
        return min(len(self._text.rstrip()), self._unbroken)

    def _read(self, char: str) -> None:
        if not char.isspace():
            self._look_at_place(char)
            self._text += char
            if len(self._text) > self._limit and self._place is not None:
                self._cut(self._place)
            elif len(self._text) >= self._limit + _LOOKAHEAD:
                self._cut_word()
        elif self._text:
            self._text += char
            if len(self._text.rstrip()) > self._limit:
                self._cut_word()
            elif self._is_line_break(char) or len(self._text) > self._limit:
                self._end()

    def _is_line_break(self, char: str) -> bool:
        """Whether the whitespace at the end of the text, whose last character is `char`, ends the utterance."""
        if char not in _LINE_ENDS:
            return False
        space = self._text[len(self._text.rstrip()) :]
        ends = space.replace("\r\n", "\n").replace("\r", "\n").count("\n")
        return char in "\f\u2029" or ends > 1 or (self._lines and ends > 0)

    def _look_at_place(self, char: str) -> None:
        """Cut the utterance between its text and `char`, or before its last word, or note that this is a place where it
        may end. char: the next character, which is no whitespace."""
        before = self._text
        if len(before) < max(self._shortest, 1):
            return
        is_space = before[-1].isspace()
        if not is_space and (before[-1] not in _WIDE_OR_CLOSERS or char in _WIDE_OR_CLOSERS):
            return
        ends_sentence, *clauses = (_ends_with(pattern, before) for pattern in cut_patterns())
        if not (is_space or ends_sentence or any(clauses)):
            return
        length = len(before.rstrip())
        if length > self._limit:
            self._cut_word()
            self._look_at_place(char)
            return
        if self._place is not None:
            # The word behind the place is complete.
            if not would_divide(before.rstrip(), self._place, self._code):
                self._cut(self._place)
                self._look_at_place(char)
                return
            self._place = None
        if ends_sentence and length >= self._shortest and self._is_sentence_end(before, char):
            self._cut(len(before))
        elif len(before) >= (self._spaces_from if is_space and not any(clauses) else self._clauses_from):
            self._place = len(before)

    def _is_sentence_end(self, before: str, char: str) -> bool:
        """Whether the mark at the end of `before` ends a sentence, as far as the next character shows it."""
        after = _CAPITAL_WORD if char.isupper() else char
        if would_divide(before + after, len(before), self._code):
            return False
        if not before.rstrip().endswith("."):
            return True
        # Imported here: the import is slow, and it is needed only from the first sentence end on.
        from .long_text import segment

        # A quotation mark alone would be taken for the closing one.
        after = after if after.isalnum() else _CAPITAL_WORD
        return len(segment(before + after, self._code)[-1]) == len(after)

    def _cut_word(self) -> None:
        self._cut(max(grapheme_cut(self._text, 0, self._limit), self._unbroken))

    def _end(self) -> None:
        """End the utterance behind its text, or end several if it is above the limit."""
        while self._text:
            if len(self._text.rstrip()) > self._limit:
                self._cut_word()
            else:
                self._cut(len(self._text))

    def _cut(self, place: int) -> None:
        """End the utterance at `place`, and read the text behind it again as the beginning of the next one."""
        text, rest = self._text[:place].rstrip(), self._text[place:]
        if SPEAKABLE.search(text):
            self._events.append(UtteranceText(self._number, text[self._sent :], True))
            self._number += 1
        self._text, self._place, self._sent = "", None, 0
        for char in rest:
            self._read(char)


def _ends_with(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a match of a pattern of cut_points.cut_patterns ends at the end of `text`."""
    return any(match.end() == len(text) for match in pattern.finditer(text, max(len(text) - _REACH, 0)))


def _is_unfinished(text: str) -> bool:
    """Whether the last character may be inside a word or number: 3. may become 3.14, and don' may become don't."""
    last, before = text[-1], text[-2:-1]
    if last.isalnum() or unicodedata.category(last) in ("Mn", "Mc", "Me", "Cf", "Sc"):
        return True
    return (before.isdigit() and last in _NUMBER_MARKS) or (before.isalpha() and last in _WORD_MARKS)
