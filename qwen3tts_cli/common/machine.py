"""The processors and memory that this process may use: cores, free memory, control group limits, and stolen time.

Linux reports these values in files below /proc and /sys. On other systems limits and stolen time are unknown.
root, in every function: the folder that contains proc/ and sys/, for tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")


class CpuTimes(NamedTuple):
    """CPU time of all cores since the machine started, in clock ticks. busy: all time except idle and I/O wait, stolen
    time included. stolen: the time in which the host of a virtual machine ran other machines."""

    busy: int
    stolen: int


def cores() -> int:
    """Return the number of cores that this process may run on (its affinity)."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS
        return max(1, os.cpu_count() or 1)


def cgroup_limit(root: Path = ROOT) -> float | None:
    """Return the CPU limit of this process's control groups in cores (v2 cpu.max, v1 cpu.cfs_quota_us), or None."""
    limits = []
    for version, folder in cgroup_folders("cpu", root):
        if version == 2:
            quota, _, period = read_text(folder / "cpu.max").strip().partition(" ")
        else:
            quota, period = (read_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
        limits += _quotient(quota, period)
    return min(limits, default=None)


def default_threads(root: Path = ROOT) -> int:
    """Return the default number of threads: `cores()`, or the rounded control group limit if that is smaller."""
    limit = cgroup_limit(root)
    return cores() if limit is None else max(1, min(cores(), int(limit + 0.5)))


def cpu_times(root: Path = ROOT) -> CpuTimes | None:
    """Read the CPU times from /proc/stat; None if they are not available. Two readings give `stolen_share`."""
    words = read_text(root / "proc/stat").partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu" or not all(word.isdigit() for word in words[1:9]):
        return None
    user, nice, system, _idle, _wait, irq, softirq, stolen = (int(word) for word in words[1:9])
    return CpuTimes(user + nice + system + irq + softirq + stolen, stolen)


def stolen_share(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """Return the stolen time as a share (0 to 1) of the busy time between two readings; None if it is unknown."""
    if before is None or after is None or after.busy <= before.busy:
        return None
    return max(0, after.stolen - before.stolen) / (after.busy - before.busy)


def _quotient(quota: str, period: str) -> list[float]:
    """Return [quota / period], or [] if there is no limit: the quota is "max" or -1."""
    return [int(quota) / int(period)] if quota.isdigit() and period.isdigit() and int(period) > 0 else []


def available_bytes(root: Path = ROOT) -> int | None:
    """Return the bytes that this process can still allocate without swapping, or None if that is unknown.

    This is the smallest of the machine's available memory and the memory that the limits of this process's control
    groups leave (v2 memory.max and memory.high, v1 memory.limit_in_bytes).
    """
    free = []
    for line in read_text(root / "proc/meminfo").splitlines():
        words = line.split()
        if words[:1] == ["MemAvailable:"] and words[1:] and words[1].isdigit():
            free.append(int(words[1]) << 10)
    for version, folder in cgroup_folders("memory", root):
        limits = ("memory.max", "memory.high") if version == 2 else ("memory.limit_in_bytes",)
        used = read_text(folder / ("memory.current" if version == 2 else "memory.usage_in_bytes")).strip()
        if used.isdigit():
            needed = int(used) - _reclaimable_bytes(folder, "inactive_file" if version == 2 else "total_inactive_file")
            known = [text for text in (read_text(folder / name).strip() for name in limits) if text.isdigit()]
            free += [max(0, int(text) - needed) for text in known]
    return min(free, default=None)


def _reclaimable_bytes(folder: Path, name: str) -> int:
    """Return the bytes of cached file pages in a group's usage, which the kernel frees on demand.

    name: the field of the group's memory.stat that holds them.
    """
    for line in read_text(folder / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


# ---------------------------------------------------------------- control groups
def cgroup_folders(controller: str, root: Path = ROOT) -> Iterator[tuple[int, Path]]:
    """Yield (version, folder) of each control group that limits this process: its own groups and their parents.

    version: 1 or 2. controller: "cpu" or "memory". Some of the folders may not exist: in a container,
    /proc/self/cgroup may name the host's path. Then only the mount point exists, which is the container's own group.
    """
    mounts = root / "sys/fs/cgroup"
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line + "::").split(":", 2)
        path = path.removesuffix("::")
        if controllers == "":
            yield from ((2, folder) for folder in _upwards(mounts, path))
        elif controller in controllers.split(","):
            for mount in dict.fromkeys((controller, controllers)):
                yield from ((1, folder) for folder in _upwards(mounts / mount, path))


def read_text(path: Path) -> str:
    """Return the contents of a text file, or "" if it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # a third of the time of `read_text`, at each start
            return file.readall().decode("ascii", "replace")
    except OSError:
        return ""


def _upwards(mount: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part and part != ".."]
    return [mount.joinpath(*parts[:n]) for n in range(len(parts), -1, -1)]
