"""The packed weights of the codec's decoder: one block for each checkpoint, the same for all precisions.

The block has no pointers in it. It is mapped from the packed file, so that processes share it and nothing is copied.
The checkpoint's own tensors of the codec are then not read.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.memory_mapping import map_zeroed
from ..engine.packing import CODEC_LAYOUT, codec_bytes, pack_codec
from . import file_format, file_writer
from .cache_lock import Lock, try_lock
from .cache_paths import cache_path
from .file_format import HEADER_ROOM, Piece, StalePackedFile
from .file_writer import WriteJob, memory_only_warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..models.checkpoint import Checkpoint
    from .file_format import Progress
    from .file_writer import BackgroundWriter

KIND = "codec"
_PIECE_BYTES = 4 << 20  # bytes with one checksum: threads check pieces in parallel
_DROP_SECONDS = 0.02


def load_or_pack(
    checkpoint: Checkpoint,
    *,
    threads: int = 1,
    warn: Callable[[str], None] | None = None,
    writer: BackgroundWriter | None = None,
) -> np.ndarray:
    """The packed weights of the codec's decoder: mapped from the packed file, or packed now if there is none.

    Returns the uint8 block that engine.model.Model takes. threads: how many threads check the file or pack.
    warn: called with one line if the cache folder cannot be used. writer: gets the job to write a file that does not
    exist; None: no file is written. Raises CheckpointError, EngineError.
    """
    path, facts, size = _file_of(checkpoint)
    lock = None
    try:
        if path is not None:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, StalePackedFile):
                return _block(file_format.read(path, facts, threads, stamp=writer is not None)[1], size)
            lock = try_lock(path) if writer is not None else None
    except OSError as error:
        if warn is not None:
            warn(memory_only_warning(path, error))
    try:
        block = _pack(checkpoint, size, threads)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    if writer is not None and path is not None and lock is not None:
        writer.add(_job(path, facts, size, partial(_pieces, block), lock))
    return block


def write_file(
    checkpoint: Checkpoint,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    waiting: Callable[[], None] | None = None,
) -> Path | None:
    """Write the packed file of the codec now unless it exists and is valid; see matrices.write_file."""
    path, facts, size = _file_of(checkpoint)
    if path is not None:
        job = _job(path, facts, size, lambda: _pieces(_pack(checkpoint, size, threads)))
        file_writer.write_now(job, threads, progress=progress, waiting=waiting)
    return path


def header_facts(folder: Path) -> dict[str, Any]:
    """The fields that the packed file's header must have if it was made from the present files in `folder`."""
    codec = folder / "speech_tokenizer"
    source = file_format.source_facts(*codec.glob("model*.safetensors"), codec / "config.json")
    return {"kind": KIND, "layout": CODEC_LAYOUT, "source": source, "folder": os.path.realpath(folder)}


def _file_of(checkpoint: Checkpoint) -> tuple[Path | None, dict[str, Any], int]:
    """The path of the packed file, the fields of its header, and the size of the block in bytes."""
    folder, size = checkpoint.config.path, codec_bytes(checkpoint.config.codec)
    return cache_path(folder, KIND), {**header_facts(folder), "bytes": size}, size


def _job(
    path: Path, facts: dict[str, Any], size: int, pieces: Callable[[], Iterator[Piece]], lock: Lock | None = None
) -> WriteJob:
    return WriteJob(path, facts, pieces, HEADER_ROOM + size, size, lock)


def _block(file: mmap.mmap, size: int) -> np.ndarray:
    return np.frombuffer(file, np.uint8, size, HEADER_ROOM)


def _pack(checkpoint: Checkpoint, size: int, threads: int) -> np.ndarray:
    """Pack the block into memory, page-aligned.

    The pages of the tensors are dropped while they are packed, so that tensors and block are never both in memory.
    """
    out = np.frombuffer(map_zeroed(size, huge=True), np.uint8)
    tensors = checkpoint.codec_tensors
    ended = threading.Event()

    def drop_pages() -> None:
        while not ended.wait(_DROP_SECONDS):
            checkpoint.drop_pages()

    dropping = threading.Thread(target=drop_pages, daemon=True)
    dropping.start()
    try:
        pack_codec(checkpoint.config.codec, tensors, threads, out)
    finally:
        ended.set()
        dropping.join()
    checkpoint.drop_pages()
    return out


def _pieces(block: np.ndarray) -> Iterator[Piece]:
    for number, at in enumerate(range(0, len(block), _PIECE_BYTES)):
        yield Piece("CODEC", number, "raw", HEADER_ROOM + at, block[at : at + _PIECE_BYTES])
