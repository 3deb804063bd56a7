"""Load all packed weights of a model: from the cache folder, or packed now and written into that folder afterwards."""

from __future__ import annotations

import contextlib
import shlex
import threading
from typing import TYPE_CHECKING

from ..engine.prefault import start_prefault
from ..errors import ModelNotFoundError
from . import codec as packed_codec
from . import matrices as packed_matrices
from .cache_paths import cached_sizes
from .precision import CALIBRATED, bf16_file_helps, frame_matrices

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from ..models.checkpoint import Checkpoint
    from .file_format import Progress
    from .file_writer import BackgroundWriter

    Matrices = dict[tuple[str, int], tuple[str, np.ndarray]] | None


def load_packed_weights(
    checkpoint: Checkpoint,
    precision: str,
    writer: BackgroundWriter,
    name: str,
    *,
    codec: bool,
    cache: bool,
    progress: Progress | None,
    warn: Callable[[str], None],
) -> tuple[Matrices, np.ndarray | None]:
    """The packed matrices and the packed codec, as engine.model.Model takes them; None for one that is not packed.

    name: of the model, for messages. codec: whether to pack the codec. cache: whether `writer` gets a job for each file
    that the cache folder lacks. It begins at once unless the precision is bf16, whose matrices are packed later.
    progress, warn: see packed.matrices.load_or_pack; `warn` is called once at most. The codec is packed first, so that
    its tensors and the matrices are never both in memory. Raises CheckpointError, EngineError, and ModelNotFoundError
    for "int4-calibrated" without its packed file.
    """
    warned: list[str] = []

    def warn_once(line: str) -> None:
        if not warned:
            warn(line)
        warned.append(line)

    threads, file_writer = writer.threads, writer if cache else None
    matrices, block = None, None
    if precision == CALIBRATED:
        matrices = _load_calibrated(checkpoint, threads, name, cache)
    if codec:
        if not cached_sizes(checkpoint.config.path):  # first opening: another thread builds the tokenizer's table
            threading.Thread(target=_read_tokenizer, args=(checkpoint,), daemon=True).start()
        block = packed_codec.load_or_pack(checkpoint, threads=threads, warn=warn_once, writer=file_writer)
    if matrices is None and (precision != "bf16" or bf16_file_helps(checkpoint)):
        matrices = packed_matrices.load_or_pack(
            checkpoint, precision, threads=threads, progress=progress, warn=warn_once, writer=file_writer
        ).matrices
    if block is not None:
        start_prefault([*_frame_arrays(checkpoint, matrices), block])
    if precision != "bf16":
        writer.begin()
    return matrices, block


def _load_calibrated(checkpoint: Checkpoint, threads: int, name: str, cache: bool) -> Matrices:
    """The matrices of "int4-calibrated", which only `models pack` makes. Raises ModelNotFoundError."""
    with contextlib.suppress(OSError):
        if (weights := packed_matrices.load_file(checkpoint, CALIBRATED, threads, stamp=cache)) is not None:
            return weights.matrices
    command = shlex.join(["qwen3tts", "models", "pack", "--precision", CALIBRATED, name])
    raise ModelNotFoundError(f"model {name} is not packed in {CALIBRATED}; pack it with: {command}")


def _frame_arrays(checkpoint: Checkpoint, matrices: Matrices) -> list[np.ndarray]:
    """The matrices that each step reads: the packed matrices, or the checkpoint's own."""
    if matrices:
        return [array for _, array in matrices.values()]
    return frame_matrices(checkpoint)


def _read_tokenizer(checkpoint: Checkpoint) -> None:
    with contextlib.suppress(Exception):  # the first use of the tokenizer raises the error again
        checkpoint.tokenizer  # noqa: B018
