"""Speed, rate and max_seconds: the output chain by itself, and in the Python API."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from qwen3tts_cli import GenerationError, SpeakOptions, Synthesizer, UsageError
from qwen3tts_cli.audio.output_chain import OutputChain, samples_needed
from qwen3tts_cli.common.audio_constants import RATES
from qwen3tts_cli.speech import delivery
from qwen3tts_cli.speech.spoken import SpokenTexts

SAMPLES = (0.2 * np.random.default_rng(1).standard_normal(60_000)).astype(np.float32)
TEXT = (
    "Hello from two cores. The train leaves at seven o'clock, doesn't it? Nobody said a word." + " We went home." * 15
)
WAYS = ({}, {"speed": 1.5}, {"speed": 0.7, "rate": 44100}, {"speed": 4, "rate": 8000})


def through(chain, samples, cuts=()):
    parts = [chain.feed(part) for part in np.split(samples, cuts)]
    return np.concatenate([*parts, chain.finish()])


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def plain(voice):
    """The speech of TEXT at speed 1 and 24 kHz."""
    return voice.say(TEXT, seed=3)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("speed", [1, 0.5, 1.7])
def test_the_cuts_do_not_matter(rate, speed):
    want = through(OutputChain(speed, rate), SAMPLES)
    assert len(want) == pytest.approx(len(SAMPLES) / speed * rate / 24000, abs=1)
    rng = np.random.default_rng(2)
    for cuts in (range(1920, 60_000, 1920), range(7, 60_000, 501), np.sort(rng.integers(0, 60_000, 50)), [0, 60_000]):
        assert through(OutputChain(speed, rate), SAMPLES, cuts).tobytes() == want.tobytes()


def test_nothing_to_do_changes_nothing():
    chain = OutputChain()
    assert chain.feed(SAMPLES) is SAMPLES
    assert len(chain.finish()) == 0


@pytest.mark.parametrize("rate", RATES)
def test_the_rate_is_that_of_soxr(rate):
    want = SAMPLES if rate == 24000 else soxr.resample(SAMPLES, 24000, rate, quality="HQ")
    assert through(OutputChain(1, rate), SAMPLES, range(1920, 60_000, 1920)).tobytes() == want.tobytes()


@pytest.mark.parametrize("rate", RATES)
def test_tones_keep_their_frequency_at_every_rate_and_speed(rate):
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 24000)).astype(np.float32)
    for speed in (1, 1.5):
        out = through(OutputChain(speed, rate), tone)
        spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)), 1 << 20))
        assert spectrum.argmax() * rate / (1 << 20) == pytest.approx(440, rel=0.01)


@pytest.mark.parametrize("seconds", [0.001, 0.123, 0.5, 1.0, 2.0, 2.4])
@pytest.mark.parametrize("way", [{"speed": s, "rate": r} for s in (0.25, 1, 1.7, 4) for r in RATES], ids=str)
def test_max_seconds_is_a_prefix(seconds, way):
    """Also if no more samples are generated than are needed."""
    whole = through(OutputChain(**way), SAMPLES)
    rate = way.get("rate", 24000)
    for cuts in ((), range(1920, 60_000, 1920)):
        chain = OutputChain(**way, max_seconds=seconds)
        assert not chain.was_cut
        out = through(chain, SAMPLES, cuts)
        assert out.tobytes() == whole[: round(seconds * rate)].tobytes()
        assert chain.was_cut is (len(out) < len(whole))
        assert chain.is_full is (len(out) == round(seconds * rate))
    needed = samples_needed(way.get("speed", 1), rate, seconds)
    assert through(OutputChain(**way, max_seconds=seconds), SAMPLES[:needed]).tobytes() == out.tobytes()


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_every_way_of_speaking_gives_the_same_samples(voice, plain, way):
    """The whole text is one stream for the chain, though it is several utterances."""
    want = through(OutputChain(**way), plain)
    assert voice.say(TEXT, seed=3, **way).tobytes() == want.tobytes()
    for options in ({}, {"chunk_frames": 3, "pipeline": True, "batch": 1}):
        assert np.concatenate(list(voice.stream(TEXT, seed=3, **way, **options))).tobytes() == want.tobytes()
    one, two, three = voice.say_many([TEXT, {"text": "Two.", "speed": 2, "rate": 24000}, TEXT], seed=3, **way)
    assert one.tobytes() == three.tobytes() == want.tobytes()
    assert two.tobytes() == voice.say("Two.", seed=3, speed=2).tobytes()
    streamed = list(voice.stream_many([TEXT, "Two."], seed=3, **way))
    assert [index for index, _ in streamed] == sorted(index for index, _ in streamed)
    assert np.concatenate([pcm for index, pcm in streamed if index == 0]).tobytes() == want.tobytes()


def test_counters_and_codes(voice):
    facts = {}
    for way in WAYS:
        with voice.speak(TEXT, SpeakOptions(seed=3, live=True, **way)) as speech:
            assert speech.first_audio_seconds is None
            samples = next(speech)
            assert speech.first_audio_seconds > 0
            assert speech.samples == len(samples)
            total = len(samples) + sum(map(len, speech))
        rate, speed = way.get("rate", 24000), way.get("speed", 1)
        assert (speech.rate, speech.speed, speech.stop) == (rate, speed, "eos")
        assert speech.samples == total == pytest.approx(speech.frames * 1920 / speed * rate / 24000, abs=1)
        assert speech.seconds == total / rate
        facts[str(way)] = (speech.frames, speech.codes.tobytes())
    assert len(set(facts.values())) == 1


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("seconds", [0.01, 2.0])
def test_max_seconds_stops_the_speech(voice, plain, way, live, seconds):
    whole = through(OutputChain(**way), plain)
    limit = round(seconds * way.get("rate", 24000))
    with voice.speak(TEXT, SpeakOptions(seed=3, live=live, max_seconds=seconds, **way)) as speech:
        samples = np.concatenate(list(speech))
    assert samples.tobytes() == whole[:limit].tobytes()
    ends = len(whole) <= limit
    assert speech.stop == ("eos" if ends else "max_seconds")
    needed = samples_needed(way.get("speed", 1), way.get("rate", 24000), seconds)
    assert ends or speech.frames == -(-needed // 1920)  # no more frames than the last samples need
    assert len(speech.codes) == speech.frames


def test_the_smaller_limit_counts(voice):
    for limits, stop, samples in (
        ({"max_seconds": 1.0, "max_frames": 5}, "max_frames", 5 * 1920),
        ({"max_seconds": 0.25, "max_frames": 5}, "max_seconds", 6000),
        ({"max_seconds": 100}, "eos", None),
    ):
        with voice.speak("Good morning.", SpeakOptions(seed=1, **limits)) as speech:
            found = sum(map(len, speech))
        assert (speech.stop, found) == (stop, samples or speech.frames * 1920)


class _Speech:
    """What Delivery uses of a Speech."""

    def __init__(self, live=True):
        self.chain, self.plan = OutputChain(2.0), type("Plan", (), {"live": live})
        self.samples, self.stop, self.first_audio_seconds, self.notes = 0, "eos", 1.0, 0
        self.spoken_texts = SpokenTexts(2.0, None)

    def note_first_audio(self):
        self.notes += 1


@pytest.mark.parametrize("error", [GenerationError("no"), UsageError("no")])
def test_the_rest_comes_before_an_error(error):
    first, second, stopped = _Speech(), _Speech(live=False), []

    class Reader:
        """What Delivery uses of an InOrder."""

        found = iter([(first, SAMPLES[:3000]), (second, SAMPLES)])

        def poll(self, check):
            if (following := next(self.found, None)) is None:
                raise error
            return following

        def cancel(self):
            stopped.append(True)

    got, reading = [], delivery.Delivery(Reader())
    with pytest.raises(type(error)):
        got.extend(iter(lambda: reading.next(lambda: None), None))
    assert stopped
    assert reading.next(lambda: None) is None  # nothing follows an error
    assert [sum(len(pcm) for speech, pcm in got if speech is each) for each in (first, second)] == [1500, 30_000]
    assert (first.samples, second.samples) == (1500, 30_000)
    assert (first.notes, second.notes) == (1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 0.2}, "speed: found the float 0.2, expected a number from 0.25 to 4"),
        ({"speed": 4.1}, "speed"),
        ({"speed": None}, "speed"),
        ({"speed": "2"}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"rate": 11025}, "rate: found the int 11025, expected one of 8000, 16000, 22050, 24000, 44100, 48000"),
        ({"rate": 8000.0}, "rate"),
        ({"rate": None}, "rate"),
        ({"max_seconds": 0}, "max_seconds: found the int 0, expected a number from 0.001"),
        ({"max_seconds": float("inf")}, "max_seconds"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(UsageError) as caught:
        SpeakOptions(**options)
    assert message in str(caught.value)
