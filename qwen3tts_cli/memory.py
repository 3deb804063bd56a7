"""What memory there is, and memory of our own for what the engine reads."""

from __future__ import annotations

import mmap

def available_bytes() -> int | None:
    """Bytes that programs may still take without swapping; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return None


def zeroed(size: int, *, huge: bool) -> mmap.mmap:
    """`size` bytes of 0, page by page as they are touched; huge: in huge pages where the system has them, which are
    read a little faster. Forked processes share them until they are written to. Raises OSError."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    advice = getattr(mmap, "MADV_HUGEPAGE" if huge else "MADV_NOHUGEPAGE", None)
    if advice is not None:
        memory.madvise(advice)
    return memory
