"""The one table of tensor names: which tensor of a checkpoint fills which slot of the engine, and with what shape.

Shapes are the checkpoint's own: Linear [out, in], Conv1d [out, in / groups, k], ConvTranspose1d [in, out, k].
A tensor of the checkpoint that is in no row (the codec's encoder, the speaker encoder) is not looked at.
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


class Row(NamedTuple):
    """A tensor that a checkpoint must hold. `slot` is the name of the q3t_slot without Q3T_W_."""

    slot: str
    layer: int
    name: str
    shape: tuple[int, ...]


def collect(config: ModelConfig, lm: WeightSet, codec: WeightSet) -> list[tuple[str, int, np.ndarray]]:
    """Every tensor the engine needs, as (slot name, layer, array); each array is a view of the mapped file.

    `lm` is model.safetensors, `codec` speech_tokenizer/model.safetensors. PROJECTION and PROJECTION_BIAS are there if
    the checkpoint has small_to_mtp_projection. BF16 arrays are uint16 of the same bits. Raises CheckpointError for a
    missing tensor, another shape or dtype, and for NaN or infinity in a tensor of one dimension.
    """
    return collect_lm(config, lm) + collect_decoder(config.codec, codec)


def collect_lm(config: ModelConfig, weights: WeightSet) -> list[tuple[str, int, np.ndarray]]:
    """The tensors of the language models alone, as collect gives them. Raises CheckpointError."""
    rows = _lm_rows(config, PROJECTION + ".weight" in weights.tensors)
    return [(row.slot, row.layer, checked(row, weights)) for row in rows]


def collect_decoder(config: CodecConfig, weights: WeightSet) -> list[tuple[str, int, np.ndarray]]:
    """The tensors of the codec's decoder alone, as collect gives them. Raises CheckpointError."""
    return [(row.slot, row.layer, checked(row, weights)) for row in _codec_rows(config)]


def rows_of(config: ModelConfig, projection: bool = False) -> tuple[Iterator[Row], Iterator[Row]]:
    """Every tensor that a checkpoint of this config holds: of model.safetensors, and of the codec's. PROJECTION is
    among them if `projection`, or if the widths differ."""
    return _lm_rows(config, projection), _codec_rows(config.codec)


def checked(row: Row, weights: WeightSet) -> np.ndarray:
    """The array of one row, after a look at dtype, shape and, where it is small, its values."""
    info = weights.tensors.get(row.name)
    where = f"{weights.path_of(row.name)}: tensor {row.name!r}"
    expected = f"BF16 or F32 {list(row.shape)}"
    if info is None:
        raise CheckpointError(f"{where}: missing, expected {expected}")
    if info.dtype not in ("BF16", "F32") or info.shape != row.shape:
        raise CheckpointError(f"{where}: found {info.dtype} {list(info.shape)}, expected {expected}")
    array = weights.array(row.name)
    if len(row.shape) == 1:
        # the exponent bits, in place: a float view of BF16 would be a copy
        exponent = 0x7F80 if info.dtype == "BF16" else 0x7F800000
        bits = array.view("<u2" if info.dtype == "BF16" else "<u4") & exponent
        if (bits == exponent).any():
            at = int((bits == exponent).argmax())
            raise CheckpointError(f"{where}: element {at} is not finite")
    return array


def _lm_rows(config: ModelConfig, projection: bool) -> Iterator[Row]:
    """Rows of model.safetensors."""
    talker, predictor = config.talker, config.predictor
    hidden, text_hidden, vocab = talker.hidden_size, config.text_hidden_size, config.vocab_size
    yield Row("TEXT_EMBEDDING", 0, TEXT_EMBEDDING, (config.text_vocab_size, text_hidden))
    yield Row("TEXT_FC1", 0, TEXT_PROJECTION[0] + ".weight", (text_hidden, text_hidden))
    yield Row("TEXT_FC1_BIAS", 0, TEXT_PROJECTION[0] + ".bias", (text_hidden,))
    yield Row("TEXT_FC2", 0, TEXT_PROJECTION[1] + ".weight", (hidden, text_hidden))
    yield Row("TEXT_FC2_BIAS", 0, TEXT_PROJECTION[1] + ".bias", (hidden,))
    yield Row("CODEC_EMBEDDING", 0, "talker.model.codec_embedding.weight", (vocab, hidden))
    yield Row("CODEC_HEAD", 0, "talker.codec_head.weight", (vocab, hidden))
    yield from _transformer_rows("TALKER", "talker.model", talker, _QK_NORMS)
    yield from _transformer_rows("PREDICTOR", "talker.code_predictor.model", predictor, _QK_NORMS)
    for group in range(config.num_code_groups - 1):
        name = f"talker.code_predictor.model.codec_embedding.{group}.weight"
        yield Row("PREDICTOR_EMBEDDING", group, name, (config.predictor_vocab_size, hidden))
        name = f"talker.code_predictor.lm_head.{group}.weight"
        yield Row("PREDICTOR_HEAD", group, name, (config.predictor_vocab_size, predictor.hidden_size))
    # absent means identity, which needs equal widths
    if projection or hidden != predictor.hidden_size:
        yield Row("PROJECTION", 0, PROJECTION + ".weight", (predictor.hidden_size, hidden))
        yield Row("PROJECTION_BIAS", 0, PROJECTION + ".bias", (predictor.hidden_size,))


# slot suffix, tensor name within a layer, shape as fields of _widths()
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


