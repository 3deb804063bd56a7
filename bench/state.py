"""Selects the rounds of a measurement that ran in one state of the machine.

The host of a virtual machine may move its cores during a measurement. Cores that share a cache have a short barrier and
share one path to memory. Cores with caches of their own have a longer barrier and read more per second. Threads that a
busy host runs in turns on one core have a barrier a thousand times longer. Rounds of one state are compared only with
bounds that were measured in the same state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qwen3tts_cli.bench.results import Measurement

# A probe below both shares of the fastest probe, of bytes read per second and of the barrier's time, shares a cache.
_READ_SHARE, _BARRIER_SHARE = 0.8, 0.5
_CROWDED = 200  # a barrier of this many times the least one: threads waited for a core


def states(probes: Sequence[Mapping[str, float]]) -> list[str]:
    """The state of each probe (a dict of Prober.measure): "crowded", "shared" or "apart".

    "crowded": the barrier takes more than 200 times the least one. "shared": less than 0.8 of the bandwidth and less
    than 0.5 of the barrier's time of the probe that read fastest, so the threads were on one cache. "apart": all
    others; a probe that only reads slower was disturbed.
    """
    least = min(probe["barrier"] for probe in probes)
    crowded = [probe["barrier"] > _CROWDED * least for probe in probes]
    best = max((p for p, crowd in zip(probes, crowded, strict=True) if not crowd), key=lambda probe: probe["read"])
    shared = [
        p["read"] < _READ_SHARE * best["read"] and p["barrier"] < _BARRIER_SHARE * best["barrier"] for p in probes
    ]
    return ["crowded" if c else "shared" if s else "apart" for c, s in zip(crowded, shared, strict=True)]


def comparable(probes: Sequence[Mapping[str, float]], rounds: Sequence[int]) -> tuple[list[bool], list[bool]]:
    """(of each probe, of each round) whether it was in the state that most rounds were in.

    rounds: the index of the probe before each round; the next probe is after it. A round whose two probes differ in
    state belongs to none.
    """
    found = states(probes)
    within = [found[at] if found[at] == found[at + 1] else None for at in rounds]
    most = max(("apart", "shared", "crowded"), key=within.count)
    return [state == most for state in found], [state == most for state in within]


def in_one_state(measured: Measurement) -> tuple[Measurement, int]:
    """(the measurement with the probes and rounds of one state only, the number of rounds left out).

    A row that has no round in that state keeps all of its rounds. The indices of probes in rounds no longer hold.
    """
    widest = measured.probes[max(measured.probes)]
    kept, same = comparable(widest, [each.probe for each in measured.rounds])
    covered = {each.case for each, keep in zip(measured.rounds, same, strict=True) if keep}
    rounds = [each for each, keep in zip(measured.rounds, same, strict=True) if keep or each.case not in covered]
    probes = {
        threads: [probe for probe, keep in zip(all_probes, kept, strict=True) if keep]
        for threads, all_probes in measured.probes.items()
    }
    return replace(measured, probes=probes, rounds=rounds), len(measured.rounds) - len(rounds)
