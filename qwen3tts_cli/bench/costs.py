"""What a frame costs at the least: the bytes it reads and the arithmetic of its convolutions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..models.tensor_specs import expected_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..models.config.model import ModelConfig


def _lm_passes(config: ModelConfig, slot: str) -> int:
    """How often a frame meets the tensors of a slot: the predictor runs once for each code but the first, each time
    with one of its heads."""
    if slot.startswith("TALKER_") or slot in ("CODEC_HEAD", "PREDICTOR_HEAD"):
        return 1
    runs = slot.startswith(("PREDICTOR_", "PROJECTION")) and slot != "PREDICTOR_EMBEDDING"
    return config.num_code_groups - 1 if runs else 0


def lm_bytes(
    config: ModelConfig, weight_bytes: Mapping[str, int], position_bytes: int, context: int, batch: int
) -> int:
    """Bytes that talker and code predictor read for one frame of the whole batch.

    weight_bytes: by slot, as the engine reads them. position_bytes: of keys and values, for each of `context`
    positions of each sequence.
    """
    weights = sum(_lm_passes(config, slot) * size for slot, size in weight_bytes.items())
    return weights + context * batch * position_bytes


def lm_operations(config: ModelConfig) -> int:
    """Operations of talker and code predictor for a frame of one sequence, two for a multiply-add; of the matrices."""
    return sum(
        2 * _lm_passes(config, row.slot) * math.prod(row.shape)
        for row in expected_tensors(config)[0]
        if len(row.shape) > 1
    )


def decoder_operations(config: ModelConfig) -> int:
    """Operations of the speech decoder for a frame, two for a multiply-add: of every matrix and direct convolution."""
    codec, total = config.codec, 0
    stages = [math.prod(codec.upsampling_ratios[:i]) for i in range(len(codec.upsampling_ratios) + 1)]
    blocks = [stages[-1] * math.prod(codec.upsample_rates[:i]) for i in range(len(codec.upsample_rates) + 1)]
    for row in expected_tensors(config)[1]:
        if len(row.shape) < 2 or row.slot.endswith("_SUM"):
            continue
        times = 1  # rows of a frame that meet this weight: inputs of a transposed convolution, else outputs
        if row.slot == "UP_CONV":
            times = stages[row.layer]
        elif row.slot.startswith("UP_"):
            times = stages[row.layer + 1]
        elif row.slot == "DEC_IN":
            times = blocks[0]
        elif row.slot == "BLOCK_CONV":
            times = blocks[row.layer]
        elif row.slot.startswith("UNIT_"):
            times = blocks[row.layer // 3 + 1]
        elif row.slot == "DEC_OUT":
            times = blocks[-1]
        total += 2 * math.prod(row.shape) * times
    return total
