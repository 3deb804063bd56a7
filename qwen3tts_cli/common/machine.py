"""Processors and memory that this process may use: cores, free memory, limits of control groups, and stolen time.

Linux reports all of it in files. On other systems there are no limits to read and stolen time is unknown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")


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


def available_bytes(root: Path = ROOT) -> int | None:
    """Bytes that programs may still take without swapping: of the machine, and of the control groups of this process
    (v2 memory.max, memory.high; v1 memory.limit_in_bytes), whichever is less; None where the system does not say."""
    free = []
    for line in text_of(root / "proc/meminfo").splitlines():
        words = line.split()
        if words[:1] == ["MemAvailable:"] and words[1:] and words[1].isdigit():
            free.append(int(words[1]) << 10)
    for version, folder in groups("memory", root):
        limits = ("memory.max", "memory.high") if version == 2 else ("memory.limit_in_bytes",)
        used = text_of(folder / ("memory.current" if version == 2 else "memory.usage_in_bytes")).strip()
        if used.isdigit():
            taken = int(used) - _idle_cache(folder, "inactive_file" if version == 2 else "total_inactive_file")
            known = [text for text in (text_of(folder / name).strip() for name in limits) if text.isdigit()]
            free += [max(0, int(text) - taken) for text in known]
    return min(free, default=None)


def _idle_cache(folder: Path, name: str) -> int:
    """Of what a group has taken, the bytes of files that it gives back as soon as memory is wanted."""
    for line in text_of(folder / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


# ---------------------------------------------------------------- control groups
def groups(controller: str, root: Path = ROOT) -> Iterator[tuple[int, Path]]:
    """The folders where `controller` ("cpu", "memory") limits this process, each with its version, 1 or 2: those of its
    groups and of the groups around them. In a container the path may be the host's: only the mount is there then, and
    it is the container's own. Folders that are not there are among them."""
    mounts = root / "sys/fs/cgroup"
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line + "::").split(":", 2)
        path = path.removesuffix("::")
        if controllers == "":
            yield from ((2, folder) for folder in _upwards(mounts, path))
        elif controller in controllers.split(","):
            for mount in dict.fromkeys((controller, controllers)):
                yield from ((1, folder) for folder in _upwards(mounts / mount, path))


def text_of(path: Path) -> str:
    """What a file says, "" where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _upwards(mount: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part and part != ".."]
    return [mount.joinpath(*parts[:n]) for n in range(len(parts), -1, -1)]
