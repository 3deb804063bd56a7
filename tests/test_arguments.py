"""The types of the Python API's arguments: NumPy scalars are accepted, other types are refused with name and type."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import CHECKPOINTS, POCKET

from qwen3tts_cli import SpeakOptions, Synthesizer
from qwen3tts_cli.audio.codec import Codec
from qwen3tts_cli.common import arguments
from qwen3tts_cli.errors import UsageError


class Seven:
    def __index__(self):
        return 7


class Loud:
    def __repr__(self):
        raise AssertionError("shown")

    __str__ = __repr__


def type_word(value):
    """The word for the type of a value in an error."""
    return {np.ndarray: "array", type(None): "None"}.get(type(value), type(value).__name__)


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open(POCKET, threads=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def base():
    with Synthesizer.open(CHECKPOINTS / "tiny-base", threads=2) as opened:
        yield opened


INTEGERS = ["seed", "top_k", "subtalker_top_k", "max_frames", "retries", "chunk_frames", "batch"]
NUMBERS = ["temperature", "top_p", "repetition_penalty", "subtalker_temperature", "subtalker_top_p"]
SWITCHES = ["greedy", "split", "live", "pipeline"]
TEXTS = ["ref_text", "design", "language", "instruct", "text_mode"]
WRONG = {
    "bytes": b"7",
    "list": [7],
    "dict": {"a": 1},
    "array": np.zeros((3, 4), np.float32),
    "object": Loud(),
    "type": int,
    "complex": 1j,
}


def refused(make, *words):
    with pytest.raises(UsageError) as caught:
        make()
    line = str(caught.value)
    for word in words:
        assert word in line
    assert len(line) < 400
    assert "\n" not in line
    return line


@pytest.mark.parametrize("value", [7, np.int64(7), np.uint8(7), np.int32(7), np.array(7), Seven()])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_accepted_from_numpy(name, value):
    taken = getattr(SpeakOptions(**{name: value}), name)
    assert (taken, type(taken)) == (7, int)


@pytest.mark.parametrize(
    "value", [1, 0.5, np.float32(0.5), np.float64(0.5), np.float16(0.5), np.int8(1), Fraction(1, 2)]
)
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_accepted_from_numpy(name, value):
    taken = getattr(SpeakOptions(**{name: value}), name)
    assert (taken, type(taken)) == (float(value), float)


@pytest.mark.parametrize("name", SWITCHES)
def test_booleans_and_texts_are_accepted_from_numpy(name):
    taken = getattr(SpeakOptions(**{name: np.bool_(True)}), name)
    assert taken is True
    for text in TEXTS:
        assert type(getattr(SpeakOptions(**{text: np.str_("full")}), text)) is str


@pytest.mark.parametrize(
    "value", [*WRONG.values(), True, np.bool_(True), 7.0, np.float64(7), "7", np.nan], ids=type_word
)
@pytest.mark.parametrize("name", INTEGERS)
def test_a_wrong_integer_is_refused_by_name_and_type(name, value):
    refused(lambda: SpeakOptions(**{name: value}), f"{name}: found ", type_word(value), "expected an integer from ")


@pytest.mark.parametrize(
    "value", [*WRONG.values(), True, np.bool_(True), "0.5", np.nan, np.inf, -1, 10**400], ids=type_word
)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_wrong_number_is_refused_by_name_and_type(name, value):
    refused(lambda: SpeakOptions(**{name: value}), f"{name}: found ", type_word(value), "expected a number from ")


@pytest.mark.parametrize("value", [*WRONG.values(), 1, 0.0, "yes", None], ids=type_word)
@pytest.mark.parametrize("name", SWITCHES)
def test_a_wrong_boolean_is_refused_by_name_and_type(name, value):
    refused(lambda: SpeakOptions(**{name: value}), f"{name}: found ", type_word(value), "expected True or False")


@pytest.mark.parametrize("value", [*WRONG.values(), 1, 0.5, True, Path("x")], ids=type_word)
@pytest.mark.parametrize("name", TEXTS)
def test_a_wrong_text_is_refused_by_name_and_type(name, value):
    refused(lambda: SpeakOptions(**{name: value}), f"{name}: found ", type_word(value), "expected a string")


@pytest.mark.parametrize("value", [*WRONG.values(), 1, 0.5, True], ids=type_word)
@pytest.mark.parametrize("name", ["voice", "ref_audio"])
def test_a_wrong_voice_or_recording_is_refused_by_name_and_type(name, value):
    refused(lambda: SpeakOptions(**{name: value}), f"{name}: found ", type_word(value))


SAMPLES = np.zeros(48000, np.float32)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            SAMPLES,
            "found an array of float32, shape (48000,), expected a pathlib.Path of a file, (samples, rate), ",
        ),
        ((SAMPLES,), "found a tuple of 1"),
        ((SAMPLES, 24000, 1), "found a tuple of 3"),
        ([SAMPLES, 24000], "found a list"),
        ("a.wav", "found the str 'a.wav'"),
        (b"a.wav", "found bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_recording_of_a_wrong_type_is_refused(base, value, message):
    refused(lambda: SpeakOptions(ref_audio=value), f"ref_audio: {message}"[:40], message)
    refused(lambda: base.clone(value), "audio: ", message)


def test_the_same_bytes_for_numpy_scalars(voice):
    want = voice.say("Hi.", seed=3, temperature=0.5, max_frames=4, greedy=False)
    options = {
        "seed": np.uint64(3),
        "temperature": np.float64(0.5),
        "max_frames": np.int16(4),
        "greedy": np.bool_(False),
    }
    np.testing.assert_array_equal(voice.say(np.str_("Hi."), **options), want)
    (got,) = voice.say_many(np.array(["Hi."]), batch=np.int64(2), **options)
    np.testing.assert_array_equal(got, want)
    largest = voice.say("Hi.", seed=np.uint64(2**64 - 1), top_k=2**31 - 1, max_frames=np.int64(2))
    assert len(largest) == 2 * 1920


@pytest.mark.parametrize("value", [None, *WRONG.values(), 5, 0.5, True], ids=type_word)
@pytest.mark.parametrize("method", ["say", "stream", "speak"])
def test_a_text_of_a_wrong_type_is_refused(voice, method, value):
    if isinstance(value, list) and method != "say":  # an iterable of texts, each of which is looked at in its turn
        with pytest.raises(UsageError, match="text: found a"):
            list(getattr(voice, method)(value))
        return
    refused(lambda: getattr(voice, method)(value), "text: found ", type_word(value), "expected a string")


@pytest.mark.parametrize(
    "value", ["Hello.", np.str_("Hello."), b"Hello.", {"text": "Hello."}, None, 5, np.array("a")], ids=type_word
)
@pytest.mark.parametrize("method", ["say_many", "stream_many"])
def test_items_that_are_not_iterable_are_refused_at_once(voice, method, value):
    expected = "expected an iterable of texts or mappings"
    refused(lambda: getattr(voice, method)(value), "items: found ", type_word(value), expected)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (b"No.", "item 1: found bytes, expected a text or a mapping"),
        (None, "item 1: found None, expected a text or a mapping"),
        (5, "item 1: found the int 5, expected a text or a mapping"),
        (["No."], "item 1: found a list, expected a text or a mapping"),
        (np.zeros(9), "item 1: found an array of float64, shape (9,), expected a text or a mapping"),
        ({}, "item 1: no text"),
        ({"text": None}, "item 1: no text"),
        ({"text": b"No."}, "item 1: text: found bytes, expected a string"),
        ({"text": "No.", "seed": 1.5}, "item 1: seed: found the float 1.5, expected an integer from 0"),
        ({"text": "No.", 5: 1}, "item 1: the int 5: no such option"),
        ({"text": "No.", "voise": 1}, "item 1: voise: no such option"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_item_of_a_wrong_type_is_refused_by_its_number(voice, item, message):
    refused(lambda: voice.say_many(["Yes.", item], seed=1, max_frames=2), message)


@pytest.mark.parametrize("batch", [1.0, True, "2", None, 65, -1])
def test_a_batch_of_a_wrong_type_is_refused(voice, batch):
    refused(lambda: voice.say_many(["Yes."], batch=batch), "batch: found ", "expected an integer from 0 to 64")


def test_options_of_a_wrong_type_are_refused(voice):
    refused(lambda: voice.speak("Hi.", {"seed": 1}), "options: found a dict, expected SpeakOptions")
    refused(lambda: voice.say("Hi.", seeds=1), "seeds: no such option")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": 5}, "model: found the int 5, expected a name, or a pathlib.Path"),
        ({"model": b"pocket"}, "model: found bytes"),
        ({"model": np.zeros(3)}, "model: found an array of float64, shape (3,)"),
        ({"precision": None}, "precision: found None"),
        ({"precision": "fp8"}, "precision: found the str 'fp8', expected one of auto, bf16, int8, int4"),
        ({"precision": np.zeros(3)}, "precision: found an array"),
        ({"decoder_precision": "bf16"}, "decoder_precision: found the str 'bf16', expected one of auto, f32"),
        ({"threads": 2.0}, "threads: found the float 2.0, expected an integer from 1 to 1024"),
        ({"threads": True}, "threads: found the bool True"),
        ({"threads": 0}, "threads: found the int 0"),
        ({"threads": "2"}, "threads: found the str '2'"),
        ({"progress": 5}, "progress: found the int 5, expected a function"),
    ],
)
def test_arguments_of_open_are_refused_by_name_and_type(options, message):
    refused(lambda: Synthesizer.open(**options), message)
    if not options.keys() & {"precision", "decoder_precision", "progress"}:
        refused(lambda: Codec.open(**{"model": POCKET, **options}), message)


def test_open_accepts_numpy_scalars():
    with Synthesizer.open(np.str_("pocket"), threads=np.int64(1), precision=np.str_("bf16")) as opened:
        assert opened.threads == 1
    with Codec.open(CHECKPOINTS / "tiny-base", threads=np.int32(1)) as codec:
        assert codec.threads == 1


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"name": 5}, "name: found the int 5, expected a text"),
        ({"name": None}, "name: found None"),
        ({"language": b"en"}, "language: found bytes"),
        ({"note": ["CC0"]}, "note: found a list"),
        ({"description": Loud()}, "description: found a Loud"),
        ({"nam": "x"}, "nam: no such argument; there are name, language, description, note"),
        ({"text": 5}, "text: found the int 5"),
    ],
)
def test_facts_of_a_clone_are_refused_by_name_and_type(base, facts, message):
    refused(lambda: base.clone((SAMPLES, 24000), **facts), message)


def test_any_value_is_described_shortly():
    for value in (*WRONG.values(), "x" * 10_000, 10**5000, -(10**5000), np.zeros(10**6), {i: i for i in range(9999)}):
        assert len(arguments.describe(value)) < 120
