"""Packed weights: made once for each model and precision and then mapped from the user's cache folder.

Where there is no file yet, int8 and int4 are packed into memory and written from there while the model speaks; bf16,
whose file only saves time, is used as it is in the checkpoint, and its file is made when nobody waits for it. See
packed_keep for the writing, packed_file for the files.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.pages import zeroed
from ..engine.cpu import kernels_text
from ..engine.packing import pack_rows, packed_bytes
from . import background_write
from . import file as packed_file
from .background_write import Job, in_memory
from .cache_lock import Lock, try_lock
from .file import HEADER_ROOM, THREAD_NAME, Unfit
from .locate import cache_path, cached
from .tidy import remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..models.checkpoint import Checkpoint
    from .background_write import Keeper
    from .file import Piece, Progress

__all__ = [
    "PRECISIONS",
    "PackedWeights",
    "cache_path",
    "cached",
    "choose_precision",
    "make_packed",
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
_Rows = list[tuple[Any, ...]]  # slot, layer, array, dtype, start, bytes


@dataclass(frozen=True)
class PackedWeights:
    """Matrices by (slot name, layer) as engine.Model takes them. `path` is None where they are in memory only."""

    matrices: dict[tuple[str, int], tuple[str, np.ndarray]]
    path: Path | None


def open_packed(
    checkpoint: Checkpoint,
    precision: str,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
    keeper: Keeper | None = None,
) -> PackedWeights:
    """The matrices of a checkpoint in `precision`, from the cache where it has them, else packed now.

    bf16 gives those that 12 bits hold, and the others, and without a file all, stay as they are in the checkpoint.
    progress: called with bytes done and in all while packing. warn: called with a line where the cache is of no use.
    keeper: gets the file to be written where there is none; None: nothing is written.
    """
    path, facts = cache_path(checkpoint.config.path, precision), _facts(checkpoint.config.path, precision)
    lock = None
    try:
        if path is not None:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, Unfit):
                read = packed_file.read(path, facts, threads, stamp=keeper is not None)
                return _matrices(*read, checkpoint, precision, path)
            if keeper is not None and (lock := try_lock(path)) is None:
                keeper = None  # somebody else writes it
    except OSError as error:
        keeper = None
        if warn is not None:
            note = f"{path}: {error.strerror or error}; the weights are used as they are, which takes longer"
            warn(note if precision == "bf16" else in_memory(path, error))
    if precision == "bf16":
        if lock is not None:
            lock.release()  # until its file is made
        if keeper is not None and path is not None:
            keeper.add(_job(checkpoint, precision, path, facts, threads, forget=False))  # the model reads them as well
        return PackedWeights({}, None)
    try:
        weights = pack_in_memory(checkpoint, precision, threads=threads, progress=progress)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    if keeper is not None and path is not None:
        keeper.add(_job(checkpoint, precision, path, facts, threads, weights, lock))
    return weights


def make_packed(
    checkpoint: Checkpoint,
    precision: str,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    waiting: Callable[[], None] | None = None,
) -> Path | None:
    """The file of the matrices in the cache, made now where it is not there yet; None where there is no cache folder.

    One matrix at a time is in memory. waiting: called where another process writes that file and takes long about it.
    Raises OSError.
    """
    path = cache_path(checkpoint.config.path, precision)
    if path is not None:
        facts = _facts(checkpoint.config.path, precision)
        job = _job(checkpoint, precision, path, facts, threads)
        background_write.make(job, threads, progress=progress, waiting=waiting)
    return path


def pack_in_memory(
    checkpoint: Checkpoint, precision: str, *, threads: int = 1, progress: Progress | None = None, shared: bool = False
) -> PackedWeights:
    """The matrices of a checkpoint in `precision`, packed now and kept nowhere. shared: with forked processes, see
    memory.zeroed."""
    rows, size = _layout(checkpoint, precision)
    whole = np.frombuffer(zeroed(size, huge=True, shared=shared), np.uint8)
    total, done, matrices = sum(row[5] for row in rows), 0, {}
    for row, held in _pack(checkpoint, rows, threads, lambda row: whole[row[4] : row[4] + row[5]]):
        done += row[5]
        if held is not None:
            matrices[row[:2]] = (row[3], held)
        if progress is not None:
            progress(done, total)
    return PackedWeights(matrices, None)


def frame_matrices(checkpoint: Checkpoint) -> list[np.ndarray]:
    """The language models' matrices as they are in the checkpoint: what each frame reads."""
    return [array for slot, _, array in checkpoint.opened if slot in _LAYER or slot in _HEADS]


def is_large(checkpoint: Checkpoint) -> bool:
    """Whether the language models' matrices are many: less may stay in the processor's cache, and is fast anyway."""
    return 2 * sum(array.size for array in frame_matrices(checkpoint)) >= LARGE_MODEL_BYTES


def choose_precision(checkpoint: Checkpoint) -> str:
    """What "auto" means for a model: int8 where it is large, else bf16."""
    return "int8" if is_large(checkpoint) else "bf16"


