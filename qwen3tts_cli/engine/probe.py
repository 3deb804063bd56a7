"""Upper bounds of a machine, measured with the engine's threads and kernels: memory rate, arithmetic rate, barrier."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .._native import ffi, lib
from ..common.lifetime import Lifetime
from .binding import check_status

if TYPE_CHECKING:
    import numpy as np

_PEAKS = {"f32": lib.Q3T_PEAK_F32, "bf16": lib.Q3T_PEAK_BF16, "int8": lib.Q3T_PEAK_INT8}


class Probe:
    """A thread pool that measures; a context manager. Its constructor and every method raise EngineError.

    threads: the number of threads, the caller's included. cpu_mask: see engine.model.Model.
    """

    def __init__(self, threads: int, cpu_mask: int = lib.Q3T_CPU_ALL) -> None:
        options = ffi.new("q3t_model_options *", {"cpu_mask": cpu_mask, "threads": threads})
        handle = ffi.new("q3t_probe **")
        check_status(lib.q3t_probe_open(options, handle), "opening a probe")
        self._handle, self.threads = handle[0], threads
        self.lifetime = Lifetime("probe", partial(lib.q3t_probe_close, handle[0]))
        self.lifetime.watch(self)
        self._value = ffi.new("double *")

    def close(self) -> None:
        """Wait for a measurement that another thread runs, then end the thread pool."""
        self.lifetime.close()

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read(self, memory: np.ndarray) -> float:
        """Bytes a second that all threads together read. memory: uint8 of shape (n,), n a multiple of 256 KiB."""
        with self.lifetime.alone():
            status = lib.q3t_probe_read(self._handle, ffi.from_buffer(memory), memory.nbytes, self._value)
            check_status(status, "reading memory")
            return memory.nbytes / self._value[0]

    def peak(self, what: str, seconds: float = 0.05) -> float:
        """Operations a second of all threads on registers; a multiply-add counts as two. Takes at least `seconds`.

        what: "f32" for multiply-adds, "bf16" or "int8" for dot products; the result is 0 if the processor has no
        instruction for these dot products.
        """
        with self.lifetime.alone():
            check_status(lib.q3t_probe_peak(self._handle, _PEAKS[what], seconds, self._value), f"measuring {what}")
            return self._value[0]

    def barrier(self, seconds: float = 0.005) -> float:
        """Seconds that one barrier of all threads takes, the mean of a measurement that lasts about `seconds`."""
        rounds = 50
        # The first measurement, a short one, sets the length of the second.
        for _ in range(2):
            with self.lifetime.alone():
                check_status(lib.q3t_probe_barrier(self._handle, rounds, self._value), "measuring the barrier")
                mean = self._value[0]
            rounds = max(1, min(200_000, int(seconds / max(mean, 1e-9))))
        return mean
