"""Conversions shared by the modules that call the C engine: configurations and arrays to C, status codes to errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._native import ffi, lib
from ..errors import CheckpointError, EngineError, GenerationError

if TYPE_CHECKING:
    from pathlib import Path

    from ..models.config.model import CodecConfig, ModelConfig, TransformerConfig

    Tensor = tuple[str, int, np.ndarray]  # slot name, layer, array
    PackedMatrices = Mapping[tuple[str, int], tuple[str, np.ndarray]]  # (slot name, layer): (format, packed bytes)

PACKED_FORMATS = {"int8": lib.Q3T_INT8, "int4": lib.Q3T_INT4, "coded": lib.Q3T_CODED}
_NONFINITE_STAGES = {
    lib.Q3T_E_TALKER_NONFINITE: "talker",
    lib.Q3T_E_PREDICTOR_NONFINITE: "code predictor",
    lib.Q3T_E_CODEC_NONFINITE: "speech decoder",
}


def status_text(status: int) -> str:
    """The engine's English text for a q3t_status."""
    return ffi.string(lib.q3t_status_text(status)).decode()


def status_error(status: int, what: str) -> GenerationError | EngineError | None:
    """The exception for a q3t_status: None for Q3T_OK, GenerationError for non-finite values, else EngineError.

    what: the operation, which begins the message.
    """
    if status == lib.Q3T_OK:
        return None
    if status in _NONFINITE_STAGES:
        stage = _NONFINITE_STAGES[status]
        return GenerationError(f"{what}: values that are not finite in the {stage}; the checkpoint is damaged")
    return EngineError(f"{what}: {status_text(status)}")


def check_status(status: int, what: str) -> None:
    """Raise the error that `status_error` gives, if any."""
    if (error := status_error(status, what)) is not None:
        raise error


def check_open_status(status: int, path: Path, what: str = "") -> None:
    """Raise for the status of an open call: CheckpointError names `path` if the configuration or a shape is refused."""
    if status in (lib.Q3T_E_CONFIG, lib.Q3T_E_SHAPE):
        raise CheckpointError(f"{path}: {what + ': ' if what else ''}{status_text(status)}")
    check_status(status, f"opening the {what or 'model'}")


def fill_transformer(out: Any, config: TransformerConfig) -> None:
    """Write a configuration into a q3t_transformer_config."""
    out.hidden, out.intermediate, out.layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    out.heads, out.kv_heads = config.num_attention_heads, config.num_key_value_heads
    out.head_dim = config.head_dim
    out.rms_eps, out.rope_theta = config.rms_norm_eps, config.rope_theta


def fill_codec(out: Any, codec: CodecConfig) -> None:
    """Write the fields of a q3t_config that the codec's decoder reads."""
    fill_transformer(out.codec, codec.transformer)
    out.code_groups = codec.num_quantizers
    out.codebook_size, out.codebook_dim, out.latent_dim = codec.codebook_size, codec.codebook_dim, codec.latent_dim
    out.decoder_dim, out.sliding_window = codec.decoder_dim, codec.sliding_window
    out.upsampling, out.rates = len(codec.upsampling_ratios), len(codec.upsample_rates)
    for i, ratio in enumerate(codec.upsampling_ratios):
        out.upsampling_ratios[i] = ratio
    for i, rate in enumerate(codec.upsample_rates):
        out.upsample_rates[i] = rate


def native_config(config: ModelConfig, slots: set[str]) -> Any:
    """A q3t_config of a model. slots: names of the tensors' slots; "PROJECTION" among them sets has_projection."""
    out = ffi.new("q3t_config *")
    fill_transformer(out.talker, config.talker)
    fill_transformer(out.predictor, config.predictor)
    out.vocab, out.text_vocab, out.text_hidden = config.vocab_size, config.text_vocab_size, config.text_hidden_size
    out.code_vocab = config.predictor_vocab_size
    out.code_embedding_rows = config.predictor_vocab_size
    out.codec_eos, out.tts_pad = config.codec_eos_id, config.tts_pad_id
    out.max_positions = config.max_position_embeddings
    out.has_projection = int("PROJECTION" in slots)
    fill_codec(out, config.codec)
    return out


def fill_tensor(out: Any, array: np.ndarray) -> None:
    """Write dtype, shape and address of an array (uint16 for bf16, else float32) into a q3t_tensor."""
    out.dims, out.dtype = array.ndim, lib.Q3T_BF16 if array.dtype == np.uint16 else lib.Q3T_F32
    out.shape[0 : array.ndim] = array.shape
    out.data = ffi.cast("void *", array.ctypes.data)


def native_tensors(tensors: Sequence[Tensor], packed: PackedMatrices | None = None) -> tuple[Any, list[np.ndarray]]:
    """A q3t_tensor[] and the arrays that it points into, one for each tensor. The caller keeps both while C reads them.

    packed: packed matrices that are used instead of the checkpoint's. An array that is not aligned to its item size is
    copied.
    """
    native, arrays = ffi.new("q3t_tensor[]", len(tensors)), []
    for out, (slot, layer, array) in zip(native, tensors, strict=True):
        out.slot, out.layer = getattr(lib, f"Q3T_W_{slot}"), layer
        if packed is not None and (slot, layer) in packed:
            fill_tensor(out, array)
            name, array = packed[slot, layer]
            out.dtype, out.data = PACKED_FORMATS[name], ffi.cast("void *", array.ctypes.data)
        else:
            if array.ctypes.data % array.itemsize:
                array = array.copy()
            fill_tensor(out, array)
        arrays.append(array)
    return native, arrays


def pointer(array: np.ndarray | None, dtype: type, ctype: str, shape: tuple[int, ...] | None = None) -> Any:
    """A pointer to a contiguous array of exactly this dtype and, unless None, shape; NULL for None or an empty array.

    Raises EngineError for any other array.
    """
    if array is None:
        return ffi.NULL
    if array.dtype != dtype or not array.flags.c_contiguous or (shape is not None and array.shape != shape):
        raise EngineError(f"found an array of {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}")
    return ffi.from_buffer(ctype, array) if array.size else ffi.NULL


def free_handle(close: Callable[[object], None], handle: Any, *_kept: object) -> None:
    """Call `close` with the object that `handle` points to, which is NULL if opening it failed.

    _kept: objects whose memory C reads. The caller holds a functools.partial of this function, which keeps them alive.
    """
    close(handle[0])
