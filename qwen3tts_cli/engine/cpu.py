"""The instruction sets of this processor, and the kernels that the engine chooses for it."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from .._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Callable


def kernels_text(cpu_mask: int = lib.Q3T_CPU_ALL) -> str:
    """Name the code that computes float results: `entry=isa entry=isa ...; compiler version, C library version`.

    The part before the semicolon is the kernel table that `cpu_mask` selects on this processor. On machines where this
    function returns the same, the same text to speak, options and seed give the same bytes of audio.
    """
    table = _text_of(lambda text, size: lib.q3t_kernels_text(cpu_mask, text, size))
    return f"{table}; {build_text()}"


def parse_kernels_text(text: str) -> tuple[dict[str, list[str]], str]:
    """Split what kernels_text returned: the names of the entries by instruction set, and the text of the build."""
    table, _, build = text.partition("; ")
    entries: dict[str, list[str]] = {}
    for pair in table.split():
        entry, _, isa = pair.partition("=")
        entries.setdefault(isa, []).append(entry)
    return entries, build


def build_text() -> str:
    """The compiler that built the engine and the C library it runs with, such as `gcc 12.2.0, glibc 2.36`."""
    return _text_of(lib.q3t_build_text)


def _text_of(write: Callable[[Any, int], int]) -> str:
    """The text that a function of the engine writes. write: takes a buffer and its size; returns the text's length."""
    size = write(ffi.NULL, 0) + 1
    text = ffi.new("char[]", size)
    write(text, size)
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
    """The report for `doctor`: {"cpu": architecture, "flags": cpu_flags(), "kernels": kernels_text()}."""
    return {"cpu": platform.machine(), "flags": cpu_flags(), "kernels": kernels_text()}
