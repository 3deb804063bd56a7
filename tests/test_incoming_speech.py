"""Speech of a text that is still coming, through the Python API: pieces of nothing but markup, and one utterance."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from helpers import CHECKPOINTS

from qwen3tts_cli.errors import UsageError
from qwen3tts_cli.speech.incoming import Flush
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


@pytest.mark.parametrize("asynchronous", [False, True])
def test_flush_ends_an_utterance(voice, asynchronous):
    pieces = ["One, two", Flush, " and three. Four", Flush, "."]

    async def heard():
        async def coming():
            for piece in pieces:
                yield piece

        return await voice.asay(coming(), seed=1, idle_ms=0)

    got = asyncio.run(heard()) if asynchronous else live(voice, pieces)
    np.testing.assert_array_equal(got, live(voice, ["One, two\n\nand three. Four\n\n."]))
    assert len(got) != len(live(voice, ["One, two and three. Four."]))


def test_a_long_text_does_not_stop_the_event_loop(voice):
    text = "It is late, and the last train has gone. " * 100

    async def turns_of_another_task():
        async def coming():
            yield text

        samples = voice.astream(coming(), seed=1, idle_ms=0)
        first = asyncio.ensure_future(anext(samples))
        turns = 0
        while not first.done():
            await asyncio.sleep(0)
            turns += 1
        await samples.aclose()
        return turns

    assert asyncio.run(turns_of_another_task()) > 20


@pytest.mark.parametrize("speed", [1.0, 1.5])
def test_spoken_texts_are_those_given_with_the_places_of_their_samples(voice, speed):
    amounts = "It is $1,234,567.89, then $7,654,321.98, and $9,876,543.21 at last."  # spelled out: three utterances
    given = ["Hello there. ", f"{amounts} ", "It costs", Flush, "$3.50."]
    seen = []
    with voice.speak(iter(given), SpeakOptions(seed=1, idle_ms=0, speed=speed)) as speech:
        speech.spoken_texts.on_text = seen.append
        samples = np.concatenate(list(speech))
    spoken = speech.spoken
    assert [each.text for each in spoken] == ["Hello there.", amounts, "It costs", "$3.50."]
    assert seen == spoken
    assert [each.start for each in spoken] == [0, *(each.end for each in spoken[:-1])]
    assert spoken[-1].end == pytest.approx(speech.seconds, abs=1 / 24000)
    if speed == 1:
        hello, costs = (samples[slice(*(round(at * 24000) for at in spoken[i][1:]))] for i in (0, 2))
        np.testing.assert_array_equal(hello, voice.say("Hello there.", seed=1, key="live:0"))
        np.testing.assert_array_equal(costs, voice.say("It costs", seed=1, key="live:4"))


def test_spoken_texts_of_an_open_text_and_of_a_text_given_at_once(voice):
    with Synthesizer.open(CHECKPOINTS / "tiny-customvoice") as tiny:
        options = SpeakOptions(seed=1, idle_ms=0, retries=0, max_frames=12, language="english", voice="ryan")
        with tiny.speak(iter(["Good mor", "ning to you", Flush, "and to them"]), options) as speech:
            list(speech)
        assert speech.spoken[0].text == "Good morning to you"
        assert speech.spoken[-1].end == speech.seconds
    with voice.speak("One. [pause:500ms] Two.", SpeakOptions(seed=1, markup=True)) as speech:
        list(speech)
    (one, two) = speech.spoken
    assert (one.text, two.text) == ("One.", "Two.")
    assert two.start == pytest.approx(one.end + 0.5)
    assert two.end == speech.seconds
