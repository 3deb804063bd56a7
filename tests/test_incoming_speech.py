"""Speech of a text that is still coming, through the Python API: pieces of nothing but markup, and one utterance."""

from __future__ import annotations

import numpy as np
import pytest

from qwen3tts_cli.errors import UsageError
from qwen3tts_cli.speech.synthesizer import SpeakOptions, Synthesizer


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open() as opened:
        yield opened


def live(voice, pieces, **options):
    with voice.speak(iter(pieces), SpeakOptions(seed=1, idle_ms=0, **options)) as speech:
        return np.concatenate([np.empty(0, np.float32), *speech])


def test_a_sentence_of_nothing_but_markup_is_left_out(voice):
    with_markup = live(voice, ["One.\n\n<b></b>\n\n![](picture.png)\n\n", "Two."])
    np.testing.assert_array_equal(with_markup, live(voice, ["One.\n\n", "Two."]))
    with pytest.raises(UsageError, match="nothing to speak"):
        live(voice, ["<b></b>", "\n\n<i></i>"])


def test_a_text_that_is_not_split_is_one_utterance_of_any_length(voice):
    text = " ".join(["The train has gone, and we wait for the next one."] * 8)
    assert len(text) > 300
    whole = voice.say(text, seed=1, split=False, key="live:0")
    np.testing.assert_array_equal(live(voice, [*text], split=False), whole)
