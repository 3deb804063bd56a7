"""The dimensions of a decoder-only transformer: the talker, the code predictor, and the codec's transformers."""

from __future__ import annotations

from typing import NamedTuple

from ...common.json_fields import Section

MAX_HIDDEN = 16384
MAX_LAYERS = 256
MAX_HEADS = 256
MAX_HEAD_DIM = 512
MAX_POSITIONS = 1 << 20
# keeps rows * columns of every matrix below 2^31
MAX_WIDTH = 65536


class TransformerConfig(NamedTuple):
    """The dimensions of a transformer. num_attention_heads * head_dim may differ from hidden_size."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float


def read_transformer(section: Section) -> TransformerConfig:
    """Read the fields of a transformer and check their types and ranges. Raises CheckpointError.

    Features that the engine lacks (biases, other activations, tied embeddings, scaled RoPE) are refused.
    Source: modeling_qwen3_tts.py, Qwen3TTSTalkerModel; configuration_qwen3_tts.py.
    """
    config = TransformerConfig(
        hidden_size=section.integer("hidden_size", 1, MAX_HIDDEN),
        intermediate_size=section.integer("intermediate_size", 1, MAX_WIDTH),
        num_hidden_layers=section.integer("num_hidden_layers", 1, MAX_LAYERS),
        num_attention_heads=section.integer("num_attention_heads", 1, MAX_HEADS),
        num_key_value_heads=section.integer("num_key_value_heads", 1, MAX_HEADS),
        head_dim=section.integer("head_dim", 2, MAX_HEAD_DIM),
        rms_norm_eps=section.number("rms_norm_eps", 1e-12, 0.1),
        rope_theta=section.number("rope_theta", 1, 1e12),
    )
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    if heads % kv_heads:
        section.fail("num_key_value_heads", str(kv_heads), f"a divisor of num_attention_heads ({heads})")
    if config.head_dim % 2:
        section.fail("head_dim", str(config.head_dim), "an even number")
    if heads * config.head_dim > MAX_WIDTH:
        section.fail("head_dim", str(config.head_dim), f"num_attention_heads * head_dim of at most {MAX_WIDTH}")
    section.fixed("attention_bias", False)
    section.fixed("use_sliding_window", False)
    section.fixed("tie_word_embeddings", False)
    section.fixed("hidden_act", "silu")
    scaling = section.section("rope_scaling", None)
    if scaling is not None:
        scaling.fixed("rope_type", "default")
        scaling.fixed("type", "default")
    return config
