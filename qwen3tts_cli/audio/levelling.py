"""One gain for each segment, so that the segments of a chapter are equally loud; and the fades at joins.

Loudness is the integrated loudness of EBU R128 (ITU-R BS.1770), of the segment alone. A gain never changes within a
segment: there is no compressor and no limiter.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from ..common.audio_constants import SAMPLE_RATE
from ..errors import InputError, UsageError

if TYPE_CHECKING:
    import numpy as np

SHORTEST_SECONDS = 0.4  # one block of EBU R128
MAX_GAIN_DB = 6.0
PEAK_DBFS = -1.0
LUFS_RANGE = (-50.0, -5.0)
_PEAK = 10 ** (PEAK_DBFS / 20)


def loudness_of(samples: np.ndarray) -> float | None:
    """The integrated loudness in LUFS, rounded to 0.01; None for less than 0.4 s, or if nothing is above -70 LUFS.

    samples: float32 of shape (n,), finite, full scale 1, 24 kHz. The library counts blocks in steps of 0.1 LU, so
    the value is right to about 0.05 LU. It is rounded, so that builds whose last bits differ give the same gains.
    """
    import loudness

    if samples.size < round(SHORTEST_SECONDS * SAMPLE_RATE):
        return None
    value = loudness.integrated_loudness(samples, SAMPLE_RATE)
    return round(value, 2) if math.isfinite(value) else None


def peak_of(samples: np.ndarray) -> float:
    """The largest magnitude of a sample, 0 for no samples. samples: float32 of shape (n,)."""
    import numpy as np

    return float(np.abs(samples).max(initial=0))


def segment_gains(loudness: list[float | None], peaks: list[float], *, lufs: float | None) -> list[float]:
    """The gain of each segment of a chapter: factors for the samples, in order.

    loudness: in LUFS, as loudness_of returns it. peaks: as peak_of returns them, before any gain. lufs: the loudness
    that the chapter gets, -50 to -5 LUFS; None: that of its median segment.
    A segment gets the gain to the median of the chapter, but at most 6 dB up or down; with `lufs` then one further gain
    for all, which is `lufs` minus the median. A segment whose peak would then exceed -1 dB of full scale gets less, so
    that it stays at -1 dB: it alone is quieter than `lufs` asks for, a peak of one segment does not make a book
    quieter. A segment without loudness gets the gain of the nearest segment that has one, of two equally near ones the
    earlier, and less if its own peak needs it. Peaks are those of samples, not between samples.
    Raises UsageError for `lufs` out of range, InputError for lists of different lengths.
    """
    if lufs is not None and not LUFS_RANGE[0] <= lufs <= LUFS_RANGE[1]:
        raise UsageError(f"lufs: {lufs}, expected {LUFS_RANGE[0]:.0f} to {LUFS_RANGE[1]:.0f}")
    if len(loudness) != len(peaks):
        raise InputError(f"levelling: {len(loudness)} loudness values for {len(peaks)} peaks")
    known = [(index, value) for index, value in enumerate(loudness) if value is not None]
    if not known:
        return [_limited(1.0, peak) for peak in peaks]
    middle = median(value for _, value in known)
    further = 0.0 if lufs is None else lufs - middle
    gains = {
        index: _limited(10 ** ((max(-MAX_GAIN_DB, min(MAX_GAIN_DB, middle - value)) + further) / 20), peaks[index])
        for index, value in known
    }
    order = _nearest(len(loudness), list(gains))
    return [_limited(gains[nearest], peak) for nearest, peak in zip(order, peaks, strict=True)]


def fade(samples: np.ndarray, ms: float = 5) -> np.ndarray:
    """A copy of shape (n,) that rises from zero and falls to zero, half a cosine of `ms` milliseconds at each end.

    samples: float32 of shape (n,), 24 kHz. Of a segment shorter than two fades each half is a fade.
    """
    import numpy as np

    faded = samples.copy()
    count = min(round(ms * SAMPLE_RATE / 1000), samples.size // 2)
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(count, 1))).astype(np.float32)
    faded[:count] *= ramp
    faded[samples.size - count :] *= ramp[::-1]
    return faded


def _limited(gain: float, peak: float) -> float:
    return min(gain, _PEAK / peak) if peak > 0 else gain


def _nearest(count: int, known: list[int]) -> list[int]:
    """For each index below `count` the nearest index of `known`, which is ascending and not empty."""
    found, at = [], 0
    for index in range(count):
        while at + 1 < len(known) and known[at + 1] - index < index - known[at]:
            at += 1
        found.append(known[at])
    return found
