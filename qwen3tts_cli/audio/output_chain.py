"""What happens to the samples of a speech after they are generated: its speed, its sample rate, its greatest length.

 samples at 24 kHz ──► time stretch ──► resampler ──► cut at max_seconds ──► samples at `rate`

A stage that changes nothing is left out. No stage depends on how the samples are cut into calls.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..common.audio_constants import SAMPLE_RATE

if TYPE_CHECKING:
    from ..engine.stretch import Stretch

# More samples of its input than a stage reads beyond the place of an output sample: the time stretch reads 930, the
# resampler up to 1754, which are half of its filter and a block of its transform at 8 kHz.
_STRETCH_AHEAD, _RESAMPLER_AHEAD = 960, 2400


def samples_needed(speed: float, rate: int, max_seconds: float) -> int:
    """How many generated samples determine the first `max_seconds` of the output. The arguments: see OutputChain."""
    stretched = round(max_seconds * rate) * SAMPLE_RATE / rate + (0 if rate == SAMPLE_RATE else _RESAMPLER_AHEAD)
    return math.ceil(stretched * speed) + (0 if speed == 1 else _STRETCH_AHEAD)


class Resampler:
    """Changes the sample rate of one stream of samples from 24 kHz to `rate`, with soxr's HQ resampler."""

    def __init__(self, rate: int) -> None:
        import soxr

        self._stream = soxr.ResampleStream(SAMPLE_RATE, rate, 1, dtype="float32", quality="HQ")

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Take samples, float32 of shape (n,). Returns the output that is complete: float32 of shape (m,)."""
        return self._stream.resample_chunk(samples)

    def finish(self) -> np.ndarray:
        """End the input. Returns the remaining output, float32 of shape (m,)."""
        return self._stream.resample_chunk(np.empty(0, np.float32), last=True)


class OutputChain:
    """The stages from generated samples to output samples, for one stream of samples.

    speed: 0.25 to 4; 2 makes speech half as long, at the same pitch. rate: the sample rate of the output in Hz.
    max_seconds: the output ends after max_seconds * rate samples, rounded; None: no limit. Attribute `was_cut`: whether
    samples were left out because of max_seconds.

    >>> chain = OutputChain(speed=1.5, rate=8000, max_seconds=10)
    >>> output = [*map(chain.feed, generated), chain.finish()]
    """

    def __init__(self, speed: float = 1.0, rate: int = SAMPLE_RATE, max_seconds: float | None = None) -> None:
        self._stages: list[Stretch | Resampler] = []
        if speed != 1:
            from ..engine.stretch import Stretch  # a command that changes no speed starts sooner without it

            self._stages.append(Stretch(speed))
        if rate != SAMPLE_RATE:
            self._stages.append(Resampler(rate))
        self._left = None if max_seconds is None else round(max_seconds * rate)
        self.was_cut = False

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Take generated samples, contiguous float32 of shape (n,) at 24 kHz.

        Returns the output that is complete, float32 of shape (m,): `samples` itself if there is nothing to do.
        Raises EngineError for another dtype or shape.
        """
        for stage in self._stages:
            samples = stage.feed(samples)
        return self._limited(samples)

    @property
    def is_full(self) -> bool:
        """Whether the output has all the samples of max_seconds."""
        return self._left == 0

    def finish(self) -> np.ndarray:
        """End the input. Returns the remaining output, float32 of shape (m,)."""
        samples = np.empty(0, np.float32)
        for stage in self._stages:
            samples = np.concatenate([stage.feed(samples), stage.finish()])
        return self._limited(samples)

    def _limited(self, samples: np.ndarray) -> np.ndarray:
        if self._left is None:
            return samples
        self.was_cut = self.was_cut or len(samples) > self._left
        samples = samples[: self._left]
        self._left -= len(samples)
        return samples
