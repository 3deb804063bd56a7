"""The tensors of the language models and of the codec's decoder: name and shape in the checkpoint, slot in the engine.

Shapes are as in the checkpoint: Linear (out, in), Conv1d (out, in / groups, kernel), ConvTranspose1d (in, out, kernel).
The tensors of the encoders are in encoder_tensor_specs.py. Other tensors of a checkpoint are ignored.
Source: modeling_qwen3_tts.py; modeling_qwen3_tts_tokenizer_v2.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import CheckpointError
from .config.model import CodecConfig, ModelConfig
from .config.transformer import TransformerConfig
from .safetensors import WeightSet

if TYPE_CHECKING:
    import numpy as np

CONV_KERNEL = 7
PROJECTION = "talker.code_predictor.small_to_mtp_projection"
TEXT_EMBEDDING = "talker.model.text_embedding.weight"
TEXT_PROJECTION = ("talker.text_projection.linear_fc1", "talker.text_projection.linear_fc2")


class TensorSpec(NamedTuple):
    """A tensor that a checkpoint must hold. slot: the name of its q3t_slot without the prefix Q3T_W_. layer: the index
    among the tensors of this slot. name, shape: as in the safetensors file."""

    slot: str
    layer: int
    name: str
    shape: tuple[int, ...]


def collect(config: ModelConfig, lm: WeightSet, codec: WeightSet) -> list[tuple[str, int, np.ndarray]]:
    """Return (slot name, layer, array) of every tensor of the language models and of the codec's decoder.

    lm: model.safetensors. codec: speech_tokenizer/model.safetensors. The arrays are views of the mapped files: float32,
    or uint16 with the bits of BF16. The slots PROJECTION and PROJECTION_BIAS are included if the checkpoint has
    small_to_mtp_projection. Raises CheckpointError for a missing tensor, a wrong shape or dtype, and for NaN or
    infinity in a one-dimensional tensor.
    """
    return collect_lm(config, lm) + collect_decoder(config.codec, codec)


def collect_lm(config: ModelConfig, weights: WeightSet) -> list[tuple[str, int, np.ndarray]]:
    """Return the tensors of the language models, in the format of `collect`. Raises CheckpointError."""
    specs = _lm_specs(config, PROJECTION + ".weight" in weights.tensors)
    return [(spec.slot, spec.layer, load_tensor(spec, weights)) for spec in specs]


def collect_decoder(config: CodecConfig, weights: WeightSet) -> list[tuple[str, int, np.ndarray]]:
    """Return the tensors of the codec's decoder, in the format of `collect`. Raises CheckpointError."""
    return [(spec.slot, spec.layer, load_tensor(spec, weights)) for spec in _codec_specs(config)]


def expected_tensors(
    config: ModelConfig, projection: bool = False
) -> tuple[Iterator[TensorSpec], Iterator[TensorSpec]]:
    """Return the tensors that a checkpoint of this config holds: (language models, codec's decoder).

    projection: whether the checkpoint has the slot PROJECTION although talker and code predictor have the same hidden
    size.
    """
    return _lm_specs(config, projection), _codec_specs(config.codec)


def load_tensor(spec: TensorSpec, weights: WeightSet) -> np.ndarray:
    """Return the array of one tensor. Raises CheckpointError for a wrong dtype or shape, and for a value that is not
    finite in a one-dimensional tensor."""
    info = weights.tensors.get(spec.name)
    where = f"{weights.path_of(spec.name)}: tensor {spec.name!r}"
    expected = f"BF16 or F32 {list(spec.shape)}"
    if info is None:
        raise CheckpointError(f"{where}: missing, expected {expected}")
    if info.dtype not in ("BF16", "F32") or info.shape != spec.shape:
        raise CheckpointError(f"{where}: found {info.dtype} {list(info.shape)}, expected {expected}")
    array = weights.array(spec.name)
    if len(spec.shape) == 1:
        # NaN and infinity have all exponent bits set; testing bits needs no conversion of BF16
        exponent = 0x7F80 if info.dtype == "BF16" else 0x7F800000
        bits = array.view("<u2" if info.dtype == "BF16" else "<u4") & exponent
        if (bits == exponent).any():
            at = int((bits == exponent).argmax())
            raise CheckpointError(f"{where}: element {at} is not finite")
    return array


