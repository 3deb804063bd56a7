"""Whether the samples of a segment can be speech of its text, and where its speech begins and ends.

The runaway guard reads the codes while a segment is generated; these checks read the finished samples. Levels are those
of windows of 10 ms, without their mean. The level of the speech is the median of the 20 loudest windows,
so that neither a click nor a long silence moves it. docs/narrate_checks.md has the rate of false alarms.

* silence: more than 1.5 s in a row, between the first and the last speech, are 40 dB below the speech. Pauses at a
  comma or between sentences take less than 1 s.
* clipping: over 0.1 % of the samples are at full scale.
* dead tail: behind the last window that is less than 30 dB below the speech come more than 1.5 s; or more than 0.6 s
  where the speech took less than 0.35 of the time that the text needs at a usual pace, so that the text was not over.
* no speech: no samples, a sample that is not finite, or speech below -60 dB of full scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..common.audio_constants import SAMPLE_RATE
from ..scheduling.guard import expected_seconds

if TYPE_CHECKING:
    import numpy as np

_WINDOW_SECONDS = 0.01
_WINDOW = round(SAMPLE_RATE * _WINDOW_SECONDS)
_LOUDEST_WINDOWS = 20
_NO_SPEECH_DB = -60.0
_SILENCE_DB = -40.0  # against the level of the speech
_NEAR_SILENCE_DB = -30.0
_FLOOR_DB = -80.0  # against full scale: anything below is silence, also in very quiet speech

_LONGEST_SILENCE_SECONDS = 1.5
_LONGEST_TAIL_SECONDS = 1.5
_EARLY_TAIL_SECONDS = 0.6
_EARLY_SHARE = 0.35
_CLIPPED_LEVEL = 1 - 2.0**-15
_CLIPPED_SHARE = 0.001
_MARGIN_SECONDS = 0.02


class _Levels(NamedTuple):
    """windows: float64 of shape (n windows,), dB of full scale. speech: the level of the speech in dB."""

    windows: np.ndarray
    speech: float

    def within(self, decibels: float) -> np.ndarray:
        """The indices of the windows that are louder than `decibels` against the speech."""
        import numpy as np

        return np.flatnonzero(self.windows > max(self.speech + decibels, _FLOOR_DB))


def check_segment(samples: np.ndarray, *, text: str) -> str | None:
    """Why a segment cannot be speech of its text: one line that begins with the kind of the fault; None if it can.

    samples: float32 of shape (n,), full scale 1, 24 kHz, before `trim`. text: what is spoken in it.
    """
    import numpy as np

    if not samples.size:
        return "no speech: no samples"
    if not np.isfinite(samples).all():
        return "no speech: samples that are not finite"
    levels = _levels(samples)
    if levels.speech < _NO_SPEECH_DB:
        return f"no speech: all of it is below {_NO_SPEECH_DB:.0f} dB of full scale"
    clipped = np.count_nonzero(np.abs(samples) >= _CLIPPED_LEVEL) / samples.size
    if clipped > _CLIPPED_SHARE:
        return f"clipping: {100 * clipped:.2g} % of the samples are at full scale"
    loud = levels.within(_SILENCE_DB)
    longest = _WINDOW_SECONDS * float(np.diff(loud).max(initial=1) - 1)
    if longest > _LONGEST_SILENCE_SECONDS:
        return f"silence: {longest:.1f} s inside"
    return _dead_tail(levels, text)


def speech_windows(samples: np.ndarray) -> np.ndarray:
    """The indices of the windows of 10 ms that are less than 40 dB below the speech: ascending, of shape (k,).

    None (k = 0) if there is no speech. samples: float32 of shape (n,), finite, full scale 1, 24 kHz.
    """
    import numpy as np

    if not samples.size or (levels := _levels(samples)).speech < _NO_SPEECH_DB:
        return np.empty(0, np.int64)
    return levels.within(_SILENCE_DB)


def trim(samples: np.ndarray) -> np.ndarray:
    """The samples without the silence at both ends: a view of shape (m,), m <= n; of shape (0,) if there is no speech.

    20 ms before the first and behind the last of speech_windows stay. samples: as there.
    """
    loud = speech_windows(samples)
    if not loud.size:
        return samples[:0]
    margin = round(SAMPLE_RATE * _MARGIN_SECONDS)
    return samples[max(0, int(loud[0]) * _WINDOW - margin) : (int(loud[-1]) + 1) * _WINDOW + margin]


def _levels(samples: np.ndarray) -> _Levels:
    import numpy as np

    exact = samples.astype(np.float64)
    starts = np.arange(0, samples.size, _WINDOW)
    lengths = np.diff(starts, append=samples.size)
    means = np.add.reduceat(exact, starts) / lengths
    windows = 10 * np.log10(np.maximum(np.add.reduceat(exact * exact, starts) / lengths - means**2, 1e-20))
    loudest = np.sort(windows)[-_LOUDEST_WINDOWS:]
    return _Levels(windows, float(np.median(loudest)))


def _dead_tail(levels: _Levels, text: str) -> str | None:
    loud = levels.within(_NEAR_SILENCE_DB)
    tail = _WINDOW_SECONDS * float(levels.windows.size - 1 - loud[-1])
    if tail > _LONGEST_TAIL_SECONDS:
        return f"dead tail: {tail:.1f} s of near-silence at the end"
    spoken, needed = _WINDOW_SECONDS * float(loud[-1] + 1 - loud[0]), expected_seconds(text)
    if tail > _EARLY_TAIL_SECONDS and spoken < _EARLY_SHARE * needed:
        return f"dead tail: {tail:.1f} s of near-silence after {spoken:.1f} s of speech, the text takes {needed:.1f} s"
    return None
