"""What memory there is, and memory of our own for what the engine reads."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from .cgroups import ROOT, groups, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


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


def zeroed(size: int, *, huge: bool, shared: bool = False) -> mmap.mmap:
    """`size` bytes of 0, page by page as they are touched. Raises OSError.

    huge: in huge pages where the system has them, which are read a little faster. shared: a forked process has the same
    memory, of which only what it touches counts as its own; few systems have huge pages for that.
    """
    memory = mmap.mmap(-1, size, flags=(mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE) | mmap.MAP_ANONYMOUS)
    advice = getattr(mmap, "MADV_HUGEPAGE" if huge else "MADV_NOHUGEPAGE", None)
    if advice is not None:
        memory.madvise(advice)
    return memory


class SparseRows:
    """The rows of a mapped matrix that somebody asked for, in memory of their own.

    A mapping alone would cost more: where the system keeps a file in huge pages, a row that is looked at brings 2 MB
    into the process, and a long text most of an embedding. array: as `source`; the rows that were not asked for are 0.
    """

    def __init__(self, source: np.ndarray, forget: Callable[[], None]) -> None:
        """forget: gives back the memory of what was read of `source`. Raises OSError."""
        import numpy as np

        memory = zeroed(max(1, source.nbytes), huge=False)
        self.array = np.frombuffer(memory, source.dtype, source.size).reshape(source.shape)
        self._source, self._forget = source, forget
        self._there = np.zeros(len(source), bool)

    def read(self, rows: np.ndarray) -> None:
        """See to it that these rows are there. Any number of threads may do so at once."""
        for row in {int(row) for row in rows[~self._there[rows]]}:
            self.array[row] = self._source[row]
            self._there[row] = True
            self._forget()
