"""The conversions of samples: any audio to float samples, and these to 16-bit PCM."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError, UsageError

_TAKEN = "floats or integers, (samples,) or (samples, channels)"


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """clip(round half even (x * 32767)).

    samples: (samples,) float32, full scale at 1. Returns a new (samples,) array of little-endian int16.
    """
    # The product of a float32 and 32767 is exact in float64, so the only rounding is the one asked for.
    scaled = np.asarray(samples, np.float32).astype(np.float64) * 32767.0
    return np.clip(np.rint(scaled), -32768, 32767).astype("<i2")


def to_float32(samples: Any, name: str = "samples") -> np.ndarray:
    """Audio of any type as contiguous (samples,) float32, full scale at 1; of channels the mean.

    samples: an array, or what NumPy makes one of: (samples,) or (samples, channels), floats of any width, or integers
    as libsndfile takes them: full scale is that of their type, 8 bits without a sign are around 128. A list is of
    floats. May return `samples` itself. Raises UsageError for another type or shape, InputError where there is nothing.
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
    """`samples` as an array of floats or integers."""
    try:
        array = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # rows of several lengths, a tensor of a GPU
        raise UsageError(f"{name}: {type(samples).__name__} that is no array, expected {_TAKEN}") from None
    if array.dtype.kind not in "fiu":
        kind = type(samples).__name__
        found = f"{kind} of {array.dtype.name}" if isinstance(samples, (np.ndarray, list, tuple)) else kind
        raise UsageError(f"{name}: {found}, expected {_TAKEN}")
    if array.dtype.kind != "f" and isinstance(samples, (list, tuple)) and array.size:
        kind = type(samples).__name__
        raise UsageError(f"{name}: a {kind} of integers has no full scale, expected a {kind} of floats or an array")
    return array


def _scaled(array: np.ndarray, name: str) -> np.ndarray:
    """Floats as they are, integers within [-1, 1)."""
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond float32 is infinite, which whoever takes samples refuses
            return array.astype(np.float32, copy=False)
    bits, unsigned = 8 * array.dtype.itemsize, array.dtype.kind == "u"
    if bits > 32 and array.any() and np.array_equal(array, array.astype(np.uint32 if unsigned else np.int32)):
        # what NumPy makes of lists of integers, of another full scale than that of the type
        raise UsageError(f"{name}: {array.dtype} of smaller values, convert it to the type they had: int16 or int32")
    # up to 24 bits float32 is exact; a middle is subtracted before anything is rounded
    exact = array.astype(np.float64 if unsigned and bits > 16 else np.float32)
    middle, full_scale = (1 << bits - 1 if unsigned else 0), 1 << bits - 1
    return (exact - middle) / full_scale
