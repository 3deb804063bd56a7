"""The one conversion from float samples to 16-bit PCM."""

from __future__ import annotations

import numpy as np


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """clip(round half even (x * 32767)).

    samples: (samples,) float32, full scale at 1. Returns a new (samples,) array of little-endian int16.
    """
    # The product of a float32 and 32767 is exact in float64, so the only rounding is the one asked for.
    scaled = np.asarray(samples, np.float32).astype(np.float64) * 32767.0
    return np.clip(np.rint(scaled), -32768, 32767).astype("<i2")
