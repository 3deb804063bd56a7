"""The speech decoder's weights as its kernels read them, packed once for each model, for all precisions alike.

They are one block without a pointer in it. From the cache it is mapped: nothing is copied, processes share it, and the
checkpoint's own tensors of the codec are not read.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.pages import zeroed
from ..engine.packing import CODEC_LAYOUT, codec_bytes, pack_codec
from . import background_write
from . import file as packed_file
from .background_write import Job, in_memory
from .cache_lock import Lock, try_lock
from .file import HEADER_ROOM, Unfit
from .locate import cache_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..models.checkpoint import Checkpoint
    from .background_write import Keeper
    from .file import Piece, Progress

KIND = "codec"
_PIECE = 4 << 20  # bytes with a checksum of their own, which threads share out
_FORGET_SECONDS = 0.02


def open_codec(
    checkpoint: Checkpoint,
    *,
    threads: int = 1,
    warn: Callable[[str], None] | None = None,
    keeper: Keeper | None = None,
) -> np.ndarray:
    """The block that engine.Model takes, uint8, from the cache where it has it, else packed now.

    warn: called with a line where the cache is of no use. keeper: gets the file to be written where there is none;
    None: nothing is written. Raises CheckpointError, EngineError.
    """
    path, facts, size = _place(checkpoint)
    lock = None
    try:
        if path is not None:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, Unfit):
                return _block(packed_file.read(path, facts, threads, stamp=keeper is not None)[1], size)
            lock = try_lock(path) if keeper is not None else None
    except OSError as error:
        if warn is not None:
            warn(in_memory(path, error))
    try:
        block = _pack(checkpoint, size, threads)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    if keeper is not None and path is not None and lock is not None:
        keeper.add(_job(path, facts, size, partial(_pieces, block), lock))
    return block


def make_codec(
    checkpoint: Checkpoint,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    waiting: Callable[[], None] | None = None,
) -> Path | None:
    """The file of the block in the cache, made now where it is not there yet; see packed.make_packed. Raises OSError,
    CheckpointError, EngineError."""
    path, facts, size = _place(checkpoint)
    if path is not None:
        job = _job(path, facts, size, lambda: _pieces(_pack(checkpoint, size, threads)))
        background_write.make(job, threads, progress=progress, waiting=waiting)
    return path


def facts_of(folder: Path) -> dict[str, Any]:
    """What the header of a file must say to be of the model in `folder` as it is now."""
    codec = folder / "speech_tokenizer"
    source = packed_file.source_of(*codec.glob("model*.safetensors"), codec / "config.json")
    return {"kind": KIND, "layout": CODEC_LAYOUT, "source": source, "folder": os.path.realpath(folder)}


def _place(checkpoint: Checkpoint) -> tuple[Path | None, dict[str, Any], int]:
    folder, size = checkpoint.config.path, codec_bytes(checkpoint.config.codec)
    return cache_path(folder, KIND), {**facts_of(folder), "bytes": size}, size


def _job(
    path: Path, facts: dict[str, Any], size: int, pieces: Callable[[], Iterator[Piece]], lock: Lock | None = None
) -> Job:
    return Job(path, facts, pieces, HEADER_ROOM + size, size, lock)


def _block(file: mmap.mmap, size: int) -> np.ndarray:
    return np.frombuffer(file, np.uint8, size, HEADER_ROOM)


def _pack(checkpoint: Checkpoint, size: int, threads: int) -> np.ndarray:
    """The block in memory of its own, which begins on a page and holds zeros."""
    out = np.frombuffer(zeroed(size, huge=True), np.uint8)
    tensors = checkpoint.codec_tensors
    ended = threading.Event()

    def forget() -> None:  # what was read so far, so that tensors and block are never both in memory
        while not ended.wait(_FORGET_SECONDS):
            checkpoint.forget()

    forgetting = threading.Thread(target=forget, daemon=True)
    forgetting.start()
    try:
        pack_codec(checkpoint.config.codec, tensors, threads, out)
    finally:
        ended.set()
        forgetting.join()
    checkpoint.forget()
    return out


def _pieces(block: np.ndarray) -> Iterator[Piece]:
    for number, at in enumerate(range(0, len(block), _PIECE)):
        yield "CODEC", number, "raw", HEADER_ROOM + at, block[at : at + _PIECE]
