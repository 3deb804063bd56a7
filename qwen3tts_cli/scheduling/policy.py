"""The policy of the scheduler: which waiting jobs begin, and which sessions take part in the next step.

The policy is pure: it knows neither a clock nor the engine. Its rules:

* A new live stream comes first. If its prompt is short, its first step runs without the other sessions, as long as
  the other live streams have audio ahead. A long prompt is spread over steps in which the others take part. The
  short prompts of live streams come before it, and those of other work after it.
* Then live streams whose listeners have little ahead: the live streams step together, without other work.
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
SHORT_PROMPT = 64  # most prompt rows of a first step that may run by itself
_LONGEST_PAUSE = 1.0  # seconds for which bulk work may be left out
_LEAST_LEAD = 0.25  # seconds of audio ahead with which a live stream may be left out of a step
_ROWS = (8, 64)  # least and most prompt rows in a step with sessions that generate
_USUAL_ROWS = 32  # before the time for a row is known
MOST_ROWS = 128  # prompt rows of a step in any case: nobody can join, leave or cancel during a step
_LONGER_STEP = 0.3  # prompt rows may make a step longer by this share


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
    """How long steps take: running means of about the last STEADY_CHUNK steps of a kind; 0 before the first one.

    alone: seconds of a step with one session. together: seconds of a step with several. row: seconds that a prompt row
    adds to a step, 0 if steps that take in prompt rows are no longer than others; None before it is known.
    """

    def __init__(self) -> None:
        self.alone = self.together = 0.0
        self._longer = self._rows = 0.0  # seconds that the last steps with prompt rows took longer, and their rows

    @property
    def row(self) -> float | None:
        """See the class."""
        return max(0.0, self._longer) / self._rows if self._rows else None

    def add(self, sessions: int, rows: int, seconds: float) -> None:
        """Record how long a step took. sessions: those that made a frame. rows: prompt rows taken in."""
        if not rows and sessions:
            self._mean("alone" if sessions == 1 else "together", seconds)
        elif usual := self.of(sessions) if sessions else 0.0:
            kept = 1 - 1 / STEADY_CHUNK
            self._longer = kept * self._longer + seconds - usual
            self._rows = kept * self._rows + rows

    def _mean(self, name: str, seconds: float) -> None:
        before = getattr(self, name)
        setattr(self, name, before + (seconds - before) / STEADY_CHUNK if before else seconds)

    def of(self, sessions: int) -> float:
        """The expected seconds of a step of so many sessions."""
        return (self.alone or self.together) if sessions == 1 else (self.together or sessions * self.alone / 2)


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
        by_itself = any(each.live and each.lead is None and each.prompt <= SHORT_PROMPT for each in sessions)
        short = by_itself or self._someone_short(sessions, times)
        needed = max(_LEAST_LEAD, 2 * times.together)

        def is_due(each: Candidate) -> bool:
            if not each.live:
                return each.idle >= _LONGEST_PAUSE - times.together
            if not by_itself:
                return True
            return each.prompt <= SHORT_PROMPT if each.lead is None else each.lead < needed

        everybody = range(len(sessions))
        chosen = [i for i in everybody if not short or is_due(sessions[i])] or list(everybody)
        chosen = self._fitting(sessions, chosen)
        chosen.sort(key=lambda i: (not sessions[i].live, sessions[i].live and sessions[i].rows > SHORT_PROMPT))
        generating = sum(not sessions[i].rows for i in chosen)
        rows = self._rows(times, generating) if generating else MOST_ROWS
        return chosen, rows, any(each.live for each in sessions)

    def _someone_short(self, sessions: Sequence[Candidate], times: StepTimes) -> bool:
        """Whether a listener has not enough audio ahead for a few steps in which all sessions take part.

        False if a step of one session takes longer than its audio plays: there are gaps in any case, and steps of all
        sessions finish the whole sooner. Listeners who have heard nothing yet do not count.
        """
        if times.alone >= self.frame_seconds:
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
        return sorted(order[: self.max_batch])

    def _rows(self, times: StepTimes, generating: int) -> int:
        """How many prompt rows a step may take in without becoming much longer than usual."""
        least, most = _ROWS
        if (row := times.row) is None:
            return _USUAL_ROWS
        longer = _LONGER_STEP * times.of(generating)
        return most if most * row <= longer else max(least, int(longer / row))
