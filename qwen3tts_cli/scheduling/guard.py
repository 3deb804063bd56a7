"""The runaway guard: how long the speech of a text may be, and when generated codes are no longer speech.

A talker that misses the end of its text repeats itself, falls silent or babbles until it is stopped. The guard reads
the codes alone. It compares a bounded number of integers for each frame and keeps a bounded number of frames.

It stops an utterance for one of three reasons. Each threshold lies beyond what speech does:

* budget: the speech is longer than three times the expected duration of the text plus 4 s. Slow, acted speech takes
  twice the usual time; the 4 s cover silence around a very short text.
* loop: for 4 s, and for three periods, every frame repeats the frame one period (2 to 50 frames) before it. Speech
  sampled at a temperature may repeat a word, but not all 16 codes of every frame. A tenth of the frames may differ.
* silence: in 5 s, code 0 has no more than three different values. A pause between paragraphs takes 1 to 2 s and a
  sustained vowel 3 s; both have more values.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from ..common.audio_constants import FRAME_SECONDS

_SLOWEST = 3.0
_FLOOR_SECONDS = 4.0
_PAUSE_SECONDS = 0.5

# Seconds for a character at a usual pace: 14 characters a second in alphabets (with spaces), 4 syllables a second in
# Han and Hangul, 7 morae a second in kana. Digits and signs are read as words; capitals may be spelled out.
_LETTER_SECONDS = 0.07
_CAPITAL_SECONDS = 0.2
_KANA_SECONDS = 0.15
_SYLLABLE_SECONDS = 0.25
_WORD_SECONDS = 0.4
_OTHER_LETTER_SECONDS = 0.12

_PAUSES = re.compile(r"[.,;:!?…—–。，、；：！？｡､\n]+")
_LOOP_SECONDS = 4.0
_LONGEST_PERIOD_SECONDS = 4.0
_LOOP_PERIODS = 3
# Two frames are alike if code 0 and at least this share of codes 1 to 15 are equal. In the embedded voice seven of the
# code groups 1 to 15 are constant.
_EQUAL_GROUPS = 0.8
# A frame that repeats the frame one period before raises the score of that period by 1; any other lowers it by this.
_MISS_COST = 9

_SILENCE_SECONDS = 5.0
_SILENCE_CODES = 3
_KEPT_SILENCE_SECONDS = 0.3


def expected_seconds(text: str) -> float:
    """Seconds that a usual voice takes to speak a text, estimated from its characters."""
    spoken, pauses = _PAUSES.subn("", text)
    return _PAUSE_SECONDS * pauses + sum(
        count * _character_seconds(char) for char, count in sorted(Counter(spoken).items())
    )


def _character_seconds(char: str) -> float:
    if char.isspace():
        return _LETTER_SECONDS
    category = unicodedata.category(char)
    if category.startswith("L"):
        if "\u3040" <= char <= "\u30ff":
            return _KANA_SECONDS
        if "\u3400" <= char <= "\ud7a3" or char >= "\uf900":  # Han and Hangul, and Yi between them
            return _SYLLABLE_SECONDS
        if char > "\u1fff" or "\u052f" < char < "\u1e00":
            return _OTHER_LETTER_SECONDS
        return _CAPITAL_SECONDS if char.isupper() else _LETTER_SECONDS
    if category.startswith(("N", "S")) or char in "%&@#*/\\":
        return _WORD_SECONDS
    return 0.0


def frame_budget(text: str, frame_seconds: float = FRAME_SECONDS) -> int:
    """The number of frames after which speech of this text is a runaway. frame_seconds: seconds of one frame."""
    return math.ceil((_FLOOR_SECONDS + _SLOWEST * expected_seconds(text)) / frame_seconds)


class Guard:
    """Watches the codes of one utterance. The result does not depend on how many frames each call of `feed` gets.

    budget: the most frames, see frame_budget. frame_seconds: seconds of one frame.
    Raises ValueError for a budget below 1.
    """

    def __init__(self, budget: int, frame_seconds: float = FRAME_SECONDS) -> None:
        if budget < 1:
            raise ValueError(f"budget: {budget} frames, at least 1 is needed")
        self._budget = budget
        longest_period = max(2, round(_LONGEST_PERIOD_SECONDS / frame_seconds))
        self._loop_frames = round(_LOOP_SECONDS / frame_seconds)
        self._silence_frames = math.ceil(_SILENCE_SECONDS / frame_seconds)
        self._kept_silence = math.ceil(_KEPT_SILENCE_SECONDS / frame_seconds)
        self._frames = 0
        self._reason: str | None = None
        self._good_frames = 0
        self._recent: deque[tuple[int, ...]] = deque(maxlen=longest_period)
        self._scores = [0] * (longest_period + 1)
        self._starts = [0] * (longest_period + 1)
        self._code0: deque[int] = deque(maxlen=self._silence_frames)
        self._counts: dict[int, int] = {}

    @property
    def reason(self) -> str | None:
        """Why the guard tripped: "budget", "loop" or "silence"; None if it has not."""
        return self._reason

    @property
    def good_frames(self) -> int:
        """The number of good frames: all frames so far, or, if the guard tripped, the frames before the runaway.

        After "loop" the first period of the loop counts as good; after "silence", the first 0.3 s of the silence; after
        "budget", as many frames as the budget.
        """
        return self._frames if self._reason is None else self._good_frames

    def set_budget(self, budget: int) -> None:
        """Set another budget: the text has grown."""
        self._budget = budget

    def feed(self, codes: Iterable[Sequence[int]]) -> str | None:
        """Check more frames and return `reason`, which never changes once it is set.

        codes: int32 of shape (n, code groups); n may be 0.
        """
        rows = codes.tolist() if hasattr(codes, "tolist") else codes
        for row in rows:
            if self._reason is not None:
                break
            self._check_frame(tuple(row))
        return self._reason

    def _check_frame(self, frame: tuple[int, ...]) -> None:
        index = self._frames
        self._frames += 1
        if index >= self._budget:
            self._trip("budget", self._budget)
            return
        self._check_silence(frame[0])
        if self._reason is None:
            self._check_loops(frame, index)
        self._recent.append(frame)

    def _trip(self, reason: str, good_frames: int) -> None:
        self._reason = reason
        self._good_frames = good_frames

    def _check_silence(self, code0: int) -> None:
        if len(self._code0) == self._silence_frames:
            oldest = self._code0[0]
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
        self._code0.append(code0)
        self._counts[code0] = self._counts.get(code0, 0) + 1
        if len(self._code0) == self._silence_frames and len(self._counts) <= _SILENCE_CODES:
            self._trip("silence", self._frames - self._silence_frames + self._kept_silence)

    def _check_loops(self, frame: tuple[int, ...], index: int) -> None:
        recent = self._recent
        count = len(recent)
        # A frame like the previous one would count for every period; _check_silence finds such runs.
        if count and _alike(frame, recent[-1]):
            return
        for period in range(2, count + 1):
            score = self._scores[period]
            if _alike(frame, recent[count - period]):
                if not score:
                    self._starts[period] = index - period
                score += 1
                if score + period >= max(self._loop_frames, _LOOP_PERIODS * period):
                    self._trip("loop", self._starts[period] + period)
                    return
            elif score:
                score = max(0, score - _MISS_COST)
            self._scores[period] = score


def _alike(frame: tuple[int, ...], other: tuple[int, ...]) -> bool:
    if frame[0] != other[0]:
        return False
    equal = sum(a == b for a, b in zip(frame[1:], other[1:], strict=True))
    return equal >= _EQUAL_GROUPS * (len(frame) - 1)
