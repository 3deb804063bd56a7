"""Anonymous memory mappings: zeroed memory that takes up no RAM until it is touched."""

from __future__ import annotations

import mmap


def map_zeroed(size: int, *, huge: bool, shared: bool = False) -> mmap.mmap:
    """Map `size` bytes of zeros; the system allocates each page at its first access. Raises OSError.

    huge: use huge pages if the system has them; they need fewer TLB entries. shared: a forked process shares the
    memory, and a page counts as its own only once it touches it. Few systems have huge pages for shared memory.
    """
    memory = mmap.mmap(-1, size, flags=(mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE) | mmap.MAP_ANONYMOUS)
    advice = getattr(mmap, "MADV_HUGEPAGE" if huge else "MADV_NOHUGEPAGE", None)
    if advice is not None:
        memory.madvise(advice)
    return memory
