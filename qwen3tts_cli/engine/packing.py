"""Packing: laying out matrices of the language models, and the codec's decoder, as the engine's kernels read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._native import ffi, lib
from ..errors import EngineError
from .binding import PACKED_FORMATS, check_status, fill_codec, fill_tensor, native_tensors

if TYPE_CHECKING:
    from ..models.config.model import CodecConfig
    from .binding import Tensor

BLOCK_ROWS = 32  # rows of a matrix that are packed together
CODEC_LAYOUT = lib.Q3T_CODEC_LAYOUT  # the version of the layout that pack_codec writes


def packed_bytes(name: str, shape: tuple[int, ...]) -> int:
    """Bytes of a matrix of shape (rows, columns) in a packed format. Raises EngineError.

    name: the format: "int8", "int4", or "coded", which stores bf16 in 12 bits.
    """
    size = ffi.new("size_t *")
    check_status(lib.q3t_pack_bytes(PACKED_FORMATS[name], *shape, size), "packing weights")
    return size[0]


def pack_rows(matrix: np.ndarray, name: str, first: int, last: int, out: np.ndarray) -> bool:
    """Pack rows [first, last) of a matrix into their place in `out`. Several threads may pack parts of one matrix.

    matrix: contiguous, shape (rows, columns), uint16 (bf16) or float32; "coded" takes uint16 only. name: the format,
    see packed_bytes. first, last: multiples of BLOCK_ROWS, or the number of rows. out: a uint8 array of
    packed_bytes(name, matrix.shape) bytes, at an address that is a multiple of 64.
    Returns False if "coded" cannot hold the exponents of these rows. Raises EngineError.
    """
    if not matrix.flags.c_contiguous or out.dtype != np.uint8 or out.shape != (packed_bytes(name, matrix.shape),):
        raise EngineError(f"packing {matrix.shape} into {out.dtype} {out.shape}")
    tensor = ffi.new("q3t_tensor *")
    fill_tensor(tensor, matrix)
    packed = ffi.from_buffer("unsigned char[]", out, require_writable=True)
    blocks = first // BLOCK_ROWS, -(-last // BLOCK_ROWS)
    status = lib.q3t_pack(tensor, PACKED_FORMATS[name], *blocks, packed)
    if status != lib.Q3T_E_SIZE:
        check_status(status, "packing weights")
    return status == lib.Q3T_OK


def codec_bytes(config: CodecConfig) -> int:
    """Bytes of the packed weights of the codec's decoder, a multiple of 64. Raises EngineError."""
    native, size = ffi.new("q3t_config *"), ffi.new("size_t *")
    fill_codec(native, config)
    check_status(lib.q3t_pack_codec_bytes(native, size), "packing the codec")
    return size[0]


def pack_codec(config: CodecConfig, tensors: list[Tensor], threads: int, out: np.ndarray) -> None:
    """Pack the tensors of the codec's decoder into one block without pointers. Raises EngineError.

    tensors: the result of models.tensor_specs.collect_decoder. threads: how many threads pack; the bytes do not depend
    on it. out: a uint8 array of codec_bytes(config) bytes, all 0, at an address that is a multiple of 64.
    """
    if out.dtype != np.uint8 or out.shape != (codec_bytes(config),):
        raise EngineError(f"packing the codec into {out.dtype} {out.shape}")
    native = ffi.new("q3t_config *")
    fill_codec(native, config)
    described, _arrays = native_tensors(tensors)
    packed = ffi.from_buffer("unsigned char[]", out, require_writable=True)
    check_status(lib.q3t_pack_codec(native, described, len(tensors), threads, packed), "packing the codec")
