"""The packed format INT4 of native/kernels/formats.h, written from levels and scales that are already chosen."""

from __future__ import annotations

import numpy as np

from ..engine.packing import BLOCK_ROWS
from .rounding import GROUP

_GROUP_BYTES = 576


def pack_levels(levels: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The packed bytes of a matrix, uint8 (packed_bytes,), at an address that is a multiple of 64.

    levels: integers (rows, columns) from -8 to 7. scales: float32 (rows, groups) with bf16 values.
    """
    rows, columns = levels.shape
    blocks, groups = -(-rows // BLOCK_ROWS), -(-columns // GROUP)
    raw = np.zeros(blocks * groups * _GROUP_BYTES + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start : start + blocks * groups * _GROUP_BYTES]
    unsigned = np.full((blocks * BLOCK_ROWS, groups * GROUP), 8, np.uint8)
    unsigned[:rows, :columns] = (levels + 8).astype(np.uint8)
    # axes: block, row in it, group, eight columns, low or high half of a byte, byte
    nibbles = unsigned.reshape(blocks, BLOCK_ROWS, groups, 4, 2, 4)
    pairs = nibbles[..., 0, :] | nibbles[..., 1, :] << 4
    parts = out.reshape(blocks, groups, _GROUP_BYTES)
    parts[:, :, :512] = pairs.transpose(0, 2, 3, 1, 4).reshape(blocks, groups, 512)
    words = np.zeros((blocks * BLOCK_ROWS, groups), np.uint16)
    words[:rows] = np.ascontiguousarray(scales, np.float32).view(np.uint32) >> 16
    halves = words.reshape(blocks, 2, BLOCK_ROWS // 2, groups)  # rows r and r + 16 lie next to each other
    parts[:, :, 512:] = np.ascontiguousarray(halves.transpose(0, 3, 2, 1)).reshape(blocks, groups, 32).view(np.uint8)
    return out