def _lm_specs(config: ModelConfig, projection: bool) -> Iterator[TensorSpec]:
    """The tensors of model.safetensors."""
    talker, predictor = config.talker, config.predictor
    hidden, text_hidden, vocab = talker.hidden_size, config.text_hidden_size, config.vocab_size
    yield TensorSpec("TEXT_EMBEDDING", 0, TEXT_EMBEDDING, (config.text_vocab_size, text_hidden))
    yield TensorSpec("TEXT_FC1", 0, TEXT_PROJECTION[0] + ".weight", (text_hidden, text_hidden))
    yield TensorSpec("TEXT_FC1_BIAS", 0, TEXT_PROJECTION[0] + ".bias", (text_hidden,))
    yield TensorSpec("TEXT_FC2", 0, TEXT_PROJECTION[1] + ".weight", (hidden, text_hidden))
    yield TensorSpec("TEXT_FC2_BIAS", 0, TEXT_PROJECTION[1] + ".bias", (hidden,))
    yield TensorSpec("CODEC_EMBEDDING", 0, "talker.model.codec_embedding.weight", (vocab, hidden))
    yield TensorSpec("CODEC_HEAD", 0, "talker.codec_head.weight", (vocab, hidden))
    yield from _transformer_specs("TALKER", "talker.model", talker, _QK_NORMS)
    yield from _transformer_specs("PREDICTOR", "talker.code_predictor.model", predictor, _QK_NORMS)
    for group in range(config.num_code_groups - 1):
        name = f"talker.code_predictor.model.codec_embedding.{group}.weight"
        yield TensorSpec("PREDICTOR_EMBEDDING", group, name, (config.predictor_vocab_size, hidden))
        name = f"talker.code_predictor.lm_head.{group}.weight"
        yield TensorSpec("PREDICTOR_HEAD", group, name, (config.predictor_vocab_size, predictor.hidden_size))
    # a checkpoint without the projection uses the talker's hidden state unchanged, so the hidden sizes must be equal
    if projection or hidden != predictor.hidden_size:
        yield TensorSpec("PROJECTION", 0, PROJECTION + ".weight", (predictor.hidden_size, hidden))
        yield TensorSpec("PROJECTION_BIAS", 0, PROJECTION + ".bias", (predictor.hidden_size,))


# (slot suffix, tensor name within a layer, shape as keys of `widths` in _transformer_specs)
_LAYER = (
    ("INPUT_NORM", "input_layernorm.weight", ("hidden",)),
    ("POST_NORM", "post_attention_layernorm.weight", ("hidden",)),
    ("Q", "self_attn.q_proj.weight", ("q", "hidden")),
    ("K", "self_attn.k_proj.weight", ("kv", "hidden")),
    ("V", "self_attn.v_proj.weight", ("kv", "hidden")),
    ("O", "self_attn.o_proj.weight", ("hidden", "q")),
    ("GATE", "mlp.gate_proj.weight", ("intermediate", "hidden")),
    ("UP", "mlp.up_proj.weight", ("intermediate", "hidden")),
    ("DOWN", "mlp.down_proj.weight", ("hidden", "intermediate")),
)
_QK_NORMS = (
    ("Q_NORM", "self_attn.q_norm.weight", ("head",)),
    ("K_NORM", "self_attn.k_norm.weight", ("head",)),
)
_LAYER_SCALES = (
    ("ATTN_SCALE", "self_attn_layer_scale.scale", ("hidden",)),
    ("MLP_SCALE", "mlp_layer_scale.scale", ("hidden",)),
)


def _transformer_specs(slot: str, prefix: str, config: TransformerConfig, extra: tuple) -> Iterator[TensorSpec]:  # type: ignore[type-arg]
    """The tensors of a transformer: the final norm, and _LAYER and `extra` for each layer."""
    widths = {
        "hidden": config.hidden_size,
        "intermediate": config.intermediate_size,
        "q": config.num_attention_heads * config.head_dim,
        "kv": config.num_key_value_heads * config.head_dim,
        "head": config.head_dim,
    }
    yield TensorSpec(f"{slot}_NORM", 0, f"{prefix}.norm.weight", (config.hidden_size,))
    for layer in range(config.num_hidden_layers):
        for suffix, name, shape in _LAYER + extra:
            yield TensorSpec(
                f"{slot}_{suffix}", layer, f"{prefix}.layers.{layer}.{name}", tuple(widths[d] for d in shape)
            )


