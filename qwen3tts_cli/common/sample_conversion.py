"""Conversion of samples: audio of any dtype to float32, and float32 to 16-bit PCM."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError, UsageError

_EXPECTED = "floats or integers, (samples,) or (samples, channels)"


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """Convert samples to 16-bit PCM: clip(round(x * 32767), -32768, 32767), ties to even.

    samples: float32 of shape (n,), full scale 1. Returns a new little-endian int16 array of shape (n,).
    """
    # The product of a float32 and 32767 is exact in float64, so np.rint is the only rounding.
    scaled = np.asarray(samples, np.float32).astype(np.float64) * 32767.0
    return np.clip(np.rint(scaled), -32768, 32767).astype("<i2")


def to_float32(samples: Any, name: str = "samples") -> np.ndarray:
    """Convert audio to contiguous float32 of shape (samples,) with full scale 1; channels are averaged.

    samples: an array, or anything NumPy converts to one, of shape (samples,) or (samples, channels): floats of any
    width with full scale 1, signed integers with the full scale of their dtype, or unsigned integers around the middle
    of their range (128 for uint8). A list must hold floats. name: the argument's name in errors. May return `samples`
    itself. Raises UsageError for another dtype or shape, InputError for an empty array.
    """
    array = _array(samples, name)
    if array.ndim not in (1, 2):
        raise UsageError(f"{name}: shape {array.shape}, expected (samples,) or (samples, channels)")
    if array.size == 0:
        raise InputError(f"{name}: no samples")
    if array.ndim == 2 and array.shape[1] > array.shape[0]:
        raise UsageError(f"{name}: shape {array.shape}, expected (samples, channels); transpose it")
    floats = np.ascontiguousarray(_scaled(array, name), np.float32)
    return floats if floats.ndim == 1 else floats.mean(axis=1)


def _array(samples: Any, name: str) -> np.ndarray:
    """Convert `samples` to an array of floats or integers."""
    try:
        array = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # rows of different lengths, a tensor on a GPU
        raise UsageError(f"{name}: {type(samples).__name__} that is no array, expected {_EXPECTED}") from None
    if array.dtype.kind not in "fiu":
        kind = type(samples).__name__
        found = f"{kind} of {array.dtype.name}" if isinstance(samples, (np.ndarray, list, tuple)) else kind
        raise UsageError(f"{name}: {found}, expected {_EXPECTED}")
    if array.dtype.kind != "f" and isinstance(samples, (list, tuple)) and array.size:
        kind = type(samples).__name__
        raise UsageError(f"{name}: a {kind} of integers has no full scale, expected a {kind} of floats or an array")
    return array


def _scaled(array: np.ndarray, name: str) -> np.ndarray:
    """Return floats as float32, and integers scaled to [-1, 1)."""
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a value too large for float32 becomes infinity, which callers refuse
            return array.astype(np.float32, copy=False)
    bits, unsigned = 8 * array.dtype.itemsize, array.dtype.kind == "u"
    if bits > 32 and array.any() and np.array_equal(array, array.astype(np.uint32 if unsigned else np.int32)):
        # NumPy converts a list of integers to int64, whose full scale is not the scale of the values
        raise UsageError(f"{name}: {array.dtype} of smaller values, convert it to the type they had: int16 or int32")
    # float32 holds up to 24 bits exactly; for wider unsigned integers float64 keeps the subtraction exact
    exact = array.astype(np.float64 if unsigned and bits > 16 else np.float32)
    middle, full_scale = (1 << bits - 1 if unsigned else 0), 1 << bits - 1
    return (exact - middle) / full_scale
