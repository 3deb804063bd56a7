"""Anonymous memory mappings."""

from __future__ import annotations

import mmap


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
