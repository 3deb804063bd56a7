"""Checkpoints of random weights with the dimensions of the released models, to measure a machine without a download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .checkpoint import Checkpoint
from .config.codec import CodecConfig
from .config.generation import GenerationConfig
from .config.model import ModelConfig
from .config.transformer import TransformerConfig
from .tensor_specs import expected_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TEXT_VOCAB = 512  # single rows of the text embedding are read, so its size does not affect the speed
_POOL = 1 << 22  # number of random values; every matrix repeats them from another offset


def synthetic_checkpoint(
    size: str, *, seed: int = 0, small_codec: bool = False, place: Callable[[np.ndarray], np.ndarray] | None = None
) -> Checkpoint:
    """Make a checkpoint of random weights with the dimensions of size "0.6b" or "1.7b".

    The dtypes are those of the released checkpoints: BF16 (uint16) for the language models, float32 for the codec.
    Greedy decoding never chooses the end token, whose row in the codec head is zero. small_codec: whether to make a
    codec of few channels, for measurements of the language models alone. place: called with each array; returns the
    array to use, such as a copy in other memory.
    """
    config = synthetic_config(size, small_codec)
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(_POOL, np.float32)
    bits = ((values * 0.02).view(np.uint32) >> 16).astype(np.uint16)
    keep = place or (lambda array: array)
    tensors = [(slot, layer, keep(array)) for slot, layer, array in _tensors(config, values, bits, rng)]
    return Checkpoint(config, tensors, ())


def _tensors(
    config: ModelConfig, values: np.ndarray, bits: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield (slot, layer, array) of every tensor. values: float32 of shape (_POOL,). bits: uint16 of the same shape, as
    BF16."""
    lm, codec = expected_tensors(config)
    for spec in lm:
        count = int(np.prod(spec.shape))
        if len(spec.shape) == 1:
            array = np.full(count, 0x3F80 if spec.slot.endswith("NORM") else 0, np.uint16)
        else:
            array = np.resize(np.roll(bits, int(rng.integers(_POOL))), count)
        array = array.reshape(spec.shape)
        if spec.slot == "CODEC_HEAD":
            array[config.codec_eos_id] = 0
        yield spec.slot, spec.layer, array
    for spec in codec:
        count, fan_in = int(np.prod(spec.shape)), int(np.prod(spec.shape[1:]))
        if len(spec.shape) == 1:
            array = np.full(
                count, 0 if spec.slot.endswith(("BIAS", "ALPHA", "BETA", "ALPHA1", "ALPHA2")) else 1, np.float32
            )
        else:
            array = np.resize(np.roll(values, int(rng.integers(_POOL))), count) * np.float32(fan_in**-0.5)
        yield spec.slot, spec.layer, array.reshape(spec.shape)


def synthetic_config(size: str, small_codec: bool = False) -> ModelConfig:
    """Return the config of size "0.6b" or "1.7b".

    Source: config.json and speech_tokenizer/config.json of the released CustomVoice checkpoints.
    """
    hidden, intermediate = {"0.6b": (1024, 3072), "1.7b": (2048, 6144)}[size]
    talker = TransformerConfig(hidden, intermediate, 28, 16, 8, 128, 1e-6, 1e6)
    predictor = TransformerConfig(1024, 3072, 5, 16, 8, 128, 1e-6, 1e6)
    inner = (
        TransformerConfig(64, 64, 1, 1, 1, 64, 1e-5, 1e4)
        if small_codec
        else TransformerConfig(512, 1024, 8, 16, 16, 64, 1e-5, 1e4)
    )
    codec = CodecConfig(
        transformer=inner,
        codebook_size=2048,
        codebook_dim=32 if small_codec else 512,
        latent_dim=32 if small_codec else 1024,
        decoder_dim=64 if small_codec else 1536,
        num_quantizers=16,
        sliding_window=72,
        upsampling_ratios=(2, 2),
        upsample_rates=(8, 5, 4, 3),
        encoder=None,
        samples_per_frame=1920,
    )
    special = range(_TEXT_VOCAB - 6, _TEXT_VOCAB)
    names = ("im_start_id", "im_end_id", "assistant_id", "tts_pad_id", "tts_bos_id", "tts_eos_id")
    codec_names = ("pad", "bos", "eos", "think", "nothink", "think_bos", "think_eos")
    return ModelConfig(
        path=Path(f"synthetic-{size}"),
        model_type="custom_voice",
        model_size=size.replace(".", "b"),
        talker=talker,
        predictor=predictor,
        codec=codec,
        vocab_size=3072,
        text_vocab_size=_TEXT_VOCAB,
        text_hidden_size=2048,
        num_code_groups=16,
        predictor_vocab_size=2048,
        max_position_embeddings=32768,
        **dict(zip(names, special, strict=True)),
        **{f"codec_{name}_id": 2048 + i for i, name in enumerate(codec_names)},
        languages={},
        speakers={"synthetic": 3000},
        dialects={"synthetic": None},
        speaker_encoder=None,
        generation=GenerationConfig(False, 1.0, 0, 1.0, 1.0, False, 1.0, 0, 1.0, 2048),
        voice=None,
    )
