"""How many threads there is work for, and what keeps them from running: the limit of a control group, stolen time.

Linux tells by files; elsewhere there is no limit to read and nothing is known of stolen time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from .cgroups import ROOT, groups, text_of


class CpuTimes(NamedTuple):
    """Time of all cores since the machine started, in clock ticks. busy: wanted, stolen included; stolen: taken by the
    host of a virtual machine for others."""

    busy: int
    stolen: int


def cores() -> int:
    """The cores that this process may run on."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS
        return max(1, os.cpu_count() or 1)


def cgroup_limit(root: Path = ROOT) -> float | None:
    """The cores' worth of time that control groups (v2 cpu.max, v1 cpu.cfs_quota_us) leave this process, or None."""
    limits = []
    for version, folder in groups("cpu", root):
        if version == 2:
            quota, _, period = text_of(folder / "cpu.max").strip().partition(" ")
        else:
            quota, period = (text_of(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
        limits += _quotient(quota, period)
    return min(limits, default=None)


def default_threads(root: Path = ROOT) -> int:
    """A thread for each core that this process may use: of its affinity, no more than its control group pays for."""
    limit = cgroup_limit(root)
    return cores() if limit is None else max(1, min(cores(), int(limit + 0.5)))


def cpu_times(root: Path = ROOT) -> CpuTimes | None:
    """Times of all cores so far, or None where they are not told. Two of them give the share stolen in between."""
    words = text_of(root / "proc/stat").partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu" or not all(word.isdigit() for word in words[1:9]):
        return None
    user, nice, system, _idle, _wait, irq, softirq, stolen = (int(word) for word in words[1:9])
    return CpuTimes(user + nice + system + irq + softirq + stolen, stolen)


def stolen_share(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """Of the time wanted between two readings, the share that was stolen, 0 to 1; None where that is not told."""
    if before is None or after is None or after.busy <= before.busy:
        return None
    return max(0, after.stolen - before.stolen) / (after.busy - before.busy)


def _quotient(quota: str, period: str) -> list[float]:
    """`max` and -1 mean that there is no limit."""
    return [int(quota) / int(period)] if quota.isdigit() and period.isdigit() and int(period) > 0 else []
