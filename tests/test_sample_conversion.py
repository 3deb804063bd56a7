"""Conversion of samples to float32 and to 16-bit PCM."""

from __future__ import annotations

import array

import numpy as np
import pytest

from qwen3tts_cli import InputError, UsageError
from qwen3tts_cli.common.sample_conversion import to_float32, to_pcm16

WAVE = np.sin(np.arange(1000) / 7).astype(np.float32) * np.float32(0.9)


def test_full_scale():
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


def check(found, expected=WAVE, atol=1e-7):
    assert found.dtype == np.float32
    assert found.dtype.isnative
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("layout", ["plain", "strided", "reversed", "read-only", "stereo", "fortran", "column"])
def test_all_dtypes_give_the_same_samples(dtype, order, layout):
    kind, width = np.dtype(dtype).kind, np.dtype(dtype).itemsize
    if kind == "f":
        samples, atol = WAVE.astype(dtype), 1e-3 if width == 2 else 1e-7
    else:
        full = 2.0 ** (8 * width - 1)
        scaled = np.rint(WAVE.astype(np.float64) * full) + (full if kind == "u" else 0)
        samples, atol = scaled.astype(dtype), max(1e-7, 0.51 / full)
    samples = samples.astype(samples.dtype.newbyteorder(order))
    match layout:
        case "strided":
            samples = np.repeat(samples, 3)[::3]
        case "reversed":
            samples = samples[::-1].copy()[::-1]
        case "read-only":
            samples.flags.writeable = False
        case "stereo":
            samples = np.stack([samples, samples], 1)
        case "fortran":
            samples = np.asfortranarray(np.stack([samples] * 3, 1))
        case "column":
            samples = samples[:, None]
    check(to_float32(samples), atol=atol)


def test_integers_convert_as_in_libsndfile():
    assert to_float32(np.array([-32768, 0, 16384, 32767], np.int16)).tolist() == [-1, 0, 0.5, 32767 / 32768]
    assert to_float32(np.array([0, 128, 255], np.uint8)).tolist() == [-1, 0, 127 / 128]
    assert to_float32(np.array([0, 1 << 31, (1 << 32) - 1], np.uint32)).tolist() == [-1, 0, 1]
    assert to_float32(np.zeros(3, np.int64)).tolist() == [0, 0, 0]


def test_channels_are_mixed():
    assert to_float32(np.array([[32767, -32767], [16384, 0]], np.int16)).tolist() == [0, 0.25]


def test_float_samples_are_not_copied():
    assert to_float32(WAVE) is WAVE


def test_lists_and_array_likes():
    check(to_float32(WAVE.tolist()))
    check(to_float32(tuple(WAVE.tolist())))
    check(to_float32(array.array("f", WAVE.tolist())))
    check(to_float32(memoryview(np.rint(WAVE * 32768).astype(np.int16))), atol=1e-4)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.ones(9, complex), "complex128"),
        (np.ones(9, bool), "bool"),
        (np.array([1.0, None]), "object"),
        (np.array(["a"]), "str"),
        (np.array([b"a"]), "bytes"),
        (np.array(["2020-01-01"], "M8[D]"), "datetime64"),
        (np.ones(9, [("left", "f4")]), "void"),
        ("a.wav", "str"),
        (b"RIFF", "bytes"),
        (None, "NoneType"),
        ({0.5}, "set"),
        ([True, False], "list of bool"),
        ([1, 2], "list of integers"),
        ((1, 2), "tuple of integers"),
        ([[0.5], [0.5, 0.5]], "list"),
        (np.arange(9), "int64"),
        (np.arange(9, dtype=np.uint64), "uint64"),
        (np.ones((2, 100)), "transpose"),
        (np.ones((2, 2, 2)), "shape (2, 2, 2)"),
        (0.5, "shape ()"),
    ],
)
def test_other_types_are_named(samples, words):
    with pytest.raises(UsageError) as caught:
        to_float32(samples, "what was given")
    assert str(caught.value).startswith("what was given: ")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("samples", [np.empty(0), np.empty(0, np.int16), [], np.empty((0, 2)), np.empty((9, 0))])
def test_no_samples(samples):
    with pytest.raises(InputError, match="no samples"):
        to_float32(samples)
