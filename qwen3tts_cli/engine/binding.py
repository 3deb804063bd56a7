"""What the engine's callers have in common: configurations and arrays as C reads them, and what its states mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._native import ffi, lib
from ..errors import EngineError, GenerationError

if TYPE_CHECKING:
    from ..models.config.model import CodecConfig, ModelConfig, TransformerConfig

DTYPES = {"int8": lib.Q3T_INT8, "int4": lib.Q3T_INT4, "coded": lib.Q3T_CODED}
_STAGES = {
    lib.Q3T_E_TALKER_NONFINITE: "talker",
    lib.Q3T_E_PREDICTOR_NONFINITE: "code predictor",
    lib.Q3T_E_CODEC_NONFINITE: "speech decoder",
}


def error_of(status: int, what: str) -> GenerationError | EngineError | None:
    """What to raise for a q3t_status: None for OK, GenerationError for non-finite values, else EngineError."""
    if status == lib.Q3T_OK:
        return None
    if status in _STAGES:
        return GenerationError(
            f"{what}: values that are not finite in the {_STAGES[status]}; the checkpoint is damaged"
        )
    return EngineError(f"{what}: {ffi.string(lib.q3t_status_text(status)).decode()}")


def check(status: int, what: str) -> None:
    if (error := error_of(status, what)) is not None:
        raise error


def fill_transformer(out, c: TransformerConfig) -> None:
    out.hidden, out.intermediate, out.layers = c.hidden_size, c.intermediate_size, c.num_hidden_layers
    out.heads, out.kv_heads, out.head_dim = c.num_attention_heads, c.num_key_value_heads, c.head_dim
    out.rms_eps, out.rope_theta = c.rms_norm_eps, c.rope_theta


def fill_codec(out, codec: CodecConfig) -> None:
    """The fields of q3t_config that the codec's decoder reads."""
    fill_transformer(out.codec, codec.transformer)
    out.code_groups = codec.num_quantizers
    out.codebook_size, out.codebook_dim, out.latent_dim = codec.codebook_size, codec.codebook_dim, codec.latent_dim
    out.decoder_dim, out.sliding_window = codec.decoder_dim, codec.sliding_window
    out.upsampling, out.rates = len(codec.upsampling_ratios), len(codec.upsample_rates)
    for i, ratio in enumerate(codec.upsampling_ratios):
        out.upsampling_ratios[i] = ratio
    for i, rate in enumerate(codec.upsample_rates):
        out.upsample_rates[i] = rate


def native_config(c: ModelConfig, slots: set[str]):
    out = ffi.new("q3t_config *")
    fill_transformer(out.talker, c.talker)
    fill_transformer(out.predictor, c.predictor)
    out.vocab, out.text_vocab, out.text_hidden = c.vocab_size, c.text_vocab_size, c.text_hidden_size
    out.code_vocab = c.predictor_vocab_size
    out.code_embedding_rows = c.predictor_vocab_size
    out.codec_eos, out.tts_pad, out.max_positions = c.codec_eos_id, c.tts_pad_id, c.max_position_embeddings
    out.has_projection = int("PROJECTION" in slots)
    fill_codec(out, c.codec)
    return out


def describe(out, array: np.ndarray) -> None:
    out.dims, out.dtype = array.ndim, lib.Q3T_BF16 if array.dtype == np.uint16 else lib.Q3T_F32
    out.shape[0 : array.ndim] = array.shape
    out.data = ffi.cast("void *", array.ctypes.data)


def pointer(array: np.ndarray | None, dtype: type, ctype: str, shape: tuple[int, ...] | None = None):
    """A pointer to a contiguous array of exactly this dtype and shape; None is NULL."""
    if array is None:
        return ffi.NULL
    if array.dtype != dtype or not array.flags.c_contiguous or (shape is not None and array.shape != shape):
        raise EngineError(f"array of {array.dtype} {array.shape}: {np.dtype(dtype)} {shape} is needed")
    return ffi.from_buffer(ctype, array) if array.size else ffi.NULL


def free_handle(close: Callable[[object], None], handle: Any, *_kept: object) -> None:
    """handle: where the engine has put it, NULL if it came to nothing. _kept: what it reads is kept until then."""
    close(handle[0])
