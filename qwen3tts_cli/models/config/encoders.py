"""The dimensions of the two encoders for cloning: the speaker encoder, which makes the speaker vector of a recording,
and the codec's encoder, which makes the codes of a recording.

Their settings are in config.json and speech_tokenizer/config.json. Speaking does not use them, so they are read and
checked only when a recording is encoded. Missing fields have the reference's defaults.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...common.audio_constants import SAMPLE_RATE
from ...common.json_fields import Section, read_object
from .codec import MAX_CODEBOOK_SIZE, MAX_CONFIG_BYTES
from .transformer import MAX_HEAD_DIM, MAX_HEADS, MAX_HIDDEN, MAX_LAYERS, MAX_WIDTH, TransformerConfig

MAX_CHANNELS = 16384
MAX_STAGES = 8
MAX_UNITS = 4
_MEL_BINS = 128


@dataclass(frozen=True)
class SpeakerConfig:
    """The dimensions of the speaker encoder, an ECAPA-TDNN.

    channels, kernels, dilations: one entry for the first convolution, one for each SE-Res2Net block, and one for the
    convolution that joins the outputs of the blocks. scale: the number of branches of a Res2Net block. se_channels,
    attention_channels: inner channels of the squeeze-excitation and of the attentive pooling. embedding: the number of
    elements of the speaker vector.

    Source: configuration_qwen3_tts.py, Qwen3TTSSpeakerEncoderConfig.
    """

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    dilations: tuple[int, ...]
    scale: int
    se_channels: int
    attention_channels: int
    embedding: int


@dataclass(frozen=True)
class EncoderConfig:
    """The dimensions of the codec's encoder: convolutions with strides `rates`, a transformer, a convolution with
    stride `halving`, and the first num_quantizers codebooks, each of shape (codebook_size, codebook_dim).

    transformer: its rms_norm_eps is the epsilon of layer norms. filters: output channels of the first convolution.
    Source: configuration_mimi.py, MimiConfig.
    """

    transformer: TransformerConfig
    filters: int
    kernel: int
    last_kernel: int
    residual_kernel: int
    compress: int
    units: int
    dilation_growth: int
    rates: tuple[int, ...]
    halving: int
    num_quantizers: int
    codebook_size: int
    codebook_dim: int
    samples_per_frame: int


def load_speaker_config(folder: Path) -> SpeakerConfig | None:
    """Read speaker_encoder_config of config.json; None if the model has no speaker encoder. Raises CheckpointError."""
    section = read_object(folder / "config.json", MAX_CONFIG_BYTES).section("speaker_encoder_config", None)
    if section is None:
        return None
    section.integer("sample_rate", SAMPLE_RATE, SAMPLE_RATE, SAMPLE_RATE)
    section.integer("mel_dim", _MEL_BINS, _MEL_BINS, _MEL_BINS)
    channels = _list(section, "enc_channels", MAX_CHANNELS, (512, 512, 512, 512, 1536))
    kernels = _list(section, "enc_kernel_sizes", 31, (5, 3, 3, 3, 1))
    dilations = _list(section, "enc_dilations", 64, (1, 2, 3, 4, 1))
    scale = section.integer("enc_res2net_scale", 2, 64, 8)
    for key, values in (("enc_kernel_sizes", kernels), ("enc_dilations", dilations)):
        if len(values) != len(channels) or len(channels) < 3:
            section.fail(key, f"{len(values)} entries", f"as many as enc_channels ({len(channels)}), at least 3")
    if any(kernel % 2 == 0 for kernel in kernels) or kernels[-1] != 1:
        section.fail("enc_kernel_sizes", str(list(kernels)), "odd numbers, the last of them 1")
    if len(set(channels[:-1])) != 1 or channels[0] % scale:
        section.fail("enc_channels", str(list(channels)), f"one multiple of {scale}, then the last entry")
    return SpeakerConfig(
        channels=channels,
        kernels=kernels,
        dilations=dilations,
        scale=scale,
        se_channels=section.integer("enc_se_channels", 1, MAX_CHANNELS, 128),
        attention_channels=section.integer("enc_attention_channels", 1, MAX_CHANNELS, 128),
        embedding=section.integer("enc_dim", 1, MAX_CHANNELS, 1024),
    )


def load_encoder_config(path: Path) -> EncoderConfig:
    """Read encoder_config of speech_tokenizer/config.json. Raises CheckpointError, also if it is missing."""
    root = read_object(path, MAX_CONFIG_BYTES)
    section = root.section("encoder_config")
    for key, value in _FIXED.items():
        section.fixed(key, value)
    groups = root.integer("encoder_valid_num_quantizers", 2, 64)
    rates = tuple(reversed(section.integers("upsampling_ratios", 1, 64, MAX_STAGES)))
    samples = root.integer("encode_downsample_rate", 1, 65536)
    strides = math.prod(rates)
    if samples % strides or not 1 <= samples // strides <= 8:
        root.fail("encode_downsample_rate", str(samples), f"1 to 8 times {strides}, the product of upsampling_ratios")
    filters, compress = section.integer("num_filters", 1, 4096), section.integer("compress", 1, 64, 2)
    if filters % compress or filters << len(rates) > MAX_WIDTH:
        limit = f"a multiple of compress ({compress}), at most {MAX_WIDTH >> len(rates)}"
        section.fail("num_filters", str(filters), limit)
    size = section.integer("codebook_size", 1, MAX_CODEBOOK_SIZE)
    if size > root.section("decoder_config").integer("codebook_size", 1, MAX_CODEBOOK_SIZE):
        section.fail("codebook_size", str(size), "at most the decoder's")
    section.integer("num_quantizers", groups, 1024)
    return EncoderConfig(
        transformer=_transformer(section),
        filters=filters,
        kernel=section.integer("kernel_size", 1, 63, 7),
        last_kernel=section.integer("last_kernel_size", 1, 63, 3),
        residual_kernel=section.integer("residual_kernel_size", 1, 63, 3),
        compress=compress,
        units=section.integer("num_residual_layers", 0, MAX_UNITS, 1),
        dilation_growth=section.integer("dilation_growth_rate", 1, 8, 2),
        rates=rates,
        halving=samples // strides,
        num_quantizers=groups,
        codebook_size=size,
        codebook_dim=section.integer("codebook_dim", 1, 4096),
        samples_per_frame=samples,
    )


# the only values that the engine implements; each field may also be missing
_FIXED: dict[str, Any] = {
    "sampling_rate": SAMPLE_RATE,
    "audio_channels": 1,
    "normalize": False,
    "pad_mode": "constant",
    "use_causal_conv": True,
    "use_conv_shortcut": False,
    "hidden_act": "gelu",
    "attention_bias": False,
    "num_semantic_quantizers": 1,
}


def _transformer(section: Section) -> TransformerConfig:
    heads = section.integer("num_attention_heads", 1, MAX_HEADS)
    kv_heads = section.integer("num_key_value_heads", 1, heads, heads)
    hidden = section.integer("hidden_size", 1, MAX_HIDDEN)
    head_dim = section.integer("head_dim", 2, MAX_HEAD_DIM, max(2, hidden // heads))
    if heads % kv_heads:
        section.fail("num_key_value_heads", str(kv_heads), f"a divisor of num_attention_heads ({heads})")
    if head_dim % 2 or heads * head_dim > MAX_WIDTH:
        section.fail("head_dim", str(head_dim), f"an even number, times {heads} heads at most {MAX_WIDTH}")
    return TransformerConfig(
        hidden_size=hidden,
        intermediate_size=section.integer("intermediate_size", 1, MAX_WIDTH),
        num_hidden_layers=section.integer("num_hidden_layers", 0, MAX_LAYERS),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        rms_norm_eps=section.number("norm_eps", 1e-12, 0.1, 1e-5),
        rope_theta=section.number("rope_theta", 1, 1e12, 10000.0),
    )


def _list(section: Section, key: str, high: int, default: tuple[int, ...]) -> tuple[int, ...]:
    return default if section.values.get(key) is None else section.integers(key, 1, high, MAX_STAGES)
