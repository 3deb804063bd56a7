"""Which rounds of a run can be compared: the cores of a virtual machine may be moved while it is measured.

Where they share a cache its threads meet soon, and share that cache's way to memory; where each has one they meet later
and read more at a time; and a host that has too much to do lets two take turns on one core, and says nothing of it.
What was measured in one state is not held against the bounds of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_READ, _MEET = 0.8, 0.5  # of the speed of reading and of the time to meet, below which a state is another
_CROWDED = 200  # times the least time to meet: more than distance or a moment's loss of a core makes of it


def states(probes: Sequence[Mapping[str, float]]) -> list[str]:
    """Of each probe: "crowded", threads waited for a core; "shared", their cores shared a cache, where those of the
    probe that read fastest did not; "apart".

    A probe that only reads slower was disturbed: its threads do not meet sooner.
    """
    least = min(probe["barrier"] for probe in probes)
    crowded = [probe["barrier"] > _CROWDED * least for probe in probes]
    best = max((p for p, crowd in zip(probes, crowded, strict=True) if not crowd), key=lambda probe: probe["read"])
    shared = [p["read"] < _READ * best["read"] and p["barrier"] < _MEET * best["barrier"] for p in probes]
    return ["crowded" if c else "shared" if s else "apart" for c, s in zip(crowded, shared, strict=True)]


def comparable(probes: Sequence[Mapping[str, float]], rounds: Sequence[int]) -> tuple[list[bool], list[bool]]:
    """Of each probe and of each round whether it was in the state that most rounds were in.

    rounds: the probe before each; the next one is behind it. A round between two states is in neither.
    """
    found = states(probes)
    within = [found[at] if found[at] == found[at + 1] else None for at in rounds]
    most = max(("apart", "shared", "crowded"), key=within.count)
    return [state == most for state in found], [state == most for state in within]
