"""The policy of the scheduler, on a simulated clock: first audio, fairness, starvation, and the rows of a step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from qwen3tts_cli.scheduling.policy import MOST_ROWS, SHORT_PROMPT, Candidate, Policy, StepTimes

FRAME = 0.08
ALONE, EACH, ROW = 0.03, 0.008, 0.0005  # seconds: a step with one session, each further session, each prompt row


@dataclass
class Session:
    """A simulated session. The listener of a live one plays what was made, from its first frame on."""

    name: str
    live: bool = False
    rows: int = 0
    group: str = ""
    arrival: float = 0.0
    frames: int = 0
    stepped: float = 0.0
    first: float | None = None
    longest: float = 0.0
    gaps: float = 0.0

    def __post_init__(self) -> None:
        self.prompt = self.rows

    def lead(self, now: float) -> float | None:
        if self.first is None:
            return None
        lead = self.frames * FRAME - (now - self.first)
        if lead < 0:
            self.gaps -= lead
            self.first -= lead
        return max(0.0, lead)


class Simulation:
    """Runs the policy on sessions, with steps that take as long as the constants above say."""

    def __init__(self, sessions, max_batch=64, each=EACH):
        self.policy, self.times, self.now, self.each = Policy(FRAME, max_batch), StepTimes(), 0.0, each
        self.sessions = sessions
        self.steps = []

    def step(self):
        ready = [s for s in self.sessions if s.arrival <= self.now]
        seen = [
            Candidate(
                s.live, s.lead(self.now), s.prompt, s.rows, self.now - max(s.stepped, s.arrival), s.group or s.name, i
            )
            for i, s in enumerate(ready)
        ]
        chosen, budget, spread = self.policy.pick(seen, self.times)
        assert spread == any(each.live for each in seen)
        assert len(set(chosen)) == len(chosen)
        assert bool(chosen) == bool(ready)
        assert len(chosen) <= self.policy.max_batch
        left, made, taken = budget if budget is not None else 1 << 30, [], 0
        assert left > 0
        for i in chosen:
            rows = min(ready[i].rows, left)
            ready[i].rows -= rows
            left -= rows
            taken += rows
            if not ready[i].rows:
                made.append(ready[i])
        seconds = taken * ROW + (ALONE + self.each * (len(made) - 1) if made else 0.0)
        for i in chosen:
            ready[i].longest = max(ready[i].longest, self.now - max(ready[i].stepped, ready[i].arrival))
        self.now += max(seconds, 1e-4)
        for s in made:
            s.frames += 1
            s.first = self.now if s.first is None else s.first
        for i in chosen:
            ready[i].stepped = self.now
        self.times.add(len(made), taken, seconds)
        self.steps.append(([ready[i].name for i in chosen], taken, seconds))

    def run(self, seconds):
        while self.now < seconds:
            self.step()
        return self


def test_a_stream_begins_without_the_others_and_shares_once_it_has_audio_ahead():
    bulk = [Session(f"b{i}") for i in range(7)]
    run = Simulation([Session("live", live=True, rows=40), *bulk])
    run.step()
    assert run.steps[0][0] == ["live"]
    run.run(6)
    together = [names for names, _, _ in run.steps[-200:] if len(names) == 8]
    assert together
    assert run.sessions[0].gaps == 0


def test_a_new_live_stream_comes_before_everything_else():
    old = [Session(f"l{i}", live=True) for i in range(4)]
    new = Session("new", live=True, rows=40, arrival=4.0)
    run = Simulation([*old, *(Session(f"b{i}") for i in range(8)), new]).run(3.99)
    while new.first is None:
        run.step()
    longest_step = max(seconds for _, _, seconds in run.steps[-30:])
    assert new.first - new.arrival < longest_step + 40 * ROW + 2 * ALONE
    assert next(names for names, _, _ in run.steps if "new" in names) == ["new"]
    run.run(10)
    assert all(each.gaps == 0 for each in old)


def test_many_new_streams_do_not_stop_those_that_play():
    """A stream that begins every 60 ms does not let the audio of the others end."""
    old = [Session(f"l{i}", live=True) for i in range(3)]
    new = [Session(f"n{i}", live=True, rows=20, arrival=3 + 0.06 * i) for i in range(8)]
    Simulation([*old, *new], each=0.001).run(9)
    assert all(each.gaps < 0.05 for each in old)
    assert all(each.frames > 10 for each in new)


@pytest.mark.parametrize("live", [1, 6])
def test_bulk_work_never_waits_for_more_than_a_second(live):
    listeners = [Session(f"l{i}", live=True) for i in range(live)]
    late = [Session(f"m{i}", live=True, rows=60, arrival=1 + 0.5 * i) for i in range(6)]
    bulk = [Session(f"b{i}") for i in range(5)]
    Simulation([*listeners, *late, *bulk]).run(10)
    assert max(each.longest for each in bulk) <= 1.0 + 0.15


@pytest.mark.parametrize("live", [True, False])
def test_a_long_prompt_costs_the_others_little(live):
    """A prompt of 300 rows joins eight streams: no interval between their steps is over 1.5 times the usual one."""
    old = [Session(f"l{i}", live=live) for i in range(8)]
    run = Simulation([*old, Session("clone", live=True, rows=300, arrival=3.0)]).run(8)
    assert run.sessions[-1].frames > 0
    before = [seconds for names, _, seconds in run.steps if len(names) >= 8 and "clone" not in names]
    usual = sorted(before)[len(before) // 2]
    joining = [(taken, seconds) for names, taken, seconds in run.steps if "clone" in names and taken]
    assert sum(taken for taken, _ in joining) == 300
    assert max(seconds for _, seconds in joining) <= 1.5 * usual
    assert all(len(names) == 9 for names, taken, _ in run.steps if "clone" in names and taken)
    assert max(seconds for _, seconds in joining[3:-1]) > 1.1 * usual  # the budget is used once it is known


def test_an_engine_that_is_slower_than_speech_makes_steps_of_all():
    run = Simulation([Session("live", live=True), *(Session(f"b{i}") for i in range(3))])
    run.times.alone = 0.1
    run.sessions[0].first, run.sessions[0].frames = 0.0, 1
    run.step()
    assert len(run.steps[0][0]) == 4


def test_the_width_of_a_step_is_shared_by_groups():
    many = [Session(f"a{i}", group="a") for i in range(40)]
    one = Session("z", group="z")
    run = Simulation([*many, one], max_batch=8).run(4)
    assert one.frames >= len(run.steps) - 2
    frames = [each.frames for each in many]
    assert min(frames) >= 0.6 * max(frames)


def candidates(*kinds):
    return [Candidate(live, None, 10, 10, 0.0, group, number) for number, (live, group) in enumerate(kinds)]


def test_admission_prefers_live_streams_and_gives_each_group_its_turn():
    policy = Policy(FRAME, max_batch=4)
    waiting = candidates((False, "a"), (False, "a"), (False, "a"), (False, "b"), (True, "c"))
    assert policy.admit(waiting, []) == [4, 0, 3, 1]
    running = candidates((False, "a"), (False, "a"), (False, "d"), (False, "d"))
    assert policy.admit(waiting, running) == [4]  # bulk work fills the step, and a live stream is admitted all the same
    assert policy.admit(waiting[:4], running[:2]) == [3, 0]
    assert policy.admit([], running) == []
    full = candidates(*[(True, str(i)) for i in range(4)])
    assert policy.admit(waiting, full) == []


def test_prompt_rows_are_limited_most_where_they_delay_somebody():
    policy, times = Policy(FRAME), StepTimes()
    long = Candidate(True, None, SHORT_PROMPT + 1, SHORT_PROMPT + 1, 0.0, "a", 0)
    assert policy.pick([long], times) == ([0], MOST_ROWS, True)
    plays = Candidate(True, 3.0, 10, 0, 0.0, "b", 1)
    chosen, rows, _ = policy.pick([long, plays], times)
    assert chosen == [1, 0]
    assert 8 <= rows <= 64
    for _ in range(20):
        times.add(8, 0, 0.09)
    for row, expected in ((0.01, 8), (0.0001, 64), (-0.001, 64)):
        for _ in range(100):
            times.add(8, 10, 0.09 + 10 * row)
        assert policy.pick([long, plays], times)[1] == expected
    short = Candidate(True, None, SHORT_PROMPT, SHORT_PROMPT, 0.0, "a", 0)
    assert policy.pick([short, plays], times) == ([0], MOST_ROWS, True)


def test_a_short_prompt_does_not_wait_for_a_long_one():
    long = Candidate(True, None, 4000, 3000, 0.0, "a", 0)
    short = Candidate(True, None, SHORT_PROMPT, SHORT_PROMPT, 0.0, "b", 1)
    assert Policy(FRAME).pick([long, short], StepTimes())[0] == [1]
    begun = short._replace(lead=0.0, rows=0)
    assert Policy(FRAME).pick([long, begun], StepTimes())[0] == [1, 0]
    bulk = [each._replace(live=False) for each in (long, short)]
    assert Policy(FRAME).pick(bulk, StepTimes())[0] == [0, 1]
    assert Policy(FRAME).pick([*bulk, long], StepTimes())[0] == [2, 0, 1]


def test_decoding_is_spread_only_where_somebody_listens():
    bulk = Candidate(False, None, 10, 0, 0.0, "a", 0)
    plays = Candidate(True, 3.0, 10, 0, 0.0, "b", 1)
    policy = Policy(FRAME)
    assert policy.pick([bulk, bulk], StepTimes()) == ([0, 1], 32, False)
    assert policy.pick([bulk, plays], StepTimes())[2]


def test_step_times_are_running_means():
    times = StepTimes()
    times.add(1, 0, 0.04)
    assert (times.alone, times.together) == (0.04, 0.0)
    assert times.of(8) == pytest.approx(0.16)
    for _ in range(100):
        times.add(3, 0, 0.1)
    assert times.of(5) == pytest.approx(0.1)
    times.add(3, 40, 0.14)
    assert times.row == pytest.approx(0.001)
    for seconds in (0.2, 0.0) * 100:  # the mean of steps that vary
        times.add(3, 40, seconds + 0.04)
    assert times.row == pytest.approx(0.001, rel=0.2)
    times.add(0, 40, 0.01)
    times.add(0, 0, 9.0)
    assert times.together == pytest.approx(0.1)


def test_nothing_is_left_out_forever():
    """Every mixture of sessions makes frames in all of them."""
    for lives, bulks, rows in itertools.product((0, 1, 3), (0, 2, 5), (0, 30, 200)):
        sessions = [Session(f"l{i}", live=True, rows=rows) for i in range(lives)]
        sessions += [Session(f"b{i}", rows=rows) for i in range(bulks)]
        if sessions:
            Simulation(sessions, max_batch=4).run(5)
            assert all(each.frames > 3 for each in sessions)
