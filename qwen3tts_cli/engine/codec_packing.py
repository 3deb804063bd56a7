"""The codec's weights as one block: how large it is, and packing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._native import ffi, lib
from ..errors import EngineError
from .binding import check, fill_codec

if TYPE_CHECKING:
    from ..models.config.model import CodecConfig

CODEC_LAYOUT = lib.Q3T_CODEC_LAYOUT  # another number, another block of the same weights


def codec_bytes(config: CodecConfig) -> int:
    """Bytes of the block, a multiple of 64. Raises EngineError."""
    native, size = ffi.new("q3t_config *"), ffi.new("size_t *")
    fill_codec(native, config)
    check(lib.q3t_pack_codec_bytes(native, size), "packing the codec")
    return size[0]


def pack_codec(config: CodecConfig, tensors: list[tuple[str, int, np.ndarray]], threads: int, out: np.ndarray) -> None:
    """Pack the tensors of the codec's decoder, as weights.collect_decoder gives them, into `out`: uint8 (codec_bytes,),
    zeros on a 64-byte boundary. The result does not depend on threads. Raises EngineError."""
    if out.dtype != np.uint8 or out.shape != (codec_bytes(config),):
        raise EngineError(f"packing the codec into {out.dtype} {out.shape}")
    from .audio_parts import _native_tensors

    native = ffi.new("q3t_config *")
    fill_codec(native, config)
    described, _kept = _native_tensors(tensors)
    packed = ffi.from_buffer("unsigned char[]", out, require_writable=True)
    check(lib.q3t_pack_codec(native, described, len(tensors), threads, packed), "packing the codec")
