"""The tensors of the speaker encoder and of the codec's encoder, in the form of tensor_specs.py.

Source: modeling_qwen3_tts.py, Qwen3TTSSpeakerEncoder; modeling_mimi.py, MimiModel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .config.encoders import EncoderConfig, SpeakerConfig
from .safetensors import WeightSet
from .tensor_specs import TensorSpec, load_tensor, with_bias

if TYPE_CHECKING:
    import numpy as np

_MEL_BINS = 128


def collect_speaker(config: SpeakerConfig, weights: WeightSet) -> list[tuple[str, int, np.ndarray]]:
    """Return the tensors of the speaker encoder, in the format of tensor_specs.collect. Raises CheckpointError."""
    return [(spec.slot, spec.layer, load_tensor(spec, weights)) for spec in expected_speaker_tensors(config)]


def collect_encoder(config: EncoderConfig, weights: WeightSet) -> list[tuple[str, int, np.ndarray]]:
    """Return the tensors of the codec's encoder, in the format of tensor_specs.collect. Raises CheckpointError."""
    return [(spec.slot, spec.layer, load_tensor(spec, weights)) for spec in expected_encoder_tensors(config)]


def expected_speaker_tensors(config: SpeakerConfig) -> Iterator[TensorSpec]:
    """Yield the tensors of the speaker encoder in model.safetensors of a base model."""
    channels, kernels, scale = config.channels, config.kernels, config.scale
    width, root = channels[-1], "speaker_encoder"
    yield from with_bias("SPEAKER_IN", 0, f"{root}.blocks.0.conv", (channels[0], _MEL_BINS, kernels[0]))
    for block in range(len(channels) - 2):
        n, name = channels[block + 1], f"{root}.blocks.{block + 1}"
        part = n // scale
        yield from with_bias("SPEAKER_TDNN1", block, f"{name}.tdnn1.conv", (n, n, 1))
        for branch in range(scale - 1):
            layer, inner = (scale - 1) * block + branch, f"{name}.res2net_block.blocks.{branch}.conv"
            yield from with_bias("SPEAKER_RES", layer, inner, (part, part, kernels[block + 1]))
        yield from with_bias("SPEAKER_TDNN2", block, f"{name}.tdnn2.conv", (n, n, 1))
        yield from with_bias("SPEAKER_SE1", block, f"{name}.se_block.conv1", (config.se_channels, n, 1))
        yield from with_bias("SPEAKER_SE2", block, f"{name}.se_block.conv2", (n, config.se_channels, 1))
    yield from with_bias("SPEAKER_MFA", 0, f"{root}.mfa.conv", (width, sum(channels[1:-1]), 1))
    yield from with_bias("SPEAKER_ATTENTION", 0, f"{root}.asp.tdnn.conv", (config.attention_channels, 3 * width, 1))
    yield from with_bias("SPEAKER_POOL", 0, f"{root}.asp.conv", (width, config.attention_channels, 1))
    yield from with_bias("SPEAKER_OUT", 0, f"{root}.fc", (config.embedding, 2 * width, 1))


def expected_encoder_tensors(config: EncoderConfig) -> Iterator[TensorSpec]:
    """Yield the tensors of the codec's encoder."""
    # `at` is the index in encoder.layers of the reference, which counts activations too
    prefix, at, channels = "encoder.encoder.layers", 1, config.filters
    yield from with_bias("ENCODER_IN", 0, f"{prefix}.0.conv", (channels, 1, config.kernel))
    for stage, rate in enumerate(config.rates):
        narrow = channels // config.compress
        for unit in range(config.units):
            layer, name = config.units * stage + unit, f"{prefix}.{at}.block"
            yield from with_bias("ENCODER_UNIT1", layer, f"{name}.1.conv", (narrow, channels, config.residual_kernel))
            yield from with_bias("ENCODER_UNIT2", layer, f"{name}.3.conv", (channels, narrow, 1))
            at += 1
        yield from with_bias("ENCODER_DOWN", stage, f"{prefix}.{at + 1}.conv", (2 * channels, channels, 2 * rate))
        at, channels = at + 2, 2 * channels
    hidden = config.transformer.hidden_size
    yield from with_bias("ENCODER_OUT", 0, f"{prefix}.{at + 1}.conv", (hidden, channels, config.last_kernel))
    yield from _layer_specs(config)
    yield TensorSpec("ENCODER_HALVE", 0, "encoder.downsample.conv.weight", (hidden, hidden, 2 * config.halving))
    for kind, slot, first, count in (
        ("semantic", "SEMANTIC", 0, 1),
        ("acoustic", "ACOUSTIC", 1, config.num_quantizers - 1),
    ):
        name = f"encoder.quantizer.{kind}_residual_vector_quantizer"
        yield TensorSpec(f"ENCODER_{slot}", 0, f"{name}.input_proj.weight", (config.codebook_dim, hidden, 1))
        for layer in range(count):
            book = f"{name}.layers.{layer}.codebook"
            shape = (config.codebook_size, config.codebook_dim)
            yield TensorSpec("ENCODER_BOOK_SUM", first + layer, f"{book}.embed_sum", shape)
            yield TensorSpec("ENCODER_BOOK_USAGE", first + layer, f"{book}.cluster_usage", shape[:1])


def _layer_specs(config: EncoderConfig) -> Iterator[TensorSpec]:
    t = config.transformer
    hidden, inter = t.hidden_size, t.intermediate_size
    q, kv = t.num_attention_heads * t.head_dim, t.num_key_value_heads * t.head_dim
    for layer in range(t.num_hidden_layers):
        name = f"encoder.encoder_transformer.layers.{layer}"
        for slot, inner, shape in (
            ("INPUT_NORM", "input_layernorm.weight", (hidden,)),
            ("INPUT_NORM_BIAS", "input_layernorm.bias", (hidden,)),
            ("Q", "self_attn.q_proj.weight", (q, hidden)),
            ("K", "self_attn.k_proj.weight", (kv, hidden)),
            ("V", "self_attn.v_proj.weight", (kv, hidden)),
            ("O", "self_attn.o_proj.weight", (hidden, q)),
            ("ATTN_SCALE", "self_attn_layer_scale.scale", (hidden,)),
            ("POST_NORM", "post_attention_layernorm.weight", (hidden,)),
            ("POST_NORM_BIAS", "post_attention_layernorm.bias", (hidden,)),
            ("FC1", "mlp.fc1.weight", (inter, hidden)),
            ("FC2", "mlp.fc2.weight", (hidden, inter)),
            ("MLP_SCALE", "mlp_layer_scale.scale", (hidden,)),
        ):
            yield TensorSpec(f"ENCODER_{slot}", layer, f"{name}.{inner}", shape)
