"""The speech decoder's weights as its kernels read them, packed once for each model, for all precisions alike.

They are one block without a pointer in it. From the cache it is mapped: nothing is copied, processes share it, and the
checkpoint's own tensors of the codec are not read.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from . import packed_file
from .engine_codec import CODEC_LAYOUT, codec_bytes, pack_codec
from .memory import zeroed
from .packed_file import HEADER_ROOM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .checkpoint import Checkpoint
    from .packed_file import Piece, Progress

KIND = "codec"
_PIECE = 4 << 20  # bytes with a checksum of their own, which threads share out


def open_codec(
    checkpoint: Checkpoint,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> np.ndarray:
    """The block that engine.Model takes, uint8, from the cache where it has it, else packed now.

    progress: called with bytes written and in all. warn: called with a line where the cache is of no use.
    Raises CheckpointError, EngineError.
    """
    folder, size = checkpoint.config.path, codec_bytes(checkpoint.config.codec)
    path, facts = packed_file.cache_path(folder, KIND), facts_of(folder)
    facts["bytes"] = size
    block: list[np.ndarray] = []

    def fill(file: Any) -> None:
        block.append(_pack(checkpoint, size, threads))
        packed_file.write(file, facts, _pieces(block[0]), HEADER_ROOM + size, size, progress)
        block.clear()

    try:
        if path is not None:
            return packed_file.obtain(path, facts, fill, lambda _, file: _block(file, size), threads)
    except OSError as error:
        if warn is not None:
            warn(packed_file.in_memory(path, error))
    return block[0] if block else _pack(checkpoint, size, threads)


def facts_of(folder: Path) -> dict[str, Any]:
    """What the header of a file must say to be of the model in `folder` as it is now."""
    codec = folder / "speech_tokenizer"
    source = packed_file.source_of(*codec.glob("model*.safetensors"), codec / "config.json")
    return {"kind": KIND, "layout": CODEC_LAYOUT, "source": source}


def _block(file: mmap.mmap, size: int) -> np.ndarray:
    return np.frombuffer(file, np.uint8, size, HEADER_ROOM)


def _pack(checkpoint: Checkpoint, size: int, threads: int) -> np.ndarray:
    """The block in memory of its own, which begins on a page and holds zeros."""
    out = np.frombuffer(zeroed(size, huge=True), np.uint8)
    pack_codec(checkpoint.config.codec, checkpoint.codec_tensors, threads, out)
    checkpoint.forget()
    return out


def _pieces(block: np.ndarray) -> Iterator[Piece]:
    for number, at in enumerate(range(0, len(block), _PIECE)):
        yield "CODEC", number, "raw", HEADER_ROOM + at, block[at : at + _PIECE]
