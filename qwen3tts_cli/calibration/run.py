"""Calibrate a checkpoint, and write its packed file of the precision "int4-calibrated"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..engine.model import Model
from ..packed import codec as packed_codec
from ..packed import matrices as packed_matrices
from ..packed.precision import CALIBRATED
from .layers import Rounder
from .spoken import Embeddings, speak_sentences

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..models.checkpoint import Checkpoint
    from ..packed.file_format import Progress
    from .layers import Packed

_PREDICTOR_FRAMES = 1000  # at most, of which the code predictor's rows are used
_SPEECH_SHARE, _TALKER_SHARE = 0.1, 0.6  # of the progress
_PROGRESS_STEPS = 1000


def write_file(
    checkpoint: Checkpoint,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    waiting: Callable[[], None] | None = None,
    sentences: int | None = None,
) -> Path | None:
    """Write the packed file unless it exists and is valid. Returns its path, None without a cache folder.

    progress: called with the steps done and the steps in all. waiting: called once if another process writes the file
    and takes long. sentences: how many are spoken; None: all, as the recipe says.
    Raises OSError, CheckpointError, EngineError, GenerationError.
    """

    def tick(share: float) -> None:
        if progress is not None:
            progress(int(share * _PROGRESS_STEPS), _PROGRESS_STEPS)

    def make() -> Packed:
        has_codec = any(slot == "DEC_OUT" for slot, _, _ in checkpoint.collected)
        codec = None if has_codec else packed_codec.load_or_pack(checkpoint, threads=threads)
        with Model(checkpoint, threads=threads, codec=codec) as model:
            return calibrate(model, threads, sentences, tick)

    return packed_matrices.write_made_file(checkpoint, CALIBRATED, make, threads=threads, waiting=waiting)


def calibrate(model: Model, threads: int, sentences: int | None, tick: Callable[[float], None]) -> Packed:
    """Round the matrices of the layers: (slot name, layer) -> ("int4", packed bytes).

    model: with the checkpoint's own weights. threads: for rounding; the result does not depend on it.
    sentences: how many are spoken; None: all. tick: called with the share that is done, 0 to 1.
    Raises CheckpointError, EngineError, GenerationError.
    """
    checkpoint, config, packed = model.checkpoint, model.config, {}  # type: ignore[var-annotated]
    spoken = speak_sentences(model, sentences, lambda share: tick(_SPEECH_SHARE * share))
    tensors = {(slot, layer): array for slot, layer, array in checkpoint.collected}
    embeddings = Embeddings(checkpoint)

    rows = [embeddings.talker_rows(each) for each in spoken]
    ends = np.cumsum([len(each) for each in rows]).tolist()
    spans = [(end - len(each), end) for end, each in zip(ends, rows, strict=True)]
    inputs = np.concatenate(rows)
    talker = Rounder("TALKER", config.talker, tensors, packed, threads)
    outputs = talker.run(inputs, inputs, spans, lambda share: tick(_SPEECH_SHARE + _TALKER_SHARE * share))

    # the rows whose outputs chose code 0: the last of the prompt, and each frame but the last
    at = np.concatenate([end - len(s.codes) - 1 + np.arange(len(s.codes)) for end, s in zip(ends, spoken, strict=True)])
    chosen = np.arange(0, len(at), -(-len(at) // _PREDICTOR_FRAMES))
    codes, groups = np.concatenate([each.codes for each in spoken])[chosen], config.num_code_groups
    frames = [embeddings.predictor_rows(each[at[chosen]], codes) for each in outputs]
    spans = [(first, first + groups) for first in range(0, groups * len(chosen), groups)]
    predictor = Rounder("PREDICTOR", config.predictor, tensors, packed, threads)
    before = _SPEECH_SHARE + _TALKER_SHARE
    predictor.run(
        *(x.reshape(-1, x.shape[-1]) for x in frames), spans, lambda share: tick(before + (1 - before) * share)
    )
    return packed
