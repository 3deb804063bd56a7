"""Encoders of other widths, depths, strides and kernels, against the NumPy reference in tests/reference/np_ref.py."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import open_encoder, open_speaker, reference, relative_error
from test_other_sizes import to_bf16, write_safetensors

from qwen3tts_cli.models.config.encoders import load_encoder_config, load_speaker_config
from qwen3tts_cli.models.encoder_tensor_specs import expected_encoder_tensors, expected_speaker_tensors

RNG = np.random.default_rng(11)
SPEAKERS = {
    "deep": {"enc_channels": [24, 24, 24, 24, 24, 40], "enc_kernel_sizes": [3, 5, 3, 7, 3, 1]}
    | {"enc_dilations": [2, 1, 4, 2, 3, 1], "enc_res2net_scale": 4},
    "narrow": {"enc_channels": [6, 6, 7], "enc_kernel_sizes": [5, 3, 1], "enc_dilations": [1, 2, 1]}
    | {"enc_res2net_scale": 2},
}
ENCODERS = {
    "two units": {
        "num_residual_layers": 2,
        "dilation_growth_rate": 3,
        "num_filters": 6,
        "upsampling_ratios": [3, 5, 2],
    },
    "odd": {"num_filters": 5, "compress": 1, "kernel_size": 5, "last_kernel_size": 5, "residual_kernel_size": 5}
    | {"hidden_size": 18, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 10, "intermediate_size": 37},
    "no layers": {"num_hidden_layers": 0, "num_residual_layers": 0, "upsampling_ratios": [7], "codebook_dim": 9},
    "wide": {"num_filters": 48, "hidden_size": 72, "head_dim": 34, "codebook_size": 61, "upsampling_ratios": [4, 2]},
}


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith(("norm.weight", "cluster_usage", ".scale")):
        return RNG.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith("bias"):
        return RNG.normal(0, 0.1, shape).astype(np.float32)
    gain = 1 if "embed_sum" in name else 1 / np.sqrt(np.prod(shape[1:]))
    return RNG.normal(0, gain, shape).astype(np.float32)


def samples(n: int) -> np.ndarray:
    time = np.arange(n) / 24000
    return (0.3 * np.sin(2 * np.pi * 220 * time * (1 + time)) + 0.05 * RNG.standard_normal(n)).astype(np.float32)


@pytest.mark.parametrize("name", SPEAKERS)
def test_the_speaker_encoder_equals_the_numpy_reference(tmp_path, name):
    settings = {"enc_dim": 20, "enc_se_channels": 5, "enc_attention_channels": 9, **SPEAKERS[name]}
    (tmp_path / "config.json").write_text(json.dumps({"speaker_encoder_config": settings}))
    rows = list(expected_speaker_tensors(load_speaker_config(tmp_path)))
    arrays = {row.name: draw(row.name, row.shape) for row in rows}
    rounded = {key: to_bf16(array) for key, array in arrays.items()}
    write_safetensors(tmp_path / "model.safetensors", {key: ("BF16", bits) for key, bits in rounded.items()})
    model = object.__new__(reference().Model)
    model.cfg = {"speaker_encoder_config": settings}
    model.W = {key: (bits.astype(np.uint32) << 16).view(np.float32) for key, bits in rounded.items()}
    with open_speaker(tmp_path) as speaker:
        for n in (5000, 24000):
            audio = samples(n)
            assert relative_error(speaker.embed(audio), model.speaker(audio)) <= 1e-4


@pytest.mark.parametrize("name", ENCODERS)
def test_the_codec_encoder_equals_the_numpy_reference(tmp_path, name):
    encoder = {
        "num_filters": 4,
        "upsampling_ratios": [4, 3],
        "hidden_size": 16,
        "num_attention_heads": 2,
        "head_dim": 8,
    }
    encoder |= {
        "num_hidden_layers": 1,
        "intermediate_size": 24,
        "codebook_size": 32,
        "codebook_dim": 8,
        "norm_eps": 1e-5,
    }
    encoder |= {"num_quantizers": 9, "rope_theta": 10000.0, "num_residual_layers": 1, "dilation_growth_rate": 2}
    encoder |= ENCODERS[name]
    encoder.setdefault("num_key_value_heads", encoder["num_attention_heads"])
    rate = 2 * int(np.prod(encoder["upsampling_ratios"]))
    config = {"encoder_config": encoder, "decoder_config": {"codebook_size": 64}, "encode_downsample_rate": rate}
    config |= {"encoder_valid_num_quantizers": 5}
    (tmp_path / "config.json").write_text(json.dumps(config))
    rows = list(expected_encoder_tensors(load_encoder_config(tmp_path / "config.json")))
    arrays = {row.name: draw(row.name, row.shape) for row in rows}
    write_safetensors(tmp_path / "model.safetensors", {key: ("F32", array) for key, array in arrays.items()})
    codec = object.__new__(reference().Codec)
    codec.cfg, codec.W = config, arrays
    with open_encoder(tmp_path) as opened:
        for n in (1, rate - 1, rate, rate + 1, 40 * rate + rate // 2 + 1):
            audio = samples(n)
            want = codec.encode(audio)
            got = opened.encode(audio)
            assert got.shape == want.shape
            assert np.mean(got != want) <= 0.02  # after a tie that rounding decides, the rest of the frame differs
            assert (got[:, 0] != want[:, 0]).sum() <= 1
