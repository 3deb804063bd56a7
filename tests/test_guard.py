"""The runaway guard: budgets from the text, loops and silence from the codes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from helpers import allowed, golden_rows, load_golden

from qwen3tts_cli.common.audio_constants import FRAME_SECONDS
from qwen3tts_cli.scheduling.guard import Guard, expected_seconds, frame_budget

UNLIMITED = 1 << 30


def speech(frames: int, seed: int = 0, codebook: int = 2048) -> np.ndarray:
    """Random codes as varied as sampled speech: int32 (frames, 16)."""
    return np.random.default_rng(seed).integers(0, codebook, (frames, 16)).astype(np.int32)


def feed(codes: np.ndarray, budget: int = UNLIMITED) -> tuple[str | None, int]:
    guard = Guard(budget)
    return guard.feed(codes), guard.good_frames


@pytest.mark.parametrize("row", golden_rows("pocket", "tts"), ids=lambda row: row["name"])
def test_golden_speech_is_well_within_its_budget(row):
    codes = load_golden("pocket", row)["codes"]
    budget = frame_budget(row["text"])
    assert 2.5 * len(codes) < budget < 8 * len(codes)
    assert feed(codes, budget) == (None, len(codes))


# A text and the seconds that a reader takes for it; slow readers are last.
@pytest.mark.parametrize(
    ("text", "slowest"),
    [
        ("Hi", 3),
        ("1次", 3),
        ("Hello world. This is a test of the speech engine, isn't it?", 9),
        ("其实我真的有发现,我是一个特别善于观察别人情绪的人。", 15),
        ("こんにちは、世界。今日はいい天気ですね。", 9),
        ("안녕하세요. 오늘 날씨가 좋네요.", 9),
        ("It cost $1,234.56 on 12/25/1999 at 14:05.", 20),
        ("NASA, IBM, HTML, CSS, URL, XML.", 18),
        ("Да, нет... может быть — завтра!", 9),
        ("3.14159265358979", 18),
    ],
)
def test_the_budget_allows_slow_speech_and_stops_babbling(text, slowest):
    assert slowest < frame_budget(text) * FRAME_SECONDS < 6 * slowest


def test_the_budget_grows_with_the_text_only():
    assert frame_budget("") == frame_budget("\u200b") == 50
    assert frame_budget("word " * 60) < 2.2 * frame_budget("word " * 30)
    assert frame_budget("a" + "!" * 1000) == frame_budget("a!")
    assert expected_seconds("ab\n") == expected_seconds("ba\n")
    start = time.process_time()
    assert frame_budget("word, 5 字 " * 100_000) > 1_000_000
    assert time.process_time() - start < allowed(2)


def test_more_frames_than_the_budget_trip_the_guard():
    assert feed(speech(100), 100) == (None, 100)
    assert feed(speech(101), 100) == ("budget", 100)
    with pytest.raises(ValueError, match="budget: 0 frames"):
        Guard(0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("codebook", [256, 2048])
def test_varied_codes_never_trip(seed, codebook):
    assert feed(speech(4000, seed, codebook)) == (None, 4000)


def test_few_values_in_most_groups_never_trip():
    codes = speech(3000, 3)
    codes[:, 1:] %= 4
    codes[:, 7:] = 17
    assert feed(codes) == (None, 3000)


def test_pauses_and_sustained_sounds_never_trip():
    rng = np.random.default_rng(5)
    parts = []
    for i in range(30):
        parts.append(speech(40, i))
        pause = speech(rng.integers(5, 45), 100 + i)
        pause[:, 0] = 7
        if i % 3 == 0:
            pause[:] = pause[0]
        parts.append(pause)
    assert feed(np.concatenate(parts))[0] is None


def test_a_repeated_phrase_is_no_loop():
    word = speech(12, 1)
    takes = [np.concatenate([word[:, :1], speech(12, 10 + i)[:, 1:]], axis=1) for i in range(40)]
    assert feed(np.concatenate(takes))[0] is None
    assert feed(np.concatenate([speech(40, 2), np.tile(word, (3, 1)), speech(40, 3)]))[0] is None


@pytest.mark.parametrize("period", [2, 3, 4, 5, 8, 13, 21, 34, 50])
@pytest.mark.parametrize("lead", [0, 1, 30, 200])
def test_loops_are_found(period, lead):
    codes = np.concatenate([speech(lead, 1), np.tile(speech(period, 2), (400 // period + 1, 1))])
    guard = Guard(UNLIMITED)
    assert guard.feed(codes) == "loop"
    assert guard.good_frames == lead + period
    needed = max(50, 3 * period)
    assert Guard(UNLIMITED).feed(codes[: lead + needed - 1]) is None
    assert Guard(UNLIMITED).feed(codes[: lead + needed]) == "loop"


def test_nearly_periodic_loops_are_found():
    rng = np.random.default_rng(0)
    codes = np.tile(speech(10, 2), (40, 1))
    for frame in range(0, len(codes), 2):
        codes[frame, rng.integers(1, 16)] = 2047
    codes[45] = speech(1, 9)[0]
    assert feed(np.concatenate([speech(20), codes]))[0] == "loop"


def test_loops_with_repeated_frames_are_found():
    assert feed(np.tile(np.repeat(speech(6, 2), 2, axis=0), (40, 1)))[0] == "loop"


def test_loops_in_a_voice_with_constant_groups():
    codes = np.tile(speech(9, 4, 256), (30, 1))
    codes[:, 7:] = 3
    assert feed(codes) == ("loop", 9)


@pytest.mark.parametrize("values", [1, 2, 3])
def test_long_silence_is_found(values):
    silence = speech(200, 8)
    silence[:, 0] = np.random.default_rng(1).integers(0, values, 200)
    assert feed(np.concatenate([speech(100), silence[:60]]))[0] is None
    reason, good = feed(np.concatenate([speech(100), silence]))
    assert reason == "silence"
    assert 100 <= good <= 105


def test_a_constant_frame_is_silence():
    assert feed(np.concatenate([speech(30), np.repeat(speech(1, 4), 80, axis=0)]))[0] == "silence"


@pytest.mark.parametrize("step", [1, 7, 64])
def test_the_result_does_not_depend_on_how_frames_are_fed(step):
    codes = np.concatenate([speech(55), np.tile(speech(7, 2), (40, 1))])
    whole, pieces = Guard(UNLIMITED), Guard(UNLIMITED)
    whole.feed(codes)
    for start in range(0, len(codes), step):
        pieces.feed(codes[start : start + step])
    assert (pieces.reason, pieces.good_frames) == (whole.reason, whole.good_frames) == ("loop", 62)
    assert pieces.feed(codes[:0]) == "loop"
    assert Guard(5).feed(codes[:0]) is None
    assert Guard(UNLIMITED).feed(codes[55:].tolist()) == "loop"


def test_a_frame_costs_microseconds():
    worst = speech(3000, 1)
    worst[:, 0] = np.arange(3000) % 4
    start = time.process_time()
    feed(worst)
    assert (time.process_time() - start) / 3000 < allowed(1e-3)


@pytest.mark.parametrize("frame_seconds", [0.02, 0.04, 0.08, 0.16])
def test_thresholds_are_seconds_for_any_frame_length(frame_seconds):
    """Five seconds of silence, or four of a loop, for frames of any length."""
    seconds = frame_budget("Hello.") * FRAME_SECONDS
    assert frame_budget("Hello.", frame_seconds) * frame_seconds == pytest.approx(seconds, abs=2 * FRAME_SECONDS)
    silent = np.zeros((round(20 / frame_seconds), 16), np.int32)
    guard = Guard(UNLIMITED, frame_seconds)
    frames = next(i for i, row in enumerate(silent) if guard.feed(row[None]) is not None) + 1
    assert guard.reason == "silence"
    assert frames * frame_seconds == pytest.approx(5, abs=2 * frame_seconds)
    period = speech(round(1 / frame_seconds))
    guard = Guard(UNLIMITED, frame_seconds)
    frames = next(i for i, row in enumerate(np.tile(period, (20, 1))) if guard.feed(row[None]) is not None) + 1
    assert guard.reason == "loop"
    assert frames * frame_seconds == pytest.approx(4, abs=2 * frame_seconds)
