"""The time stretch: pitch, length, smoothness, cuts and latency, on tones, pulses, noise and the embedded voice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3tts_cli import EngineError, Synthesizer
from qwen3tts_cli.engine.stretch import Stretch

RATE = 24000
LATENCY = 960  # 40 ms
SPEEDS = (0.25, 0.5, 0.8, 1.1, 1.5, 2.0, 4.0)
TEXT = (
    "Good morning. This is how I sound, on a quiet day and in a good mood. She measures the joy of a thousand voices."
)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Speech of the embedded voice, float32 of shape (n,)."""
    with Synthesizer.open() as voice:
        return voice.say(TEXT, seed=3)


def stretched(samples, speed, cuts=None):
    """The output for samples that are cut at the places `cuts`; every 1920 samples if it is None."""
    stretch = Stretch(speed)
    cuts = range(1920, len(samples), 1920) if cuts is None else cuts
    parts = [stretch.feed(part) for part in np.split(samples, cuts)]
    return np.concatenate([*parts, stretch.finish()])


def pitches(samples):
    """(place in samples, Hz) wherever the samples are voiced: the highest normalized autocorrelation from 60 to 400 Hz.

    Of lags that are almost as good, the shortest counts; the maximum is interpolated by a parabola.
    """
    window, lags, found = 1440, np.arange(RATE // 400, RATE // 60), []
    for at in range(0, len(samples) - 2 * window, 600):
        here = samples[at : at + window].astype(np.float64)
        there = np.lib.stride_tricks.sliding_window_view(samples[at : at + 2 * window].astype(np.float64), window)[lags]
        energy = np.sqrt((here @ here) * np.einsum("ij,ij->i", there, there)) + 1e-9
        similar = there @ here / energy
        best = np.flatnonzero(similar > 0.97 * similar.max())[0]
        while best + 1 < len(lags) and similar[best + 1] > similar[best]:
            best += 1
        if similar[best] > 0.85 and 0 < best < len(lags) - 1:
            before, peak, after = similar[best - 1 : best + 2]
            found.append((at, RATE / (lags[best] + (before - after) / (2 * (before - 2 * peak + after)))))
    return np.array(found)


@pytest.mark.parametrize("speed", SPEEDS)
def test_the_pitch_of_speech_stays(speech, speed):
    """Compared at places that say the same: the middle of the ratios, and the share of larger differences."""
    before, after = pitches(speech), pitches(stretched(speech, speed))
    assert len(after) > 0.5 * len(before) / speed
    nearest = np.abs(before[:, 0] - speed * after[:, :1]).argmin(axis=1)
    near = np.abs(before[nearest, 0] - speed * after[:, 0]) < 400
    ratios = after[near, 1] / before[nearest[near], 1]
    assert abs(np.median(ratios) - 1) < 0.01
    assert np.mean(np.abs(ratios - 1) > 0.1) < 0.1


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("hertz", [80, 150, 440, 1000, 3000])
def test_tones_keep_frequency_and_level_and_have_no_clicks(hertz, speed):
    tone = (0.5 * np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE)).astype(np.float32)
    out = stretched(tone, speed)
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)), 1 << 20))
    assert spectrum.argmax() * RATE / (1 << 20) == pytest.approx(hertz, rel=0.01)
    assert np.std(out) == pytest.approx(np.std(tone), rel=0.03)
    inner = out[: len(out) - 360 - int(660 / speed)]  # after it the end of the input may be mirrored
    assert np.abs(np.diff(inner, 2)).max() <= 1.2 * np.abs(np.diff(tone, 2)).max()
    assert np.abs(np.diff(out)).max() <= 1.3 * np.abs(np.diff(tone)).max()


@pytest.mark.parametrize("speed", SPEEDS)
def test_speech_keeps_level_and_has_no_clicks(speech, speed):
    out = stretched(speech, speed)
    assert len(out) == round(len(speech) / speed)
    assert np.std(out) == pytest.approx(np.std(speech), rel=0.05)
    assert np.abs(out).max() <= 1.1 * np.abs(speech).max()
    assert np.abs(np.diff(out)).max() <= 1.1 * np.abs(np.diff(speech)).max()


def test_the_content_is_in_its_place(speech):
    """The envelope of the output is that of the input, read at `speed`: no part is lost or said twice."""
    level = np.sqrt(np.convolve(speech**2, np.ones(1200) / 1200, "same"))
    for speed in SPEEDS:
        out = stretched(speech, speed)
        smooth = np.sqrt(np.convolve(out**2, np.ones(1200) / 1200, "same"))
        there = np.interp(np.arange(len(out)) * speed, np.arange(len(speech)), level)
        assert np.corrcoef(smooth, there)[0, 1] > (0.9 if speed <= 2 else 0.75)


@pytest.mark.parametrize("speed", [0.5, 0.97, 1.003, 1.5, 3.1])
def test_the_output_does_not_depend_on_the_cuts(speech, speed):
    rng, want = np.random.default_rng(5), stretched(speech, speed)
    for cuts in (
        [],
        range(1, len(speech), 97),
        np.sort(rng.integers(0, len(speech), 300)),
        [0, 0, 5, 5, len(speech), len(speech)],
    ):
        assert stretched(speech, speed, cuts).tobytes() == want.tobytes()


@pytest.mark.parametrize("speed", SPEEDS)
def test_the_output_lags_by_less_than_50_ms(speech, speed):
    stretch, fed, out = Stretch(speed), 0, 0
    for at in range(0, len(speech), 240):
        fed += len(part := speech[at : at + 240])
        out += len(stretch.feed(part))
        assert (fed - LATENCY) / speed - 1 <= out <= fed / speed
    assert LATENCY / RATE < 0.05


def test_speed_1_changes_no_sample(speech):
    assert stretched(speech, 1.0).tobytes() == speech.tobytes()


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.25, 4),
    st.integers(0, 4000),
    st.lists(st.integers(0, 4000), max_size=8),
    st.sampled_from([0.0, -0.0, 0.1, 1.0, 1e-44, 1e20, 3e38, np.nan, np.inf, -np.inf]),
    st.integers(0, 1000),
)
def test_any_samples_any_speed(speed, length, cuts, odd, seed):
    """The length is right for samples of any value, and the cuts do not matter."""
    rng = np.random.default_rng(seed)
    samples = (0.1 * rng.standard_normal(length)).astype(np.float32)
    samples[rng.random(length) < 0.3] = odd
    out = stretched(samples, speed, sorted(min(cut, length) for cut in cuts))
    assert len(out) == int(length / speed + 0.5)
    assert out.tobytes() == stretched(samples, speed, []).tobytes()
    if abs(odd) <= 1 or not np.isfinite(odd):
        assert np.isfinite(out).all()


@pytest.mark.parametrize("speed", [0, -1, 0.24, 4.01, float("nan"), float("inf")])
def test_other_speeds_are_refused(speed):
    with pytest.raises(EngineError, match="time stretch"):
        Stretch(speed)


def test_other_arrays_are_refused():
    stretch = Stretch(2)
    for samples in (np.zeros(4), np.zeros((2, 2), np.float32), np.zeros(8, np.float32)[::2], np.zeros(4, np.int16)):
        with pytest.raises(EngineError, match="expected"):
            stretch.feed(samples)
    assert len(stretch.finish()) == 0
    with pytest.raises(EngineError, match="time stretch"):
        stretch.feed(np.zeros(1, np.float32))
