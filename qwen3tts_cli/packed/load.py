"""All packed weights of a model at its opening: from the cache folder, or packed now and yet to be written there."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from ..engine.prefault import start_prefault
from . import codec as packed_codec
from . import matrices as packed_matrices
from .locate import cached

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from ..models.checkpoint import Checkpoint
    from .background_write import Keeper
    from .file import Progress

    Matrices = dict[tuple[str, int], tuple[str, np.ndarray]] | None


def open_weights(
    checkpoint: Checkpoint,
    precision: str,
    keeper: Keeper,
    *,
    codec: bool,
    cache: bool,
    progress: Progress | None,
    warn: Callable[[str], None],
) -> tuple[Matrices, np.ndarray | None]:
    """Packed matrices and the block of the speech decoder as engine.Model takes them, as far as they are of use. codec:
    the latter too. keeper: gets what the cache folder lacks, unless `cache` is False, and begins to write from memory.

    The decoder's are first, so that its tensors and the matrices are never both in memory. progress, warn: as of
    packed.open_packed, but for one warning at most. Raises CheckpointError, EngineError.
    """
    told: list[str] = []

    def once(line: str) -> None:
        if not told:
            warn(line)
        told.append(line)

    threads, kept = keeper.threads, keeper if cache else None
    matrices, block = None, None
    if codec:
        if not cached(checkpoint.config.path):  # a first run: its table has to be made as well
            threading.Thread(target=_read_tokenizer, args=(checkpoint,), daemon=True).start()
        block = packed_codec.open_codec(checkpoint, threads=threads, warn=once, keeper=kept)
    if precision != "bf16" or packed_matrices.saves_time(checkpoint):
        matrices = packed_matrices.open_packed(
            checkpoint, precision, threads=threads, progress=progress, warn=once, keeper=kept
        ).matrices
    if block is not None:
        start_prefault([*_matrices(checkpoint, matrices), block])
    if precision != "bf16":
        keeper.begin()
    return matrices, block


def _matrices(checkpoint: Checkpoint, matrices: Matrices) -> list[np.ndarray]:
    """The matrices that each frame reads: packed ones, or the checkpoint's own."""
    if matrices:
        return [array for _, array in matrices.values()]
    return packed_matrices.frame_matrices(checkpoint)


def _read_tokenizer(checkpoint: Checkpoint) -> None:
    with contextlib.suppress(Exception):  # who uses it sees what is wrong
        checkpoint.tokenizer  # noqa: B018
