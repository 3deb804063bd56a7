"""Times of words, on speech of the embedded voice with silence put in at known places."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import pytest

from qwen3tts_cli.errors import UsageError
from qwen3tts_cli.hearing.word_times import Aligner

RATE = 24_000
FIRST, SECOND = "The captain opened it,", "and my sister sold apples."


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    pytest.importorskip("pocketsphinx", reason="pocketsphinx of the extra [align] is not installed")
    return Aligner.open()


@pytest.fixture(scope="module")
def say():
    from qwen3tts_cli.speech.synthesizer import Synthesizer

    with Synthesizer.open(threads=1) as synthesizer:
        yield cache(lambda text: synthesizer.say(text, seed=1))


def gap(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1e-4, round(seconds * RATE)).astype(np.float32)


def test_words_around_a_silence_that_was_put_in(aligner, say):
    first, second = say(FIRST), say(SECOND)
    times = aligner.align(np.concatenate([gap(0.4), first, gap(0.8), second, gap(0.3)]), f"{FIRST} {SECOND}")
    words, starts, ends = zip(*times, strict=True)
    assert list(words) == f"{FIRST} {SECOND}".split()
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    begins = 0.4 + first.size / RATE
    assert starts[0] == pytest.approx(0.4, abs=0.1)
    assert begins - 0.25 < ends[3] < begins + 0.1
    assert starts[4] == pytest.approx(begins + 0.8, abs=0.1)
    assert ends[-1] == pytest.approx(begins + 0.8 + second.size / RATE, abs=0.25)
    alone = aligner.align(second, SECOND)
    assert np.allclose([start + begins + 0.8 for _, start, _ in alone], starts[4:], atol=0.06)


def test_times_do_not_depend_on_earlier_segments(aligner, say):
    first, second = say(FIRST), say(SECOND)
    once = aligner.align(first, FIRST)
    aligner.align(0.05 * second, SECOND)
    assert aligner.align(first, FIRST) == once


def test_a_word_without_a_known_sound_has_no_times(aligner, say):
    text = "The queen Zyxquorra sold 42 apples — as usual."
    times = {word: (start, end) for word, start, end in aligner.align(say(text), text)}
    assert [word for word, (start, _) in times.items() if start is None] == ["Zyxquorra", "42"]
    assert "—" not in times
    assert times["queen"][1] + 0.2 < times["sold"][0]
    assert times["sold"][1] + 0.2 < times["apples"][0]


def test_a_genitive_and_a_compound(aligner, say):
    text = "The museum’s half-open window."
    times = aligner.align(say(text), text)
    assert [word for word, _, _ in times] == text.split()
    assert all(start is not None for _, start, _ in times)


@pytest.mark.parametrize("text", ["", "...", "42 1987", "Zyxquorra"])
def test_a_text_without_known_words_is_not_aligned(aligner, text):
    assert aligner.align(gap(2), text) is None


def test_samples_that_do_not_say_the_text_are_not_aligned(aligner, say):
    assert (
        aligner.align(say(FIRST), "It rained on every single day of that long and lonely summer in the north.") is None
    )
    assert aligner.align(say(FIRST), "Yes.") is None
    assert aligner.align(np.zeros(0, np.float32), FIRST) is None
    assert aligner.align(say(FIRST)[: RATE // 4], FIRST) is None
    assert aligner.align(np.zeros(RATE, np.float32), "Yes.") is None
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    assert aligner.align(noise, FIRST) is None


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(UsageError, match=r"pip install 'qwen3tts-cli\[align\]'"):
        Aligner.open()