def _codec_specs(codec: CodecConfig) -> Iterator[TensorSpec]:
    """The tensors of the codec's decoder in speech_tokenizer/model.safetensors."""
    size, dim, latent, width = codec.codebook_size, codec.codebook_dim, codec.latent_dim, codec.transformer.hidden_size
    for kind, slot, count in (("rvq_first", "FIRST", 1), ("rvq_rest", "REST", codec.num_quantizers - 1)):
        prefix = f"decoder.quantizer.{kind}"
        for layer in range(count):
            yield TensorSpec(
                f"{slot}_SUM", layer, f"{prefix}.vq.layers.{layer}._codebook.embedding_sum", (size, dim // 2)
            )
            yield TensorSpec(f"{slot}_USAGE", layer, f"{prefix}.vq.layers.{layer}._codebook.cluster_usage", (size,))
        yield TensorSpec(f"{slot}_PROJ", 0, f"{prefix}.output_proj.weight", (dim, dim // 2, 1))
    yield from with_bias("PRE_CONV", 0, "decoder.pre_conv.conv", (latent, dim, 3))
    yield from with_bias("CODEC_IN", 0, "decoder.pre_transformer.input_proj", (width, latent))
    yield from with_bias("CODEC_OUT", 0, "decoder.pre_transformer.output_proj", (latent, width))
    yield from _transformer_specs("CODEC", "decoder.pre_transformer", codec.transformer, _LAYER_SCALES)
    for stage, ratio in enumerate(codec.upsampling_ratios):
        prefix = f"decoder.upsample.{stage}"
        yield from with_bias("UP_CONV", stage, f"{prefix}.0.conv", (latent, latent, ratio), latent)
        yield from with_bias("UP_DW", stage, f"{prefix}.1.dwconv.conv", (latent, 1, CONV_KERNEL))
        yield from with_bias("UP_NORM", stage, f"{prefix}.1.norm", (latent,))
        yield from with_bias("UP_PW1", stage, f"{prefix}.1.pwconv1", (4 * latent, latent))
        yield from with_bias("UP_PW2", stage, f"{prefix}.1.pwconv2", (latent, 4 * latent))
        yield TensorSpec("UP_GAMMA", stage, f"{prefix}.1.gamma", (latent,))
    yield from _vocoder_specs(latent, codec.decoder_dim, codec.upsample_rates)


def _vocoder_specs(latent: int, channels: int, rates: tuple[int, ...]) -> Iterator[TensorSpec]:
    """The tensors of decoder.decoder: an input convolution, a block for each rate, which halves the number of channels,
    and an output convolution."""
    prefix = "decoder.decoder"
    yield from with_bias("DEC_IN", 0, f"{prefix}.0.conv", (channels, latent, CONV_KERNEL))
    for block, rate in enumerate(rates):
        inner, channels_in, channels = f"{prefix}.{block + 1}.block", channels, channels // 2
        yield from _snake("BLOCK_ALPHA", "BLOCK_BETA", block, f"{inner}.0", channels_in)
        yield from with_bias("BLOCK_CONV", block, f"{inner}.1.conv", (channels_in, channels, 2 * rate), channels)
        for unit in range(3):
            layer, name = 3 * block + unit, f"{inner}.{unit + 2}"
            yield from _snake("UNIT_ALPHA1", "UNIT_BETA1", layer, f"{name}.act1", channels)
            yield from with_bias("UNIT_CONV1", layer, f"{name}.conv1.conv", (channels, channels, CONV_KERNEL))
            yield from _snake("UNIT_ALPHA2", "UNIT_BETA2", layer, f"{name}.act2", channels)
            yield from with_bias("UNIT_CONV2", layer, f"{name}.conv2.conv", (channels, channels, 1))
    yield from _snake("DEC_ALPHA", "DEC_BETA", 0, f"{prefix}.{len(rates) + 1}", channels)
    yield from with_bias("DEC_OUT", 0, f"{prefix}.{len(rates) + 2}.conv", (1, channels, CONV_KERNEL))


def with_bias(slot: str, layer: int, prefix: str, shape: tuple[int, ...], outputs: int = 0) -> Iterator[TensorSpec]:
    """Yield a weight of this shape and its bias, a vector of `outputs` elements, or of shape[0] if `outputs` is 0."""
    yield TensorSpec(slot, layer, f"{prefix}.weight", shape)
    yield TensorSpec(f"{slot}_BIAS", layer, f"{prefix}.bias", (outputs or shape[0],))


def _snake(alpha: str, beta: str, layer: int, prefix: str, channels: int) -> Iterator[TensorSpec]:
    """The parameters of a SnakeBeta activation: the logarithms of alpha and beta, each of shape (channels,)."""
    yield TensorSpec(alpha, layer, f"{prefix}.alpha", (channels,))
    yield TensorSpec(beta, layer, f"{prefix}.beta", (channels,))
