"""Matrices of the language models in the forms that are packed: how large one is, and packing it."""

from __future__ import annotations

import numpy as np

from .._native import ffi, lib
from ..errors import EngineError
from .binding import DTYPES, check, describe


def packed_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a (rows, columns) matrix packed as "int8", "int4" or "coded", which is bf16 in 12 bits."""
    size = ffi.new("size_t *")
    check(lib.q3t_pack_bytes(DTYPES[dtype], *shape, size), "packing weights")
    return size[0]


def pack_rows(matrix: np.ndarray, dtype: str, first: int, last: int, out: np.ndarray) -> bool:
    """Pack rows `first` up to `last`, multiples of 32 or the end, of a matrix of uint16 (bf16) or float32 into `out`,
    uint8 (packed_bytes,) on a 64-byte boundary. Several threads may pack parts of one matrix.
    "coded" is of uint16 only; False if it has no room for the exponents there are."""
    if not matrix.flags.c_contiguous or out.dtype != np.uint8 or out.shape != (packed_bytes(dtype, matrix.shape),):
        raise EngineError(f"packing {matrix.shape} into {out.dtype} {out.shape}")
    tensor = ffi.new("q3t_tensor *")
    describe(tensor, matrix)
    packed = ffi.from_buffer("unsigned char[]", out, require_writable=True)
    status = lib.q3t_pack(tensor, DTYPES[dtype], first // 32, -(-last // 32), packed)
    if status != lib.Q3T_E_SIZE:
        check(status, "packing weights")
    return status == lib.Q3T_OK
