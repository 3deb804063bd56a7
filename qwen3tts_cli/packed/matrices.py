"""The packed matrices of the language models, one packed file for each checkpoint and precision.

If there is no file yet, int8 and int4 matrices are packed in memory, used from there, and written to the file while the
model speaks. A bf16 file only makes speech faster: without one the model uses the checkpoint's matrices, and the file
is written after the first text was spoken.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..common.memory_mapping import map_zeroed
from ..engine.packing import BLOCK_ROWS, pack_rows, packed_bytes
from . import file_format, file_writer
from .cache_lock import Lock, try_lock
from .cache_paths import cache_path
from .file_format import HEADER_ROOM, THREAD_NAME, Piece, StalePackedFile
from .file_writer import WriteJob, memory_only_warning
from .precision import CALIBRATED, RECIPE, packed_format

if TYPE_CHECKING:
    from ..models.checkpoint import Checkpoint
    from .file_format import Progress
    from .file_writer import BackgroundWriter

_ALIGN = 64
# A matrix with short rows is hardly smaller when it is coded: above this share of its bf16 bytes it is not packed.
_LARGEST_CODED = 0.85


class MatrixPlace(NamedTuple):
    """A matrix of the checkpoint and its place in the packed file: bytes [start, start + size)."""

    slot: str
    layer: int
    array: np.ndarray
    format: str
    start: int
    size: int


@dataclass(frozen=True)
class PackedWeights:
    """Packed matrices. matrices: maps (slot name, layer) to (format, bytes). path: their file; None if it has none."""

    matrices: dict[tuple[str, int], tuple[str, np.ndarray]]
    path: Path | None


def load_or_pack(
    checkpoint: Checkpoint,
    precision: str,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
    writer: BackgroundWriter | None = None,
) -> PackedWeights:
    """The matrices of a checkpoint in `precision`: mapped from their packed file, else packed into memory now.

    For bf16 the result lacks the matrices that 12 bits a weight cannot hold, and without a file all matrices: the model
    then uses the checkpoint's. progress: called with the bytes done and the bytes in all while packing.
    warn: called with one line if the cache folder cannot be used. writer: gets the job to write a file that does not
    exist; None: no file is written. Raises CheckpointError, EngineError.
    """
    path, facts = cache_path(checkpoint.config.path, precision), header_facts(checkpoint.config.path, precision)
    lock = None
    try:
        if path is not None:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, StalePackedFile):
                header, file = file_format.read(path, facts, threads, stamp=writer is not None)
                return _mapped(header, file, checkpoint, precision, path)
            if writer is not None and (lock := try_lock(path)) is None:
                writer = None  # another process writes the file
    except OSError as error:
        writer = None
        if warn is not None:
            note = f"{path}: {error.strerror or error}; the weights are used unpacked, which is slower"
            warn(note if precision == "bf16" else memory_only_warning(path, error))
    if precision == "bf16":
        if lock is not None:
            lock.release()  # the writer takes it again when it writes the file
        if writer is not None and path is not None:
            writer.add(_job(checkpoint, precision, path, facts, threads, drop_pages=False))  # the model reads them too
        return PackedWeights({}, None)
    try:
        weights = pack_in_memory(checkpoint, precision, threads=threads, progress=progress)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    if writer is not None and path is not None:
        writer.add(_job(checkpoint, precision, path, facts, threads, weights, lock))
    return weights


def write_file(
    checkpoint: Checkpoint,
    precision: str,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    waiting: Callable[[], None] | None = None,
) -> Path | None:
    """Write the packed file of a precision now unless it exists and is valid. Returns its path.

    Returns None if there is no cache folder. Only one packed matrix at a time is in memory. progress: called with the
    bytes done and the bytes in all. waiting: called once if another process writes the file and takes long. Raises
    OSError, EngineError.
    """
    path = cache_path(checkpoint.config.path, precision)
    if path is not None:
        facts = header_facts(checkpoint.config.path, precision)
        job = _job(checkpoint, precision, path, facts, threads)
        file_writer.write_now(job, threads, progress=progress, waiting=waiting)
    return path


def load_file(checkpoint: Checkpoint, precision: str, threads: int = 1, *, stamp: bool = True) -> PackedWeights | None:
    """The matrices mapped from the packed file; None if there is no valid file. stamp: see file_format.read.

    Raises OSError for a file that cannot be read.
    """
    path, facts = cache_path(checkpoint.config.path, precision), header_facts(checkpoint.config.path, precision)
    if path is not None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, StalePackedFile):
            return _mapped(*file_format.read(path, facts, threads, stamp=stamp), checkpoint, precision, path)
    return None


def write_made_file(
    checkpoint: Checkpoint,
    precision: str,
    make: Callable[[], Mapping[tuple[str, int], tuple[str, np.ndarray]]],
    *,
    threads: int = 1,
    waiting: Callable[[], None] | None = None,
) -> Path | None:
    """Write the packed file of a precision whose layers `make` returns, unless it exists and is valid; see write_file.

    make: returns (slot name, layer) -> (format, bytes); the matrices that it lacks are packed from the checkpoint.
    """
    path = cache_path(checkpoint.config.path, precision)
    places, size = _layout(checkpoint, precision)

    def pieces() -> Iterator[Piece]:
        matrices = dict(make())
        rest = [place for place in places if (place.slot, place.layer) not in matrices]
        for place, packed in _pack(
            checkpoint, rest, threads, lambda p: np.frombuffer(map_zeroed(p.size, huge=False), np.uint8)
        ):
            assert packed is not None
            matrices[place.slot, place.layer] = (place.format, packed)
        return _memory_pieces([(p.slot, p.layer, p.format, p.start) for p in places], PackedWeights(matrices, path))

    if path is not None:
        facts = header_facts(checkpoint.config.path, precision)
        job = WriteJob(path, facts, pieces, size, sum(place.size for place in places))
        file_writer.write_now(job, threads, waiting=waiting)
    return path


def pack_in_memory(
    checkpoint: Checkpoint, precision: str, *, threads: int = 1, progress: Progress | None = None, shared: bool = False
) -> PackedWeights:
    """Pack the matrices of a checkpoint into memory. Raises EngineError.

    progress: called with the bytes done and the bytes in all. shared: whether forked processes share the memory, see
    common.memory_mapping.map_zeroed.
    """
    places, size = _layout(checkpoint, precision)
    whole = np.frombuffer(map_zeroed(size, huge=True, shared=shared), np.uint8)
    total, done, matrices = sum(place.size for place in places), 0, {}
    for place, packed in _pack(checkpoint, places, threads, lambda p: whole[p.start : p.start + p.size]):
        done += place.size
        if packed is not None:
            matrices[place.slot, place.layer] = (place.format, packed)
        if progress is not None:
            progress(done, total)
    return PackedWeights(matrices, None)


def header_facts(folder: Path, precision: str) -> dict[str, Any]:
    """The fields that a packed file's header must have if it was made from the present files in `folder`."""
    source = file_format.source_facts(*Path(folder).glob("model*.safetensors"))
    facts = {"precision": precision, "source": source, "folder": os.path.realpath(folder)}
    return {**facts, "recipe": RECIPE} if precision == CALIBRATED else facts


