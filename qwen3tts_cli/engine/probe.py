"""What a machine can do at most, measured by the engine's threads and kernels without a model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .._native import ffi, lib
from ..common.lifetime import Lifetime
from .binding import check

if TYPE_CHECKING:
    import numpy as np

_PEAKS = {"f32": lib.Q3T_PEAK_F32, "bf16": lib.Q3T_PEAK_BF16, "int8": lib.Q3T_PEAK_INT8}


class Probe:
    """Threads that measure; a context manager. threads: the caller included. cpu_mask: as of Model. EngineError."""

    def __init__(self, threads: int, cpu_mask: int = lib.Q3T_CPU_ALL) -> None:
        options = ffi.new("q3t_model_options *", {"cpu_mask": cpu_mask, "threads": threads})
        handle = ffi.new("q3t_probe **")
        check(lib.q3t_probe_open(options, handle), "opening a probe")
        self._handle, self.threads = handle[0], threads
        self.lifetime = Lifetime("probe", partial(lib.q3t_probe_close, handle[0]))
        self.lifetime.watch(self)
        self._value = ffi.new("double *")

    def close(self) -> None:
        """End the threads, once a measurement that another thread takes has ended."""
        self.lifetime.close()

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read(self, memory: np.ndarray) -> float:
        """Bytes a second that all threads read of `memory`, uint8, a multiple of 256 KB."""
        with self.lifetime.alone():
            status = lib.q3t_probe_read(self._handle, ffi.from_buffer(memory), memory.nbytes, self._value)
            check(status, "reading memory")
            return memory.nbytes / self._value[0]

    def peak(self, what: str, seconds: float = 0.05) -> float:
        """Operations a second in registers, a multiply-add being two: "f32", or dot products of "bf16" or "int8".

        0 where the processor has no instruction for it. Takes at least `seconds`.
        """
        with self.lifetime.alone():
            check(lib.q3t_probe_peak(self._handle, _PEAKS[what], seconds, self._value), f"measuring {what}")
            return self._value[0]

    def barrier(self, seconds: float = 0.005) -> float:
        """Seconds that all threads take to meet once, the mean over about `seconds`."""
        rounds = 50
        for _ in range(2):  # a few first: with more threads than cores a meeting takes a thousand times as long
            with self.lifetime.alone():
                check(lib.q3t_probe_barrier(self._handle, rounds, self._value), "measuring the barrier")
                mean = self._value[0]
            rounds = max(1, min(200_000, int(seconds / max(mean, 1e-9))))
        return mean
