"""The conversion to 16-bit PCM."""

from __future__ import annotations

import numpy as np

from qwen3tts_cli.pcm import to_pcm16


def test_ends_of_the_scale():
    samples = np.array([0, 1, -1, 2, -2, 1e30, -1e30, np.inf, -np.inf], np.float32)
    expected = [0, 32767, -32767, 32767, -32768, 32767, -32768, 32767, -32768]
    assert to_pcm16(samples).tolist() == expected


def test_round_half_even_of_the_exact_product():
    # 2**-16 * 32767 = 0.49998..., and odd multiples of 1/65534 round to halves: find float32 values on both sides.
    rng = np.random.default_rng(0)
    halves = (rng.integers(-32767, 32767, 2000) + 0.5) / 32767
    samples = np.concatenate([np.float32(halves), np.nextafter(np.float32(halves), np.float32(2))])
    exact = [float(x) * 32767 for x in samples]  # Python's round is half even
    assert to_pcm16(samples).tolist() == [round(x) for x in exact]


def test_true_halves():
    # 32767 * k / 2**15 has a fraction of one half for k = 2**14 only when the product is exact
    samples = np.float32([0.5, -0.5, 1.5 / 32768 * 16384 / 16384])
    assert to_pcm16(samples).tolist() == [round(float(x) * 32767) for x in samples]
    assert to_pcm16(np.float32([0.5])).tolist() == [16384]
    assert to_pcm16(np.float32([0.25 + 0.5])).tolist() == [24575]


def test_shape_type_and_copy():
    samples = np.zeros(5, np.float32)
    result = to_pcm16(samples)
    assert result.dtype == np.dtype("<i2")
    assert result.shape == (5,)
    assert to_pcm16(np.empty(0, np.float32)).tobytes() == b""
    assert to_pcm16(np.float32([0.1, 0.2, 0.3])[::2]).tolist() == [3277, 9830]
