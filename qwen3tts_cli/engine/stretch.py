"""The time stretch of the engine: changes the speed of speech and keeps its pitch."""

from __future__ import annotations

import numpy as np

from .._native import ffi, lib
from ..errors import EngineError
from .binding import check_status, pointer

_BLOCK = 4096  # samples of output that one call of the engine may write


class Stretch:
    """Changes the speed of one stream of samples. The result depends on the samples alone, not on how they are cut.

    speed: 0.25 to 4; 2 makes speech half as long. Raises EngineError for any other number.
    """

    def __init__(self, speed: float) -> None:
        opened = ffi.new("q3t_stretch **")
        check_status(lib.q3t_stretch_open(speed, opened), "opening the time stretch")
        self._handle = ffi.gc(opened[0], lib.q3t_stretch_close)
        self._used, self._count = ffi.new("int32_t *"), ffi.new("int32_t *")

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Take samples, contiguous float32 of shape (n,). Returns the output that is complete: float32 of shape (m,).

        Output lags behind the input by at most 39 ms of the input. Raises EngineError for another dtype or shape, and
        after `finish`.
        """
        if samples.ndim != 1:
            raise EngineError(f"found an array of shape {samples.shape}, expected (n,)")
        parts: list[np.ndarray] = []
        while True:
            out = np.empty(_BLOCK, np.float32)
            given = pointer(samples, np.float32, "float[]"), len(samples), self._used
            check_status(
                lib.q3t_stretch_run(self._handle, *given, ffi.from_buffer("float[]", out), _BLOCK, self._count),
                "time stretch",
            )
            parts.append(out[: self._count[0]])
            if self._count[0] < _BLOCK:
                return np.concatenate(parts)
            samples = samples[self._used[0] :]

    def finish(self) -> np.ndarray:
        """End the input. Returns the remaining output, float32 of shape (m,).

        n samples of input make n / speed samples of output in all, rounded.
        """
        parts: list[np.ndarray] = []
        while not parts or len(parts[-1]) == _BLOCK:
            out = np.empty(_BLOCK, np.float32)
            check_status(
                lib.q3t_stretch_finish(self._handle, ffi.from_buffer("float[]", out), _BLOCK, self._count),
                "time stretch",
            )
            parts.append(out[: self._count[0]])
        return np.concatenate(parts)
