"""The upper bounds of the machine: bytes read and operations per second, and the time of a barrier of all threads."""

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
    """The instruction sets of this processor that the engine knows, separated by spaces."""
    return " ".join(cpu_flags()) or platform.machine()


class Prober:
    """Measures the machine with each of several thread counts; holds READ_BYTES of memory to read."""

    def __init__(self, threads: Sequence[int]) -> None:
        self._probes = [Probe(count) for count in threads]
        self._memory = np.ones(READ_BYTES, np.uint8)

    def measure(self) -> dict[int, dict[str, float]]:
        """Measure once. Returns for each thread count a dict: "read" in bytes/s; "f32", "bf16" and "int8" in
        operations/s; "barrier" in seconds."""
        return {probe.threads: self._measure(probe) for probe in self._probes}

    def _measure(self, probe: Probe) -> dict[str, float]:
        peaks = {name: probe.peak(name) for name in PEAKS}
        return {"read": probe.read(self._memory), "barrier": probe.barrier(), **peaks}


class Bounds:
    """The best of several measurements with one thread count. measured: one dict of Prober.measure for each of them."""

    def __init__(self, threads: int, measured: Sequence[dict[str, float]]) -> None:
        self.threads, self._measured = threads, measured

    def best(self, name: str) -> float:
        """The largest value of "read" (bytes/s), "f32", "bf16" or "int8" (operations/s)."""
        return max(values[name] for values in self._measured)

    @property
    def read_gbps(self) -> float:
        """10^9 bytes read from memory per second."""
        return self.best("read") * 1e-9

    def gops(self, precision: str) -> float:
        """10^9 operations per second on "f32", "bf16" or "int8"; 0 if the processor has no instruction for them."""
        return self.best(precision) * 1e-9

    @property
    def barrier_ns(self) -> tuple[float, float]:
        """(least, median) time of a barrier of all threads, in nanoseconds."""
        barriers = [values["barrier"] for values in self._measured]
        return min(barriers) * 1e9, float(np.median(barriers)) * 1e9


def maxrss_bytes(usage: resource.struct_rusage) -> int:
    """The largest resident set of a process, in bytes, mapped files included."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_rss_mb() -> float:
    """The largest resident set of this process, in 10^6 bytes."""
    return maxrss_bytes(resource.getrusage(resource.RUSAGE_SELF)) * 1e-6
