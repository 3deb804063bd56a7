"""The least work for one frame: the bytes that the language models read, the operations of the codec's decoder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..models.tensor_specs import expected_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..models.config.model import ModelConfig


def lm_passes(config: ModelConfig, slot: str) -> int:
    """How often the language models read the tensors of a slot for one frame.

    The code predictor runs once for each code except the first, each time with a different head.
    """
    if slot.startswith("TALKER_") or slot in ("CODEC_HEAD", "PREDICTOR_HEAD"):
        return 1
    runs = slot.startswith(("PREDICTOR_", "PROJECTION")) and slot != "PREDICTOR_EMBEDDING"
    return config.num_code_groups - 1 if runs else 0


def lm_bytes(
    config: ModelConfig, weight_bytes: Mapping[str, int], position_bytes: int, context: int, batch: int
) -> int:
    """Bytes that talker and code predictor read for one frame of a batch.

    weight_bytes: maps a slot name to the bytes of its tensors as the engine stores them. position_bytes: bytes of the
    keys and values of one position of one session; each of the `batch` sessions has `context` positions.
    """
    weights = sum(lm_passes(config, slot) * size for slot, size in weight_bytes.items())
    return weights + context * batch * position_bytes


def decoder_operations(config: ModelConfig) -> int:
    """Operations of the codec's decoder for one frame of one session: matrices and direct convolutions.

    A multiply-add counts as two operations.
    """
    codec, total = config.codec, 0
    stages = [math.prod(codec.upsampling_ratios[:i]) for i in range(len(codec.upsampling_ratios) + 1)]
    blocks = [stages[-1] * math.prod(codec.upsample_rates[:i]) for i in range(len(codec.upsample_rates) + 1)]
    for row in expected_tensors(config)[1]:
        if len(row.shape) < 2 or row.slot.endswith("_SUM"):
            continue
        # How often the weights are multiplied for one frame: once for each position of the input of a transposed
        # convolution, and of the output of any other layer.
        times = 1
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
