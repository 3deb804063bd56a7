"""The checks of the samples of a segment, on made signals and on the embedded voice; trimming."""

from __future__ import annotations

import numpy as np
import pytest

from qwen3tts_cli.hearing.segment_checks import check_segment, speech_windows, trim
from qwen3tts_cli.scheduling.guard import expected_seconds

RATE = 24_000
TEXT = "It is late, and the last train to the sea has left the station."


def tone(seconds: float, level: float = 0.2) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 180 * time) * (1 + 0.3 * np.sin(2 * np.pi * 4 * time))).astype(np.float32)


def quiet(seconds: float, level: float = 1e-4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def join(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    from qwen3tts_cli.speech.synthesizer import Synthesizer

    with Synthesizer.open(threads=1) as synthesizer:
        return synthesizer.say(TEXT, seed=1)


@pytest.mark.parametrize("factor", [1.0, 0.02, 4.0])
def test_speech_passes_at_any_level(spoken, factor):
    assert check_segment(np.clip(factor * spoken, -0.99, 0.99), text=TEXT) is None


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.empty(0, np.float32), "no speech: no samples"),
        (join(tone(1), np.array([np.nan], np.float32)), "no speech: samples that are not finite"),
        (join(tone(1), np.array([np.inf], np.float32)), "no speech: samples that are not finite"),
        (np.zeros(RATE, np.float32), "no speech: all of it is below -60 dB of full scale"),
        (quiet(2), "no speech: all of it is below -60 dB of full scale"),
        (np.full(RATE, 0.5, np.float32), "no speech: all of it is below -60 dB of full scale"),
        (np.full(10, 0.5, np.float32), "no speech: all of it is below -60 dB of full scale"),
    ],
)
def test_no_speech(samples, reason):
    assert check_segment(samples, text=TEXT) == reason


@pytest.mark.parametrize("level", [0.2, 0.01])
@pytest.mark.parametrize(("seconds", "fails"), [(1.3, False), (1.6, True)])
def test_silence_inside(spoken, level, seconds, fails):
    for speech in (tone(1.5, level), trim(spoken) * level):
        found = check_segment(join(speech, quiet(seconds, level * 5e-4), speech), text=TEXT)
        assert (found or "").startswith("silence: ") == fails
    assert check_segment(join(quiet(1.6, level * 5e-4), tone(2, level)), text="Go on.") is None


def test_a_hum_or_a_click_does_not_hide_silence():
    hum = quiet(2.0) + np.float32(0.3)  # a constant
    assert check_segment(join(tone(1.5) + np.float32(0.3), hum, tone(1.5) + np.float32(0.3)), text=TEXT) == (
        "silence: 2.0 s inside"
    )
    loud_click = np.full(200, 0.9, np.float32)
    samples = join(loud_click, tone(1.5, 0.02), quiet(2.0, 1e-6), tone(1.5, 0.02))
    assert check_segment(samples, text=TEXT) == "silence: 2.0 s inside"


@pytest.mark.parametrize(("clipped", "fails"), [(0.0005, False), (0.002, True)])
def test_clipping(clipped, fails):
    samples = tone(4)
    places = np.random.default_rng(0).choice(samples.size, round(clipped * samples.size), replace=False)
    for level in (1.0, -1.0, 1.7):
        samples[places] = level
        found = check_segment(samples, text=TEXT)
        assert found == ("clipping: 0.2 % of the samples are at full scale" if fails else None)


def test_dead_tail():
    needed = expected_seconds(TEXT)
    assert 3 < needed < 6
    assert check_segment(join(tone(needed), quiet(1.4)), text=TEXT) is None
    assert check_segment(join(tone(needed), quiet(1.7)), text=TEXT) == ("dead tail: 1.7 s of near-silence at the end")
    early = check_segment(join(tone(0.25 * needed), quiet(0.8)), text=TEXT)
    assert early.startswith("dead tail: 0.8 s of near-silence after ")
    assert check_segment(join(tone(0.25 * needed), quiet(0.4)), text=TEXT) is None
    assert check_segment(join(tone(0.5 * needed), quiet(0.8)), text=TEXT) is None
    # noise that is too loud to be silence, but no speech
    assert check_segment(join(tone(needed), quiet(1.7, 3e-3)), text=TEXT).startswith("dead tail: ")


def test_trim_leaves_20_ms():
    samples = join(quiet(0.5), tone(1.0), quiet(0.7, seed=1))
    trimmed = trim(samples)
    assert trimmed.base is not None
    first = int(np.flatnonzero(np.isclose(samples, trimmed[0]))[0])
    assert first == round(0.48 * RATE)
    assert trimmed.size == pytest.approx(1.04 * RATE, abs=0.011 * RATE)
    assert (samples[first : first + trimmed.size] == trimmed).all()


def test_trim_keeps_pauses_inside_and_what_has_no_silence(spoken):
    assert trim(tone(1)).size == RATE
    samples = join(quiet(0.3), tone(0.5), quiet(0.6), tone(0.5), quiet(0.3))
    assert trim(samples).size == pytest.approx(1.64 * RATE, abs=0.011 * RATE)
    padded = trim(join(quiet(1, 1e-6), spoken, quiet(1, 1e-6)))
    assert 0.9 * spoken.size < padded.size <= spoken.size + 0.04 * RATE
    assert trim(padded).size == padded.size


@pytest.mark.parametrize("samples", [np.empty(0, np.float32), np.zeros(5000, np.float32), quiet(1)], ids=len)
def test_trim_of_silence_is_empty(samples):
    assert trim(samples).shape == (0,)
    assert trim(samples).dtype == np.float32


def test_speech_windows_are_those_of_the_speech():
    found = speech_windows(join(quiet(0.5), tone(1.0), quiet(0.6), tone(0.5)))
    assert found.tolist() == [*range(50, 150), *range(210, 260)]
