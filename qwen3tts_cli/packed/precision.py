"""Decide which precision "auto" means, which matrices each precision packs, and whether bf16 gets a packed file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.cpu import kernels_text
from .cache_paths import cached_sizes

if TYPE_CHECKING:
    import numpy as np

    from ..models.checkpoint import Checkpoint

PRECISIONS = ("bf16", "int8", "int4")  # those that a model is packed in when it is opened
CALIBRATED = "int4-calibrated"  # the format of int4, with weights that only `models pack` makes
RECIPE = "int4-calibrated 1"  # names how these weights are made: a change of calibration/ that changes them counts up
LARGE_MODEL_BYTES = 256 << 20  # bytes of the language models' matrices at 16 bits a weight

_LAYER_MATRICES = ("Q", "K", "V", "O", "GATE", "UP", "DOWN")
_LAYER_SLOTS = frozenset(f"{model}_{name}" for model in ("TALKER", "PREDICTOR") for name in _LAYER_MATRICES)
_HEAD_SLOTS = frozenset(("CODEC_HEAD", "PREDICTOR_HEAD", "PROJECTION"))


def packed_format(slot: str, precision: str) -> str | None:
    """The packed format of a slot's matrices: "int8", "int4" or "coded"; None for a tensor that is not packed.

    With int4 only the matrices of the layers are int4. The heads are int8: they lose most by rounding, and are few.
    """
    if slot not in _LAYER_SLOTS and slot not in _HEAD_SLOTS:
        return None
    if precision == "bf16":
        return "coded"
    return precision.removesuffix("-calibrated") if slot in _LAYER_SLOTS else "int8"


def frame_matrices(checkpoint: Checkpoint) -> list[np.ndarray]:
    """The matrices of the language models that every step reads, as they are in the checkpoint."""
    return [array for slot, _, array in checkpoint.collected if slot in _LAYER_SLOTS or slot in _HEAD_SLOTS]


def is_large(checkpoint: Checkpoint) -> bool:
    """Whether the language models' matrices take LARGE_MODEL_BYTES or more; fewer bytes may stay in a CPU's cache."""
    return 2 * sum(array.size for array in frame_matrices(checkpoint)) >= LARGE_MODEL_BYTES


def choose_precision(checkpoint: Checkpoint) -> str:
    """The precision that "auto" means: "int8" for a large model, else "bf16"."""
    return "int8" if is_large(checkpoint) else "bf16"


def bf16_file_helps(checkpoint: Checkpoint) -> bool:
    """Whether bf16 weights get a packed file: it exists, or the model is large and this CPU decodes it fast enough."""
    if "bf16" in cached_sizes(checkpoint.config.path):
        return True
    return is_large(checkpoint) and cpu_decodes_bf16_fast()


def cpu_decodes_bf16_fast() -> bool:
    """Whether this CPU has a SIMD kernel for the format "coded"; the scalar kernel costs more time than it saves."""
    return "linear_coded=scalar" not in kernels_text()
