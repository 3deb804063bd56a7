"""The markup of a text that is spoken: pauses and changes of the voice.

| markup | meaning |
|---|---|
| `[pause:500ms]`, `[pause:1.5s]`, `<break time="500ms"/>` | a pause of this length |
| `[voice:NAME]` | what follows is spoken with this voice |
| `[voice:]` | what follows is spoken with the voice of the options again |
| `\\[`, `\\<break` | a bracket that is text |
| `\\\\[` | a backslash, and a bracket that may begin markup |

Everything else is text: other brackets, other elements, and backslashes in other places.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ..common.json_fields import short_repr
from ..errors import UsageError

MAX_PAUSE_SECONDS = 10.0
MAX_CHAPTER_PAUSE_SECONDS = 60.0
_LONGEST_TAG = 200  # characters
# A run of backslashes is matched whole: a pattern that looks behind it takes quadratic time.
_MARK = re.compile(r"\\+|\[(?P<name>pause|voice):|<break(?=[\s/>])")
_LENGTH = re.compile(r"\s*(?P<number>[0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})(?P<unit>ms|s)\s*")
_BREAK = re.compile(
    r"<break\s+time\s*=\s*(?P<quote>[\"'])(?P<length>[^\"'<>]*)(?P=quote)\s*(?:/>|>(?:\s*</break\s*>)?)"
)


@dataclass(frozen=True)
class Text:
    """A part of a text that is spoken. text: without markup, with its spaces; not empty."""

    text: str


@dataclass(frozen=True)
class Pause:
    """Silence. seconds: 0 to 10."""

    seconds: float


@dataclass(frozen=True)
class VoiceChange:
    """A change of the voice of what follows.

    name: the name of a voice; None for the voice of the options. line: the line of the markup for messages, from 1; 0
    if the text has no lines that its reader knows.
    """

    name: str | None
    line: int = field(default=0, compare=False)


Piece = Text | Pause | VoiceChange


class PauseBudget:
    """Cuts the pauses of a text: each to 10 s, those of a chapter together to 60 s.

    warn: called with one line the first time that a pause is too long, and the first time that a chapter has too many.

    >>> budget = PauseBudget()
    >>> [budget.take(12), budget.take(2)]
    [10.0, 2]
    """

    def __init__(self, warn: Callable[[str], None] | None = None) -> None:
        self._warn, self._warned = warn, set[str]()
        self._left = MAX_CHAPTER_PAUSE_SECONDS

    def begin_chapter(self) -> None:
        """Give the next chapter its own 60 s."""
        self._left = MAX_CHAPTER_PAUSE_SECONDS

    def take(self, seconds: float) -> float:
        """The length of the next pause in seconds: as long as it says, or as is left."""
        if seconds > MAX_PAUSE_SECONDS:
            seconds = MAX_PAUSE_SECONDS
            self._note(f"a pause has at most {MAX_PAUSE_SECONDS:g} s: longer ones are cut")
        if seconds > self._left:
            seconds = self._left
            self._note(
                f"the pauses of a chapter have at most {MAX_CHAPTER_PAUSE_SECONDS:g} s together: the rest is cut"
            )
        self._left -= seconds
        return seconds

    def _note(self, warning: str) -> None:
        if self._warn is not None and warning not in self._warned:
            self._warned.add(warning)
            self._warn(warning)


def parse_markup(text: str, line: int = 0, budget: PauseBudget | None = None) -> list[Piece]:
    """Return the parts of a text in order: texts without markup, pauses, changes of the voice.

    line: the line of the first character in its file, for messages; 0 leaves lines out of them. budget: cuts the
    pauses; None: each pause is cut to 10 s. Raises UsageError for markup with a value that cannot be read.
    """
    budget, pieces, pending, position = budget or PauseBudget(), list[Piece](), list[str](), 0
    counted = 0

    def add(piece: Piece) -> None:
        if spoken := "".join(pending):
            pieces.append(Text(spoken))
        pending.clear()
        pieces.append(piece)

    while mark := _MARK.search(text, position):
        start = mark.start()
        pending.append(text[position:start])
        line, counted = line and line + text.count("\n", counted, start), start
        if mark.group()[0] == "\\":
            kept, position = _unescaped(text, mark)
            pending.append(kept)
            continue
        if mark["name"]:
            value, position = _value(text, mark, line)
        else:
            value, position = _break_length(text, start, line)
        if mark["name"] == "voice":
            add(VoiceChange(value.strip() or None, line))
        else:
            add(Pause(budget.take(_seconds(value, text[start:position], line))))
    if spoken := "".join([*pending, text[position:]]):
        pieces.append(Text(spoken))
    return pieces


def _unescaped(text: str, run: re.Match[str]) -> tuple[str, int]:
    """The text that a run of backslashes stands for, and where the text behind it begins."""
    count, end = len(run.group()), run.end()
    if not (text.startswith("[", end) or _MARK.match(text, end)):
        return run.group(), end
    kept = "\\" * (count // 2)
    return (kept + text[end], end + 1) if count % 2 else (kept, end)


def _value(text: str, mark: re.Match[str], line: int) -> tuple[str, int]:
    """What stands between the colon and the closing bracket, and the position behind it."""
    limit = mark.end() + _LONGEST_TAG
    end = text.find("]", mark.end(), limit)
    value = text[mark.end() : end if end >= 0 else limit]
    if end < 0 or "\n" in value or "[" in value:
        found = short_repr(mark.group() + value.split("\n")[0])
        raise UsageError(f"{_at(line)}{found}: no ] on the same line; a bracket that is text is written \\[")
    return value, end + 1


def _break_length(text: str, start: int, line: int) -> tuple[str, int]:
    found = _BREAK.match(text, start, start + _LONGEST_TAG)
    if found is None:
        shown = text[start : start + _LONGEST_TAG].split("\n")[0]
        shown = shown[: shown.find(">") + 1] or shown
        raise UsageError(f'{_at(line)}{short_repr(shown)}: expected <break time="500ms"/>')
    return found["length"], found.end()


def _seconds(value: str, tag: str, line: int) -> float:
    length = _LENGTH.fullmatch(value)
    if length is None:
        raise UsageError(f"{_at(line)}{short_repr(tag)}: expected a length such as 500ms or 1.5s")
    return float(length["number"]) / (1000 if length["unit"] == "ms" else 1)


def _at(line: int) -> str:
    return f"line {line}: " if line else ""
