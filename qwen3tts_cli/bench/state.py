"""Which rounds of a run can be compared: the cores of a virtual machine may be moved while it is measured.

Where they share a cache its threads meet soon, and share that cache's way to memory; where each has one they meet later
and read more at a time. What was measured in one state is not held against the bounds of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_READ, _MEET = 0.8, 0.5  # of the speed of reading and of the time to meet, below which a state is another


def shared(probes: Sequence[Mapping[str, float]]) -> list[bool]:
    """Of each probe, whether its cores shared a cache, where those of the probe that read fastest did not.

    A probe that only reads slower was disturbed: its threads do not meet sooner.
    """
    best = max(probes, key=lambda probe: probe["read"])
    return [p["read"] < _READ * best["read"] and p["barrier"] < _MEET * best["barrier"] for p in probes]


def comparable(probes: Sequence[Mapping[str, float]], rounds: Sequence[int]) -> tuple[list[bool], list[bool]]:
    """Of each probe and of each round whether it was in the state that most rounds were in.

    rounds: the probe before each; the next one is behind it. A round between two states is in neither.
    """
    states = shared(probes)
    within = [states[at] if states[at] == states[at + 1] else None for at in rounds]
    most = within.count(True) > within.count(False)
    return [state == most for state in states], [state == most for state in within]