def _job(
    checkpoint: Checkpoint,
    precision: str,
    path: Path,
    facts: dict[str, Any],
    threads: int,
    weights: PackedWeights | None = None,
    lock: Lock | None = None,
    drop_pages: bool = True,
) -> WriteJob:
    """The job to write a packed file from `weights`; if None, it packs each of the checkpoint's matrices itself.

    facts: the result of header_facts when the checkpoint was opened; its files may have been replaced later.
    drop_pages: see _pack.
    """
    places, size = _layout(checkpoint, precision)
    if weights is None:
        pieces = partial(_pack_pieces, checkpoint, places, threads, drop_pages)
    else:
        # The entries leave out the checkpoint's arrays: it may be closed before the packed matrices are written.
        entries = [(place.slot, place.layer, place.format, place.start) for place in places]
        pieces = partial(_memory_pieces, entries, weights)  # type: ignore[assignment]
    return WriteJob(path, facts, pieces, size, sum(place.size for place in places), lock)


def _memory_pieces(entries: Sequence[tuple[str, int, str, int]], weights: PackedWeights) -> Iterator[Piece]:
    for slot, layer, name, start in entries:
        yield Piece(slot, layer, name, start, weights.matrices[slot, layer][1])


def _pack_pieces(
    checkpoint: Checkpoint, places: Sequence[MatrixPlace], threads: int, drop_pages: bool
) -> Iterator[Piece]:
    """Pack and yield one matrix after another, all in the same buffer, except matrices that "coded" cannot hold."""
    largest = max((place.size for place in places), default=0)
    buffer = np.empty(largest + _ALIGN, np.uint8)
    buffer = buffer[-buffer.ctypes.data % _ALIGN :][:largest]
    for place, packed in _pack(checkpoint, places, threads, lambda p: buffer[: p.size], drop_pages):
        if packed is not None:
            yield Piece(place.slot, place.layer, place.format, place.start, packed)


