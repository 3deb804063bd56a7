"""What a machine can do at most, measured by the engine's threads and kernels without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._native import ffi, lib
from .engine_native import check

if TYPE_CHECKING:
    import numpy as np

_PEAKS = {"f32": lib.Q3T_PEAK_F32, "bf16": lib.Q3T_PEAK_BF16, "int8": lib.Q3T_PEAK_INT8}


class Probe:
    """Threads that measure; a context manager. threads: the caller included. cpu_mask: as of Model. EngineError."""

    def __init__(self, threads: int, cpu_mask: int = lib.Q3T_CPU_ALL) -> None:
        options = ffi.new("q3t_model_options *", {"cpu_mask": cpu_mask, "threads": threads})
        handle = ffi.new("q3t_probe **")
        check(lib.q3t_probe_open(options, handle), "opening a probe")
        self._handle, self.threads = ffi.gc(handle[0], lib.q3t_probe_close), threads
        self._value = ffi.new("double *")

    def close(self) -> None:
        """End the threads."""
        if self._handle is not None:
            ffi.release(self._handle)
            self._handle = None

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read(self, memory: np.ndarray) -> float:
        """Bytes a second that all threads read of `memory`, uint8, a multiple of 256 KB."""
        check(lib.q3t_probe_read(self._handle, ffi.from_buffer(memory), memory.nbytes, self._value), "reading memory")
        return memory.nbytes / self._value[0]

    def peak(self, what: str, seconds: float = 0.05) -> float:
        """Operations a second in registers, a multiply-add being two: "f32", or dot products of "bf16" or "int8".

        0 where the processor has no instruction for it. Takes at least `seconds`.
        """
        check(lib.q3t_probe_peak(self._handle, _PEAKS[what], seconds, self._value), f"measuring {what}")
        return self._value[0]

    def barrier(self, seconds: float = 0.005) -> float:
        """Seconds that all threads take to meet once, the mean over about `seconds`."""
        rounds = 50
        for _ in range(2):  # a few first: with more threads than cores a meeting takes a thousand times as long
            status = lib.q3t_probe_barrier(self._handle, rounds, self._value)
            check(status, "measuring the barrier")
            rounds = max(1, min(200_000, int(seconds / max(self._value[0], 1e-9))))
        return self._value[0]