def saves_time(checkpoint: Checkpoint) -> bool:
    """Whether bf16 weights are worth a packed file: large, and on a processor with kernels that decode them in time;
    or there is one."""
    if "bf16" in cached(checkpoint.config.path):
        return True
    return is_large(checkpoint) and saves_time_here()


def saves_time_here() -> bool:
    """Whether this processor decodes 12 bits in less time than it reads the 4 that they save."""
    return "linear_coded=scalar" not in kernels_text()


def verify(folder: Path, kind: str, threads: int = 1) -> bool:
    """Whether the packed weights of the model in `folder` are whole and of its present files. Reads all of them.

    kind: a precision, or "codec". What fails is made anew at the next use.
    """
    path = cache_path(folder, kind)
    try:
        if kind == "codec":
            from .codec import facts_of

            facts = facts_of(folder)
        else:
            facts = _facts(folder, kind)
    except OSError:
        return False
    return path is not None and packed_file.verify(path, facts, threads)


def _facts(folder: Path, precision: str) -> dict[str, Any]:
    """What the header of a file must say to be of the model in `folder` as it is now."""
    source = packed_file.source_of(*Path(folder).glob("model*.safetensors"))
    return {"precision": precision, "source": source, "folder": os.path.realpath(folder)}


def _job(
    checkpoint: Checkpoint,
    precision: str,
    path: Path,
    facts: dict[str, Any],
    threads: int,
    weights: PackedWeights | None = None,
    lock: Lock | None = None,
    forget: bool = True,
) -> Job:
    """The writing of a file: of the weights in memory, or else packed from the checkpoint as they are written. facts:
    of the files that the checkpoint was opened from, which may be others by now. forget: what was read of the
    checkpoint does not stay in memory."""
    rows, size = _layout(checkpoint, precision)
    pieces = partial(_pieces, checkpoint, rows, threads, forget)
    if weights is not None:
        pieces = partial(_kept, [row[:2] + row[3:5] for row in rows], weights)  # type: ignore[assignment]
    return Job(path, facts, pieces, size, sum(row[5] for row in rows), lock)


def _kept(places: list[tuple[Any, ...]], weights: PackedWeights) -> Iterator[Piece]:
    for slot, layer, dtype, start in places:
        yield slot, layer, dtype, start, weights.matrices[slot, layer][1]


def _pieces(checkpoint: Checkpoint, rows: _Rows, threads: int, forget: bool) -> Iterator[Piece]:
    """Packed matrices, each in a buffer that the next one reuses; not those that 12 bits do not hold."""
    largest = max((row[5] for row in rows), default=0)
    room = np.empty(largest + _ALIGN, np.uint8)
    room = room[-room.ctypes.data % _ALIGN :][:largest]
    for (slot, layer, _, dtype, start, _), held in _pack(checkpoint, rows, threads, lambda row: room[: row[5]], forget):
        if held is not None:
            yield slot, layer, dtype, start, held


def _layout(checkpoint: Checkpoint, precision: str) -> tuple[_Rows, int]:
    """Rows and the size of the file; the header has room in front."""
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


def _pack(
    checkpoint: Checkpoint,
    rows: _Rows,
    threads: int,
    place: Callable[[tuple[Any, ...]], np.ndarray],
    forget: bool = True,
) -> Iterator[tuple[tuple[Any, ...], np.ndarray | None]]:
    """Each row and its matrix packed into what `place` gives for it; None where 12 bits do not hold it. forget: what
    was read of the checkpoint does not stay in memory."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads, THREAD_NAME) as pool:
        for row in rows:
            array, dtype, out = row[2], row[3], place(row)
            if array.ctypes.data % array.itemsize or not array.flags.c_contiguous:
                array = array.copy()
            share = -(-array.shape[0] // (32 * threads)) * 32
            parts = [(first, min(first + share, array.shape[0])) for first in range(0, array.shape[0], share)]
            held = list(pool.map(lambda part, a=array, d=dtype, o=out: pack_rows(a, d, *part, o), parts))
            if forget:
                checkpoint.forget()
            yield row, out if all(held) else None


def _matrices(
    header: dict[str, Any], file: mmap.mmap, checkpoint: Checkpoint, precision: str, path: Path
) -> PackedWeights:
    """The matrices, if they lie where the shapes of the checkpoint put them. Raises Unfit."""
    rows = [(slot, layer, dtype, at, at + n) for slot, layer, _, dtype, at, n in _layout(checkpoint, precision)[0]]
    found = [(e["slot"], e["layer"], e["dtype"], e["start"], e["end"]) for e in header["pieces"]]
    if found != rows and (precision != "bf16" or not set(found) <= set(rows)):
        raise Unfit
    whole = np.frombuffer(file, np.uint8)
    return PackedWeights({(slot, layer): (dtype, whole[at:end]) for slot, layer, dtype, at, end in found}, path)
