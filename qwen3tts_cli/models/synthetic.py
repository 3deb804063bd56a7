"""Random weights in memory with the sizes of the released models: for measuring a machine without any download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .checkpoint import Checkpoint
from .config.codec import CodecConfig
from .config.model import ModelConfig
from .config.transformer import TransformerConfig
from .config.voice import GenerationConfig
from .tensor_specs import expected_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES = ("0.6b", "1.7b")
_TEXT_VOCAB = 512  # the text embedding is read a row at a time: its size does not matter
_POOL = 1 << 22  # random values that the matrices are cut from


def synthetic_checkpoint(
    size: str, *, seed: int = 0, small_codec: bool = False, place: Callable[[np.ndarray], np.ndarray] | None = None
) -> Checkpoint:
    """A model of random weights, bf16 and float32 as released, with the dimensions of size "0.6b" or "1.7b".

    Greedy decoding never ends by itself: the row of the end token in the codec head is zero. small_codec: a codec of
    few channels, where only the language models are looked at. place: returns the copy of an array to be kept.
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
    lm, codec = expected_tensors(config)
    for row in lm:
        count = int(np.prod(row.shape))
        if len(row.shape) == 1:
            array = np.full(count, 0x3F80 if row.slot.endswith("NORM") else 0, np.uint16)
        else:
            array = np.resize(np.roll(bits, int(rng.integers(_POOL))), count)
        array = array.reshape(row.shape)
        if row.slot == "CODEC_HEAD":
            array[config.codec_eos_id] = 0
        yield row.slot, row.layer, array
    for row in codec:
        count, fan_in = int(np.prod(row.shape)), int(np.prod(row.shape[1:]))
        if len(row.shape) == 1:
            array = np.full(
                count, 0 if row.slot.endswith(("BIAS", "ALPHA", "BETA", "ALPHA1", "ALPHA2")) else 1, np.float32
            )
        else:
            array = np.resize(np.roll(values, int(rng.integers(_POOL))), count) * np.float32(fan_in**-0.5)
        yield row.slot, row.layer, array.reshape(row.shape)


def synthetic_config(size: str, small_codec: bool = False) -> ModelConfig:
    """The dimensions of size "0.6b" or "1.7b".

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
