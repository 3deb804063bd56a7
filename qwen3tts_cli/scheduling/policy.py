"""The policy of the scheduler: which waiting jobs begin, and which sessions take part in the next step.

The policy is pure: it knows neither a clock nor the engine. Its rules:

* A new live stream comes first. If its prompt is short, its first step runs without the other sessions, as long as
  the other live streams have audio ahead, or would have gaps in any case. A long prompt is spread over steps in which
  the others take part, and short prompts come before it.
* Then live streams whose listeners have little ahead: the live streams step together, without other work, and without
  those that have more ahead if one has very little.
* Bulk work, and utterances that are generated before their turn, take part when no live stream is short of audio, and
  at least once a second in any case.
* If sessions or jobs must be left out, each group has the same number; a group is usually one client.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

STEADY_CHUNK = 8  # frames decoded at a time if no listener waits: chunks of this size take the least work for a frame
MAX_BATCH = 64  # most sessions in a step
SHORT_PROMPT = 64  # most prompt rows of a first step that may run by itself, however long it takes
_LONGEST_PAUSE = 1.0  # seconds for which bulk work may be left out
_LEAST_LEAD = 0.25  # seconds of audio ahead with which a live stream may be left out of a step
_ROWS = (8, 128)  # least and most prompt rows in a step with sessions that generate
_USUAL_ROWS = 32  # before the time for a row is known
MOST_ROWS = 128  # prompt rows of a step in any case: nobody can join, leave or cancel during a step
_LONGER_STEP = 0.3  # prompt rows may make a step longer by this share,
_FRAME_SHARES = (0.125, 0.5)  # or until it takes this share of a frame's time, the second if a listener waits for them
_ROWS_OF_STEP = (64, 8)  # most and least prompt rows that take as long as a step of one session, in any case
_SCALES = (8, 64)  # sessions and prompt rows that take about as long as the constant part of a step
_KEPT = 1 - 1 / 32  # of what earlier steps tell: about the last 32 count
_PULL = 0.01  # how much the times known before count, as a share of what the last steps tell


class Candidate(NamedTuple):
    """What the policy knows of a job, or of the session that generates it.

    live: whether a listener waits for its next samples. It is False for bulk work, and for an utterance of a live
    stream whose turn has not come. lead: seconds of audio that the listener has ahead; None if there was no audio yet.
    prompt: all prompt rows and reference frames. rows: those that are not taken in yet. idle: seconds since its last
    step. group: see the module. number: counts the jobs in the order of arrival.
    """

    live: bool
    lead: float | None
    prompt: int
    rows: int
    idle: float
    group: Hashable
    number: int


def is_late(each: Candidate) -> bool:
    """Whether a session should take part in the next step even if a new live stream of another model begins."""
    if each.live:
        return each.lead is not None and each.lead < _LEAST_LEAD
    return each.idle >= _LONGEST_PAUSE


class StepTimes:
    """How long steps take: a constant, and times for each session that makes a frame and for each prompt row.

    The three are those with the least squares of relative errors, over about the last 32 steps. What these do not
    tell, for example because all had the same sessions, stays as it was.
    """

    def __init__(self) -> None:
        self._seconds = (0.0, 0.0, 0.0)  # the constant, of _SCALES[0] sessions, and of _SCALES[1] prompt rows
        self._sums = (0.0,) * 9  # of the normal equations: the matrix above its diagonal, by rows, and the right side
        self._knows_rows = False

    @property
    def row(self) -> float | None:
        """Seconds that a prompt row adds to a step; None before it is known."""
        if not self._knows_rows:
            return None
        least, most = (self.of(1) / rows for rows in _ROWS_OF_STEP)
        return min(max(least, self._seconds[2] / _SCALES[1]), most)

    def add(self, sessions: int, rows: int, seconds: float) -> None:
        """Record how long a step took. sessions: those that made a frame. rows: prompt rows taken in."""
        if not (sessions or rows) or seconds <= 0:
            return
        one = 1.0 / seconds
        n, r = one * sessions / _SCALES[0], one * rows / _SCALES[1]
        added = (one * one, one * n, one * r, n * n, n * r, r * r, one, n, r)
        self._sums = tuple([_KEPT * total + value for total, value in zip(self._sums, added)])  # noqa: B905  (slower)
        self._seconds = _fit(self._sums, self._seconds)
        self._knows_rows = self._knows_rows or rows > 0

    def of(self, sessions: float) -> float:
        """The expected seconds of a step of so many sessions without prompt rows; 0 before the first step."""
        return self._seconds[0] + self._seconds[1] * sessions / _SCALES[0]


def _fit(sums: tuple[float, ...], before: tuple[float, float, float]) -> tuple[float, float, float]:
    """The solution of the normal equations, drawn a little to the one before. sums: see StepTimes."""
    a, b, c, d, e, f, u, v, w = sums
    pull = _PULL * max(a, d, f)
    a, d, f = a + pull, d + pull, f + pull
    u, v, w = u + pull * before[0], v + pull * before[1], w + pull * before[2]
    # the adjugate of the symmetric matrix, and its determinant, which is positive because of the pull
    aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
    bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
    scale = 1.0 / (a * aa + b * ab + c * ac)
    x, y, z = aa * u + ab * v + ac * w, ab * u + bb * v + bc * w, ac * u + bc * v + cc * w
    return max(0.0, x * scale), max(0.0, y * scale), max(0.0, z * scale)


class Policy:
    """Decides who is admitted and who takes part in the next step. See the module for the rules.

    frame_seconds: seconds of audio that a step adds to each session. max_batch: the most sessions in a step.
    """

    def __init__(self, frame_seconds: float, max_batch: int = MAX_BATCH) -> None:
        self.frame_seconds, self.max_batch = frame_seconds, max_batch

    def admit(self, waiting: Sequence[Candidate], running: Sequence[Candidate]) -> list[int]:
        """The indices of the waiting jobs in the order in which they are admitted, as far as there is room.

        running: the sessions that are not parked; a parked session takes no room.
        """
        live = sum(each.live for each in running)
        room = self.max_batch - len(running)
        counts = Counter(each.group for each in running)
        order: list[int] = []
        left = sorted(range(len(waiting)), key=lambda i: waiting[i].number)
        while left:
            best = min(left, key=lambda i: (not waiting[i].live, counts[waiting[i].group], waiting[i].number))
            # A live stream is admitted even if bulk work fills the step: the step then leaves bulk work out.
            if room <= 0 and not (waiting[best].live and live < self.max_batch):
                break
            left.remove(best)
            order.append(best)
            counts[waiting[best].group] += 1
            live += waiting[best].live
            room -= 1
        return order

    def pick(self, sessions: Sequence[Candidate], times: StepTimes) -> tuple[list[int], int, bool]:
        """Who takes part in the next step: (indices, most prompt rows, whether decoding is spread).

        The prompt rows go to the sessions in the order of the indices. Decoding is spread over the steps if somebody
        listens: a long step would delay listeners, and a new stream. sessions: those that are not parked and have what
        they need for a step. The result is not empty unless `sessions` is.
        """
        live = [each for each in sessions if each.live]
        usual = times.of(len(sessions))
        needed = max(_LEAST_LEAD, 2 * usual)
        gaps = times.of(len(live)) >= self.frame_seconds  # listeners have them in any case
        by_itself = any(each.lead is None and self._is_short(each, times) for each in live)
        critical = not gaps and any(each.lead is not None and 2 * each.lead < needed for each in live)
        short = by_itself or critical or self._someone_short(sessions, times)

        def is_due(each: Candidate) -> bool:
            if not each.live:
                return each.idle >= _LONGEST_PAUSE - usual
            if each.lead is None:
                return not by_itself or self._is_short(each, times)
            return not (by_itself or critical) or (each.lead < needed and not gaps)

        everybody = range(len(sessions))
        chosen = [i for i in everybody if not short or is_due(sessions[i])] or list(everybody)
        chosen = self._fitting(sessions, chosen)
        chosen.sort(key=lambda i: _need(sessions[i]))
        generating = sum(not sessions[i].rows for i in chosen)
        rows = self._rows(sessions, chosen, times) if generating else self._rows_beside(live, times)
        return chosen, rows, bool(live)

    def _is_short(self, each: Candidate, times: StepTimes) -> bool:
        """Whether the prompt of a session may be taken in by a step without the others."""
        return each.prompt <= SHORT_PROMPT or each.prompt * (times.row or 1.0) <= _FRAME_SHARES[1] * self.frame_seconds

    def _someone_short(self, sessions: Sequence[Candidate], times: StepTimes) -> bool:
        """Whether a listener has not enough audio ahead for a few steps in which all sessions take part.

        False if a step of one session takes longer than its audio plays: there are gaps in any case, and steps of all
        sessions finish the whole sooner. Listeners who have heard nothing yet do not count.
        """
        if times.of(1) >= self.frame_seconds:
            return False
        enough = STEADY_CHUNK * times.of(len(sessions))
        return any(each.live and each.lead is not None and each.lead <= enough for each in sessions)

    def _fitting(self, sessions: Sequence[Candidate], chosen: list[int]) -> list[int]:
        """At most max_batch of the chosen sessions: live ones by their lead, then those that were idle longest, with
        the same number for each group."""
        if len(chosen) <= self.max_batch:
            return chosen
        order = sorted(
            chosen, key=lambda i: (not sessions[i].live, sessions[i].lead or 0.0, -sessions[i].idle, sessions[i].number)
        )
        place: Counter[Hashable] = Counter()
        turns = {}
        for i in order:
            turns[i] = place[sessions[i].group]
            place[sessions[i].group] += 1
        order.sort(key=lambda i: (not sessions[i].live, turns[i]))
        return order[: self.max_batch]

    def _rows(self, sessions: Sequence[Candidate], chosen: list[int], times: StepTimes) -> int:
        """How many prompt rows a step may take in without becoming much longer than usual."""
        if (row := times.row) is None:
            return _USUAL_ROWS
        least, most = _ROWS
        step = times.of(sum(not sessions[i].rows for i in chosen))
        waiting = any(sessions[i].live and sessions[i].rows and (sessions[i].lead or 0.0) < _LEAST_LEAD for i in chosen)
        longer = max(_LONGER_STEP * step, _FRAME_SHARES[waiting] * self.frame_seconds - step)
        return most if most * row <= longer else max(least, int(longer / row))

    def _rows_beside(self, live: Sequence[Candidate], times: StepTimes) -> int:
        """How many prompt rows a step of sessions that do not generate may take in, for the sake of all listeners."""
        leads = [each.lead for each in live if each.lead is not None]
        if not leads:
            return MOST_ROWS
        spare = max(0.0, min(leads) - _LEAST_LEAD / 2)
        return SHORT_PROMPT if times.row is None else min(MOST_ROWS, max(SHORT_PROMPT, int(spare / times.row)))


def _need(each: Candidate) -> tuple[bool, bool, float, int]:
    """Orders sessions by when their listeners need samples: those whose audio nearly ends, new ones, then the others.
    Long prompts come last."""
    lead = _LEAST_LEAD if each.lead is None else each.lead
    return not each.live, each.rows > MOST_ROWS, lead if each.live else 0.0, each.number
