"""A thread that enters the pages of mapped weights into the page table, so that the first step takes no page faults."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

_GAP = 4096  # arrays that lie fewer bytes apart are one range


def start_prefault(arrays: Iterable[np.ndarray]) -> threading.Thread:
    """Start a thread that touches every page of these arrays, which are about to be read; returns the thread."""
    kept = sorted(arrays, key=lambda array: array.ctypes.data)
    ranges: list[list[int]] = []
    for array in kept:
        start, end = array.ctypes.data, array.ctypes.data + array.nbytes
        if ranges and start - ranges[-1][1] < _GAP:
            ranges[-1][1] = max(ranges[-1][1], end)
        elif start < end:
            ranges.append([start, end])

    def run(_kept: list[np.ndarray]) -> None:  # the argument keeps the mappings alive
        for start, end in ranges:
            lib.q3t_warm(ffi.cast("void *", start), end - start)

    thread = threading.Thread(target=run, args=(kept,), daemon=True)
    thread.start()
    return thread
