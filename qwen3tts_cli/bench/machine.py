"""The machine's bounds and its state."""

from __future__ import annotations

import platform
import resource
import sys
from typing import TYPE_CHECKING

import numpy as np

from ..engine.cpu import cpu_flags
from ..engine.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Sequence

READ_BYTES = 1 << 30
PEAKS = ("f32", "bf16", "int8")


def instruction_sets() -> str:
    """Those of this processor that the engine knows, in one line."""
    return " ".join(cpu_flags()) or platform.machine()


class Prober:
    """A probe for each thread count, with memory to read."""

    def __init__(self, threads: Sequence[int]) -> None:
        self._probes = [Probe(count) for count in threads]
        self._memory = np.ones(READ_BYTES, np.uint8)

    def measure(self) -> dict[int, dict[str, float]]:
        """By thread count: bytes and operations a second, each by its name, and the seconds of a "barrier"."""
        return {probe.threads: self._measure(probe) for probe in self._probes}

    def _measure(self, probe: Probe) -> dict[str, float]:
        found = {name: probe.peak(name) for name in PEAKS}
        return {"read": probe.read(self._memory), "barrier": probe.barrier(), **found}


class Bounds:
    """The best of the measurements of Prober.measure, and every barrier. threads: of all measurements."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.probes: list[dict[str, float]] = []

    def only(self, kept: Sequence[bool]) -> None:
        """Forget the measurements that are not kept."""
        self.probes = [probe for probe, keep in zip(self.probes, kept, strict=True) if keep]

    def best(self, name: str) -> float:
        """The best of one bound, a second."""
        return max(probe[name] for probe in self.probes)

    @property
    def read_gbps(self) -> float:
        """GB/s of reading memory."""
        return self.best("read") * 1e-9

    def gops(self, precision: str) -> float:
        """GFLOP/s or GOP/s of a type; 0 where there is no instruction for it."""
        return self.best(precision) * 1e-9

    @property
    def barrier_ns(self) -> tuple[float, float]:
        """Nanoseconds that the threads take to meet: the least, and the median of the run."""
        barriers = [probe["barrier"] for probe in self.probes]
        return min(barriers) * 1e9, float(np.median(barriers)) * 1e9


def maxrss_bytes(usage: resource.struct_rusage) -> int:
    """Most memory that a process has had in use, mapped files included."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_rss_mb() -> float:
    """That of this process, in 10^6 bytes."""
    return maxrss_bytes(resource.getrusage(resource.RUSAGE_SELF)) * 1e-6
