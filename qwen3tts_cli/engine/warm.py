"""Mapped weights put into the page table while something else is being done."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

_GAP = 4096  # bytes between arrays of one mapping that do not make two ranges of them


def warm(arrays: Iterable[np.ndarray]) -> threading.Thread:
    """Have the pages of these arrays, which are all about to be read, mapped on a thread of its own; returns that."""
    kept = sorted(arrays, key=lambda array: array.ctypes.data)
    ranges: list[list[int]] = []
    for array in kept:
        start, end = array.ctypes.data, array.ctypes.data + array.nbytes
        if ranges and start - ranges[-1][1] < _GAP:
            ranges[-1][1] = max(ranges[-1][1], end)
        elif start < end:
            ranges.append([start, end])

    def run(kept: list[np.ndarray]) -> None:  # which keeps the mappings there
        for start, end in ranges:
            lib.q3t_warm(ffi.cast("void *", start), end - start)

    thread = threading.Thread(target=run, args=(kept,), daemon=True)
    thread.start()
    return thread
