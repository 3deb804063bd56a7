"""Packed weights: made once for each model and precision and then mapped from the user's cache folder.

See packed_file for the files. Where nothing can be written the matrices stay in memory, but for bf16, whose file only
saves time: there the checkpoint's own are used.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from . import packed_file
from .engine_cpu import kernels_text
from .engine_pack import pack_rows, packed_bytes
from .memory import zeroed
from .packed_file import HEADER_ROOM, Unfit, cache_path, cached, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .checkpoint import Checkpoint
    from .packed_file import Progress

__all__ = [
    "PRECISIONS",
    "PackedWeights",
    "cache_path",
    "cached",
    "choose_precision",
    "open_packed",
    "remove",
    "saves_time",
    "verify",
]
PRECISIONS = ("bf16", "int8", "int4")
LARGE_MODEL_BYTES = 256 << 20  # of matrices, 16 bits a weight

_ALIGN = 64
_LARGEST_CODED = 0.85  # of the bytes of bf16; short rows are filled up
_LAYER = frozenset(f"{m}_{w}" for m in ("TALKER", "PREDICTOR") for w in ("Q", "K", "V", "O", "GATE", "UP", "DOWN"))
_HEADS = frozenset(("CODEC_HEAD", "PREDICTOR_HEAD", "PROJECTION"))


@dataclass(frozen=True)
class PackedWeights:
    """Matrices by (slot name, layer) as engine.Model takes them. `path` is None where they are in memory only."""

    matrices: dict[tuple[str, int], tuple[str, np.ndarray]]
    path: Path | None

    @property
    def bytes(self) -> int:
        """Size of all matrices."""
        return sum(len(data) for _, data in self.matrices.values())


def open_packed(
    checkpoint: Checkpoint,
    precision: str,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> PackedWeights:
    """The matrices of a checkpoint in `precision`, from the cache where it has them, else packed now.

    bf16 gives those that 12 bits hold; the others, and without a cache all, stay as they are in the checkpoint.
    progress: called with bytes done and in all while packing. warn: called with a line where the cache is of no use.
    """
    path, source = cache_path(checkpoint.config.path, precision), _source(checkpoint.config.path)
    facts = {"precision": precision, "source": source}

    def fill(file: BinaryIO | mmap.mmap) -> None:
        _write(file, source, checkpoint, precision, threads, progress)

    try:
        if path is not None:
            return packed_file.obtain(
                path, facts, fill, lambda *read: _matrices(*read, checkpoint, precision, path), threads
            )
    except OSError as error:
        if warn is not None:
            note = f"{path}: {error.strerror or error}; the weights are used as they are, which takes longer"
            warn(note if precision == "bf16" else packed_file.in_memory(path, error))
    if precision == "bf16":
        return PackedWeights({}, None)
    return pack_in_memory(checkpoint, precision, threads=threads, progress=progress)


def pack_in_memory(
    checkpoint: Checkpoint, precision: str, *, threads: int = 1, progress: Progress | None = None, shared: bool = False
) -> PackedWeights:
    """The matrices of a checkpoint in `precision`, packed now and kept nowhere. shared: with forked processes, see
    memory.zeroed."""
    memory = zeroed(_layout(checkpoint, precision)[1], huge=True, shared=shared)
    _write(memory, [], checkpoint, precision, threads, progress)
    return _matrices(_header(memory, [], precision), memory, checkpoint, precision, None)


def is_large(checkpoint: Checkpoint) -> bool:
    """Whether the language models' matrices are many: less may stay in the processor's cache, and is fast anyway."""
    size = sum(array.size for slot, _, array in checkpoint.opened if slot in _LAYER or slot in _HEADS)
    return 2 * size >= LARGE_MODEL_BYTES


def choose_precision(checkpoint: Checkpoint) -> str:
    """What "auto" means for a model: int8 where it is large, else bf16."""
    return "int8" if is_large(checkpoint) else "bf16"


def saves_time(checkpoint: Checkpoint) -> bool:
    """Whether bf16 weights are worth a packed file: large, and on a processor with kernels that decode them in time;
    or there is one."""
    if "bf16" in cached(checkpoint.config.path):
        return True
    return is_large(checkpoint) and "linear_coded=scalar" not in kernels_text()


def verify(folder: Path, kind: str, threads: int = 1) -> bool:
    """Whether the packed weights of the model in `folder` are whole and of its present files. Reads all of them.

    kind: a precision, or "codec". What fails is made anew at the next use.
    """
    path = cache_path(folder, kind)
    try:
        facts = {"precision": kind, "source": _source(folder)}
        if kind == "codec":
            from .packed_codec import facts_of

            facts = facts_of(folder)
    except OSError:
        return False
    return path is not None and packed_file.verify(path, facts, threads)


def _source(folder: Path) -> list[list[object]]:
    return packed_file.source_of(*Path(folder).glob("model*.safetensors"))


def _layout(checkpoint: Checkpoint, precision: str) -> tuple[list[tuple], int]:  # type: ignore[type-arg]
    """Rows (slot, layer, array, dtype, start, bytes) and the size of the file; the header has room in front."""
    rows, at = [], HEADER_ROOM
    for slot, layer, array in checkpoint.opened:
        if slot in _LAYER or slot in _HEADS:
            dtype = precision if slot in _LAYER else "int8"  # heads lose most and are few
            dtype = "coded" if precision == "bf16" else dtype
            size = packed_bytes(dtype, array.shape)
            if dtype == "coded" and (array.dtype != np.uint16 or size > _LARGEST_CODED * array.nbytes):
                continue
            rows.append((slot, layer, array, dtype, at, size))
            at += -(-size // _ALIGN) * _ALIGN
    return rows, at


def _packed(  # type: ignore[type-arg]
    checkpoint: Checkpoint, rows: list[tuple], threads: int
) -> Iterator[tuple[tuple, np.ndarray]]:
    """Each row and its packed matrix, in a buffer that the next one reuses; not those that 12 bits do not hold."""
    from concurrent.futures import ThreadPoolExecutor

    largest = max((row[5] for row in rows), default=0)
    room = np.empty(largest + _ALIGN, np.uint8)
    room = room[-room.ctypes.data % _ALIGN :][:largest]
    with ThreadPoolExecutor(threads) as pool:
        for row in rows:
            array, dtype, out = row[2], row[3], room[: row[5]]
            if array.ctypes.data % array.itemsize or not array.flags.c_contiguous:
                array = array.copy()
            share = -(-array.shape[0] // (32 * threads)) * 32
            parts = [(first, min(first + share, array.shape[0])) for first in range(0, array.shape[0], share)]
            held = list(pool.map(lambda part, a=array, d=dtype, o=out: pack_rows(a, d, *part, o), parts))
            checkpoint.forget()
            if all(held):
                yield row, out


def _write(
    file: BinaryIO | mmap.mmap,
    source: object,
    checkpoint: Checkpoint,
    precision: str,
    threads: int,
    progress: Progress | None,
) -> None:
    """Pack into an empty file, the preamble last."""
    rows, size = _layout(checkpoint, precision)
    pieces = ((*row[:2], *row[3:5], data) for row, data in _packed(checkpoint, rows, threads))
    facts = {"precision": precision, "source": source}
    packed_file.write(file, facts, pieces, size, sum(row[5] for row in rows), progress)


def _header(file: mmap.mmap, source: object, precision: str) -> dict[str, Any]:
    """The header, checked as far as the ends of each matrix. Raises Unfit."""
    return packed_file.header_of(file, {"precision": precision, "source": source})


def _matrices(
    header: dict,  # type: ignore[type-arg]
    file: mmap.mmap,
    checkpoint: Checkpoint,
    precision: str,
    path: Path | None,
) -> PackedWeights:
    """The matrices, if they lie where the shapes of the checkpoint put them. Raises Unfit."""
    rows = [(slot, layer, dtype, at, at + n) for slot, layer, _, dtype, at, n in _layout(checkpoint, precision)[0]]
    found = [(e["slot"], e["layer"], e["dtype"], e["start"], e["end"]) for e in header["pieces"]]
    if found != rows and (precision != "bf16" or not set(found) <= set(rows)):
        raise Unfit
    whole = np.frombuffer(file, np.uint8)
    return PackedWeights({(slot, layer): (dtype, whole[at:end]) for slot, layer, dtype, at, end in found}, path)
