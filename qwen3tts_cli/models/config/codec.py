"""speech_tokenizer/config.json: the dimensions of the codec's decoder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from ...common.audio_constants import SAMPLE_RATE
from ...common.json_fields import read_object
from .transformer import MAX_HIDDEN, TransformerConfig, read_transformer

MAX_CONFIG_BYTES = 1 << 20
MAX_CODEBOOK_SIZE = 65536
MAX_CODE_GROUPS = 64

CODEC_TYPE = "qwen3_tts_tokenizer_12hz"
_MAX_LATENT = 4096
_MAX_RATE = 64
_MAX_STAGES = 8
_MAX_SAMPLES_PER_FRAME = 65536


class CodecConfig(NamedTuple):
    """The dimensions of the codec's decoder. transformer: the transformer before upsampling.

    num_quantizers: the number of codebooks (code groups), each of shape (codebook_size, codebook_dim / 2). decoder_dim:
    channels of the output of the vocoder's input convolution; every block halves them. samples_per_frame: the product
    of upsampling_ratios and upsample_rates. encoder: the encoder's JSON object, which is not checked yet; see
    encoders.py.
    Source: configuration_qwen3_tts_tokenizer_v2.py.
    """

    transformer: TransformerConfig
    codebook_size: int
    codebook_dim: int
    latent_dim: int
    decoder_dim: int
    num_quantizers: int
    sliding_window: int
    upsampling_ratios: tuple[int, ...]
    upsample_rates: tuple[int, ...]
    encoder: dict[str, Any] | None
    samples_per_frame: int
    sample_rate: int = SAMPLE_RATE

    @property
    def frame_seconds(self) -> float:
        """The length of a frame in seconds: 0.08 in the released models."""
        return self.samples_per_frame / self.sample_rate


def load_codec_config(path: Path) -> CodecConfig:
    """Read speech_tokenizer/config.json. Raises CheckpointError.

    The encoder's fields are not checked: only cloning uses them.
    """
    root = read_object(path, MAX_CONFIG_BYTES)
    root.fixed("model_type", CODEC_TYPE)
    root.fixed("input_sample_rate", SAMPLE_RATE)
    root.integer("output_sample_rate", SAMPLE_RATE, SAMPLE_RATE)
    decoder = root.section("decoder_config")
    encoder = root.values.get("encoder_config")
    config = CodecConfig(
        transformer=read_transformer(decoder),
        codebook_size=decoder.integer("codebook_size", 1, MAX_CODEBOOK_SIZE),
        codebook_dim=decoder.integer("codebook_dim", 2, MAX_HIDDEN),
        latent_dim=decoder.integer("latent_dim", 1, _MAX_LATENT),
        decoder_dim=decoder.integer("decoder_dim", 2, MAX_HIDDEN),
        num_quantizers=decoder.integer("num_quantizers", 2, MAX_CODE_GROUPS),
        sliding_window=decoder.integer("sliding_window", 1, 4096),
        upsampling_ratios=decoder.integers("upsampling_ratios", 1, _MAX_RATE, _MAX_STAGES),
        upsample_rates=decoder.integers("upsample_rates", 1, _MAX_RATE, _MAX_STAGES),
        encoder=encoder if isinstance(encoder, dict) else None,
        samples_per_frame=root.integer("decode_upsample_rate", 1, _MAX_SAMPLES_PER_FRAME),
    )
    if config.codebook_dim % 2:
        decoder.fail("codebook_dim", str(config.codebook_dim), "an even number")
    halvings = len(config.upsample_rates)
    if config.decoder_dim % (1 << halvings):
        expected = f"a multiple of {1 << halvings}: upsample_rates has {halvings} entries"
        decoder.fail("decoder_dim", str(config.decoder_dim), expected)
    samples = math.prod(config.upsampling_ratios) * math.prod(config.upsample_rates)
    if samples != config.samples_per_frame:
        expected = f"{samples}, the product of upsampling_ratios and upsample_rates"
        root.fail("decode_upsample_rate", str(config.samples_per_frame), expected)
    return config