def _transformer_rows(slot: str, prefix: str, config: TransformerConfig, extra: tuple) -> Iterator[Row]:  # type: ignore[type-arg]
    """Rows of a stack of layers: those all three have in common, and the `extra` ones of each layer."""
    widths = {
        "hidden": config.hidden_size,
        "intermediate": config.intermediate_size,
        "q": config.num_attention_heads * config.head_dim,
        "kv": config.num_key_value_heads * config.head_dim,
        "head": config.head_dim,
    }
    yield Row(f"{slot}_NORM", 0, f"{prefix}.norm.weight", (config.hidden_size,))
    for layer in range(config.num_hidden_layers):
        for suffix, name, shape in _LAYER + extra:
            yield Row(f"{slot}_{suffix}", layer, f"{prefix}.layers.{layer}.{name}", tuple(widths[d] for d in shape))


def _codec_rows(codec: CodecConfig) -> Iterator[Row]:
    """Rows of speech_tokenizer/model.safetensors: the decoder."""
    size, dim, latent, width = codec.codebook_size, codec.codebook_dim, codec.latent_dim, codec.transformer.hidden_size
    for kind, slot, count in (("rvq_first", "FIRST", 1), ("rvq_rest", "REST", codec.num_quantizers - 1)):
        prefix = f"decoder.quantizer.{kind}"
        for layer in range(count):
            yield Row(f"{slot}_SUM", layer, f"{prefix}.vq.layers.{layer}._codebook.embedding_sum", (size, dim // 2))
            yield Row(f"{slot}_USAGE", layer, f"{prefix}.vq.layers.{layer}._codebook.cluster_usage", (size,))
        yield Row(f"{slot}_PROJ", 0, f"{prefix}.output_proj.weight", (dim, dim // 2, 1))
    yield from pair("PRE_CONV", 0, "decoder.pre_conv.conv", (latent, dim, 3))
    yield from pair("CODEC_IN", 0, "decoder.pre_transformer.input_proj", (width, latent))
    yield from pair("CODEC_OUT", 0, "decoder.pre_transformer.output_proj", (latent, width))
    yield from _transformer_rows("CODEC", "decoder.pre_transformer", codec.transformer, _LAYER_SCALES)
    for stage, ratio in enumerate(codec.upsampling_ratios):
        prefix = f"decoder.upsample.{stage}"
        yield from pair("UP_CONV", stage, f"{prefix}.0.conv", (latent, latent, ratio), latent)
        yield from pair("UP_DW", stage, f"{prefix}.1.dwconv.conv", (latent, 1, CONV_KERNEL))
        yield from pair("UP_NORM", stage, f"{prefix}.1.norm", (latent,))
        yield from pair("UP_PW1", stage, f"{prefix}.1.pwconv1", (4 * latent, latent))
        yield from pair("UP_PW2", stage, f"{prefix}.1.pwconv2", (latent, 4 * latent))
        yield Row("UP_GAMMA", stage, f"{prefix}.1.gamma", (latent,))
    yield from _vocoder_rows(latent, codec.decoder_dim, codec.upsample_rates)


def _vocoder_rows(latent: int, channels: int, rates: tuple[int, ...]) -> Iterator[Row]:
    """Rows of decoder.decoder: an input convolution, a block for each rate that halves the channels, an output."""
    prefix = "decoder.decoder"
    yield from pair("DEC_IN", 0, f"{prefix}.0.conv", (channels, latent, CONV_KERNEL))
    for block, rate in enumerate(rates):
        inner, channels_in, channels = f"{prefix}.{block + 1}.block", channels, channels // 2
        yield from _snake("BLOCK_ALPHA", "BLOCK_BETA", block, f"{inner}.0", channels_in)
        yield from pair("BLOCK_CONV", block, f"{inner}.1.conv", (channels_in, channels, 2 * rate), channels)
        for unit in range(3):
            layer, name = 3 * block + unit, f"{inner}.{unit + 2}"
            yield from _snake("UNIT_ALPHA1", "UNIT_BETA1", layer, f"{name}.act1", channels)
            yield from pair("UNIT_CONV1", layer, f"{name}.conv1.conv", (channels, channels, CONV_KERNEL))
            yield from _snake("UNIT_ALPHA2", "UNIT_BETA2", layer, f"{name}.act2", channels)
            yield from pair("UNIT_CONV2", layer, f"{name}.conv2.conv", (channels, channels, 1))
    yield from _snake("DEC_ALPHA", "DEC_BETA", 0, f"{prefix}.{len(rates) + 1}", channels)
    yield from pair("DEC_OUT", 0, f"{prefix}.{len(rates) + 2}.conv", (1, channels, CONV_KERNEL))


def pair(slot: str, layer: int, prefix: str, shape: tuple[int, ...], outputs: int = 0) -> Iterator[Row]:
    """A weight and its bias, which has shape[0] elements or `outputs`."""
    yield Row(slot, layer, f"{prefix}.weight", shape)
    yield Row(f"{slot}_BIAS", layer, f"{prefix}.bias", (outputs or shape[0],))


def _snake(alpha: str, beta: str, layer: int, prefix: str, channels: int) -> Iterator[Row]:
    """The two logarithms of a SnakeBeta activation."""
    yield Row(alpha, layer, f"{prefix}.alpha", (channels,))
    yield Row(beta, layer, f"{prefix}.beta", (channels,))
