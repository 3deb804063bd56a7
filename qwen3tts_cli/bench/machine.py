"""The machine's bounds and its state."""

from __future__ import annotations

import platform
import resource
import sys
from typing import TYPE_CHECKING

import numpy as np

from ..engine_cpu import cpu_flags
from ..engine_probe import Probe

if TYPE_CHECKING:
    from collections.abc import Sequence

READ_BYTES = 1 << 30
PEAKS = ("f32", "bf16", "int8")


def instruction_sets() -> str:
    """Those of this processor that kernels exist for, in one line."""
    return " ".join(name for name in cpu_flags() if not name.startswith("slow")) or platform.machine()


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
    """The best that a run has met so far, of each bound, and every barrier. threads: of all measurements."""

    def __init__(self, threads: int) -> None:
        self.threads, self.count = threads, 0
        self.best: dict[str, float] = {}
        self.barriers: list[float] = []

    def add(self, found: dict[str, float]) -> None:
        """Take a measurement of Prober.measure in."""
        self.count += 1
        self.barriers.append(found["barrier"])
        for name, value in found.items():
            if name != "barrier":
                self.best[name] = max(value, self.best.get(name, 0.0))

    @property
    def read_gbps(self) -> float:
        """GB/s of reading memory."""
        return self.best["read"] * 1e-9

    def gops(self, precision: str) -> float:
        """GFLOP/s or GOP/s of a type; 0 where there is no instruction for it."""
        return self.best[precision] * 1e-9

    @property
    def barrier_ns(self) -> tuple[float, float]:
        """Nanoseconds that the threads take to meet: the least, and the median of the run."""
        return min(self.barriers) * 1e9, float(np.median(self.barriers)) * 1e9


def maxrss_bytes(usage: resource.struct_rusage) -> int:
    """Most memory that a process has had in use, mapped files included."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_rss_mb() -> float:
    """That of this process, in 10^6 bytes."""
    return maxrss_bytes(resource.getrusage(resource.RUSAGE_SELF)) * 1e-6
