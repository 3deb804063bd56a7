"""Loudness, gains and fades."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qwen3tts_cli.audio.levelling import fade, loudness_of, peak_of, segment_gains
from qwen3tts_cli.errors import InputError, UsageError

RATE = 24_000


def decibels(gains: list[float]) -> list[float]:
    return [round(20 * math.log10(gain), 6) for gain in gains]


def sine(seconds: float, peak: float, frequency: float = 997) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_loudness_of_the_reference_signal():
    """EBU Tech 3341 and BS.1770: a 997 Hz sine of full scale in one channel has -3.01 LUFS."""
    assert loudness_of(sine(2, 1.0)) == pytest.approx(-3.01, abs=0.1)
    assert loudness_of(sine(2, 0.1)) == pytest.approx(-23.01, abs=0.1)
    assert loudness_of(sine(2, 0.1)) == round(loudness_of(sine(2, 0.1)), 2)


@pytest.mark.parametrize("seconds", [0, 0.1, 0.3999])
def test_a_short_segment_has_no_loudness(seconds):
    assert loudness_of(sine(seconds, 0.5)) is None
    assert loudness_of(sine(0.4, 0.5)) is not None


def test_silence_has_no_loudness():
    assert loudness_of(np.zeros(RATE, np.float32)) is None
    assert loudness_of(sine(1, 1e-4)) is None


def test_peak():
    assert peak_of(np.array([0.1, -0.7, 0.3], np.float32)) == pytest.approx(0.7)
    assert peak_of(np.empty(0, np.float32)) == 0


def test_gains_go_to_the_median_and_at_most_6_db():
    loudness = [-20.0, -23.0, -30.0, -12.0, -22.0]
    assert decibels(segment_gains(loudness, [0.1] * 5, lufs=None)) == [-2, 1, 6, -6, 0]
    assert decibels(segment_gains([-20.0, -24.0], [0.1] * 2, lufs=None)) == [-2, 2]


def test_levelled_segments_are_equally_loud():
    segments = [sine(1, peak) for peak in (0.1, 0.15, 0.19)]
    gains = segment_gains([loudness_of(each) for each in segments], [peak_of(each) for each in segments], lufs=-20)
    for segment, gain in zip(segments, gains, strict=True):
        assert loudness_of(segment * np.float32(gain)) == pytest.approx(-20, abs=0.1)


def test_short_segments_take_the_gain_of_the_nearest():
    loudness = [None, -20.0, None, None, None, -24.0, None]
    assert decibels(segment_gains(loudness, [0.1] * 7, lufs=None)) == [-2, -2, -2, -2, 2, 2, 2]
    assert decibels(segment_gains([-20.0, None, None, -24.0, -28.0, None, -22.0], [0.1] * 7, lufs=None)) == [
        -3, -3, 1, 1, 5, 5, -1,
    ]  # fmt: skip


def test_without_any_loudness_only_peaks_count():
    assert decibels(segment_gains([None, None], [0.5, 1.0], lufs=-16)) == [0, -1]
    assert segment_gains([], [], lufs=None) == []
    assert segment_gains([None], [0.0], lufs=None) == [1.0]


def test_peaks_stay_at_minus_1_db():
    # the second segment would get +4 dB, but its peak is -3 dB; the short one behind it gets no more than it
    peaks = [0.1, 10 ** (-3 / 20), 0.1, 10 ** (-0.5 / 20)]
    assert decibels(segment_gains([-20.0, -28.0, None, None], peaks, lufs=None)) == [-4, 2, 2, -0.5]


def test_lufs_moves_the_whole_and_limits_the_peaky_segment_alone():
    loudness, quiet = [-26.0, -27.0, -25.0], 10 ** (-12 / 20)
    peaks = [quiet, 10 ** (-6 / 20), quiet]
    assert decibels(segment_gains(loudness, peaks, lufs=-18)) == [8, 5, 7]
    # the 6 dB are those of levelling, not those of the whole
    assert decibels(segment_gains([-30.0, -30.0, -45.0], [0.01] * 3, lufs=-20)) == [10, 10, 16]


@pytest.mark.parametrize("lufs", [0, -60, math.nan])
def test_lufs_out_of_range(lufs):
    with pytest.raises(UsageError, match=r"lufs: .*, expected -50 to -5"):
        segment_gains([-20.0], [0.1], lufs=lufs)


def test_lists_of_different_lengths():
    with pytest.raises(InputError, match="2 loudness values for 1 peaks"):
        segment_gains([-20.0, None], [0.1], lufs=None)


def test_fade():
    samples = np.ones(RATE // 10, np.float32)
    faded = fade(samples)
    assert (samples == 1).all()
    assert faded.dtype == np.float32
    assert faded[0] < 0.001
    assert faded[-1] == faded[0]
    assert faded[60] == pytest.approx(0.5, abs=0.02)
    assert (np.diff(faded[:120]) > 0).all()
    assert (faded[120:-120] == 1).all()
    assert (fade(samples, ms=0) == 1).all()
    for size in (0, 1, 2, 7, 100):
        short = fade(np.ones(size, np.float32))
        assert short.shape == (size,)
        assert (short == short[::-1]).all()
