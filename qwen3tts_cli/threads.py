"""How many threads there is work for, and what keeps them from running: the limit of a control group, stolen time.

Linux tells by files; elsewhere there is no limit to read and nothing is known of stolen time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/")


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


def cgroup_limit(root: Path = _ROOT) -> float | None:
    """The cores' worth of time that control groups (v2 cpu.max, v1 cpu.cfs_quota_us) leave this process, or None."""
    limits = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line + "::").split(":", 2)
        path = path.removesuffix("::")
        if controllers == "":
            limits += _v2(root / "sys/fs/cgroup", path)
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", controllers):
                limits += _v1(root / "sys/fs/cgroup" / mount, path)
    return min(limits, default=None)


def default_threads(root: Path = _ROOT) -> int:
    """A thread for each core that this process may use: of its affinity, no more than its control group pays for."""
    limit = cgroup_limit(root)
    return cores() if limit is None else max(1, min(cores(), int(limit + 0.5)))


def cpu_times(root: Path = _ROOT) -> CpuTimes | None:
    """Times of all cores so far, or None where they are not told. Two of them give the share stolen in between."""
    words = _read(root / "proc/stat").partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu" or not all(word.isdigit() for word in words[1:9]):
        return None
    user, nice, system, _idle, _wait, irq, softirq, stolen = (int(word) for word in words[1:9])
    return CpuTimes(user + nice + system + irq + softirq + stolen, stolen)


def stolen_share(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """Of the time wanted between two readings, the share that was stolen, 0 to 1; None where that is not told."""
    if before is None or after is None or after.busy <= before.busy:
        return None
    return max(0, after.stolen - before.stolen) / (after.busy - before.busy)


def _v2(mount: Path, path: str) -> list[float]:
    """Limits of a group and of those around it."""
    found = []
    for folder in _upwards(mount, path):
        quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
        found += _quotient(quota, period)
    return found


def _v1(mount: Path, path: str) -> list[float]:
    found = []
    for folder in _upwards(mount, path):
        found += _quotient(_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip())
    return found


def _upwards(mount: Path, path: str) -> list[Path]:
    """The folder of a group, then those around it to the mount. In a container the path may be the host's: only the
    mount is there then, and it is the container's own."""
    parts = [part for part in path.split("/") if part and part != ".."]
    return [mount.joinpath(*parts[:n]) for n in range(len(parts), -1, -1)]


def _quotient(quota: str, period: str) -> list[float]:
    """`max` and -1 mean that there is no limit."""
    return [int(quota) / int(period)] if quota.isdigit() and period.isdigit() and int(period) > 0 else []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
