"""What the engine finds in this processor."""

from __future__ import annotations

import platform

from .._native import ffi, lib


def kernels_text(cpu_mask: int = lib.Q3T_CPU_ALL) -> str:
    """The kernel table that a mask selects on this processor, as `entry=isa ...`."""
    size = lib.q3t_kernels_text(cpu_mask, ffi.NULL, 0) + 1
    text = ffi.new("char[]", size)
    lib.q3t_kernels_text(cpu_mask, text, size)
    return ffi.string(text).decode()


def cpu_flags() -> list[str]:
    """Names of the instruction sets of this processor that the engine knows."""
    flags = lib.q3t_cpu_flags()
    names = [name for name in dir(lib) if name.startswith("Q3T_CPU_") and name != "Q3T_CPU_ALL"]
    return [
        n.removeprefix("Q3T_CPU_").lower()
        for n in sorted(names, key=lambda n: getattr(lib, n))
        if flags & getattr(lib, n)
    ]


def cpu_report() -> dict[str, object]:
    """For `doctor`: {"cpu": architecture, "flags": as of cpu_flags, "kernels": the table chosen}."""
    return {"cpu": platform.machine(), "flags": cpu_flags(), "kernels": kernels_text()}