def _layout(checkpoint: Checkpoint, precision: str) -> tuple[list[MatrixPlace], int]:
    """The place of each matrix in the packed file, and the size of the file in bytes."""
    places, start = [], HEADER_ROOM
    for slot, layer, array in checkpoint.collected:
        if (name := packed_format(slot, precision)) is None:
            continue
        size = packed_bytes(name, array.shape)
        if name == "coded" and (array.dtype != np.uint16 or size > _LARGEST_CODED * array.nbytes):
            continue
        places.append(MatrixPlace(slot, layer, array, name, start, size))
        start += -(-size // _ALIGN) * _ALIGN
    return places, start


def _pack(
    checkpoint: Checkpoint,
    places: Sequence[MatrixPlace],
    threads: int,
    buffer_for: Callable[[MatrixPlace], np.ndarray],
    drop_pages: bool = True,
) -> Iterator[tuple[MatrixPlace, np.ndarray | None]]:
    """Pack each matrix into the buffer that `buffer_for` returns for it. Yields (place, buffer).

    Yields (place, None) for a matrix that "coded" cannot hold. drop_pages: whether to release the memory of the
    checkpoint's mapped files after each matrix.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads, THREAD_NAME) as pool:
        for place in places:
            array, out = place.array, buffer_for(place)
            if array.ctypes.data % array.itemsize or not array.flags.c_contiguous:
                array = array.copy()
            rows = len(array)
            share = -(-rows // (BLOCK_ROWS * threads)) * BLOCK_ROWS
            parts = [(first, min(first + share, rows)) for first in range(0, rows, share)]
            packed = list(pool.map(lambda part, a=array, f=place.format, o=out: pack_rows(a, f, *part, o), parts))
            if drop_pages:
                checkpoint.drop_pages()
            yield place, out if all(packed) else None


def _mapped(
    header: dict[str, Any], file: mmap.mmap, checkpoint: Checkpoint, precision: str, path: Path
) -> PackedWeights:
    """The matrices in a mapped file. Raises StalePackedFile unless each lies in the place that _layout gives it."""
    expected = [(p.slot, p.layer, p.format, p.start, p.start + p.size) for p in _layout(checkpoint, precision)[0]]
    found = [(e["slot"], e["layer"], e["dtype"], e["start"], e["end"]) for e in header["pieces"]]
    if found != expected and (precision != "bf16" or not set(found) <= set(expected)):
        raise StalePackedFile
    whole = np.frombuffer(file, np.uint8)
    return PackedWeights({(slot, layer): (name, whole[at:end]) for slot, layer, name, at, end in found}, path)
