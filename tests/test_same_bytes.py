"""The same seed and text give the same bytes for any output, threads, chunks and batch, and in a used process."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
from helpers import CHECKPOINTS

from qwen3tts_cli import Synthesizer
from qwen3tts_cli.common.sample_conversion import to_pcm16
from qwen3tts_cli.speech.synthesizer import SpeakOptions

TEXT = (
    "Hello from two cores. The train leaves at seven o'clock, doesn't it? Nobody said a word, and then we went home. "
    * 2
)
SHORT = "The train leaves at seven o'clock, doesn't it?"
SEED = 20260101


@pytest.fixture(scope="module")
def want() -> np.ndarray:
    """The samples of the text from a synthesizer just opened, on one thread."""
    with Synthesizer.open(threads=1) as voice:
        return voice.say(TEXT, seed=SEED)


def spoken(**options) -> np.ndarray:
    with (
        Synthesizer.open(threads=options.pop("threads", 2)) as voice,
        voice.speak(TEXT, SpeakOptions(seed=SEED, **options)) as speech,
    ):
        return np.concatenate(list(speech))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("pipeline", [False, True])
def test_threads_and_modes(want, threads, live, pipeline):
    np.testing.assert_array_equal(spoken(threads=threads, live=live, pipeline=pipeline), want)


@pytest.mark.parametrize("chunk", [1, 3, 8, 64])
def test_chunk_sizes(want, chunk):
    np.testing.assert_array_equal(spoken(chunk_frames=chunk, live=True, pipeline=chunk % 2 == 0), want)


def test_repeated_and_concurrent_use():
    """Several threads use one synthesizer twice; each gets the samples that it gets alone."""
    with Synthesizer.open(threads=1) as voice:
        want = voice.say(SHORT, seed=SEED)
    with Synthesizer.open() as voice:
        out: dict[int, np.ndarray] = {}

        def speak(i: int) -> None:
            out[i] = voice.say(SHORT, seed=SEED + i % 2)

        for _ in range(2):
            workers = [threading.Thread(target=speak, args=(i,)) for i in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            for i in range(4):
                np.testing.assert_array_equal(out[i], out[i % 2])
            np.testing.assert_array_equal(out[0], want)
            assert not np.array_equal(out[1][: len(want)], want[: len(out[1])])


def test_an_inserted_sentence_changes_no_other_sentence():
    """Draws depend on the text of an utterance and not on its place."""
    first, second, new = (
        "We walked along the river until it got dark." + " It was late." * 6,
        "Nobody said a word, and then we went home." + " It rained." * 7,
        "Wait.",
    )
    with Synthesizer.open() as voice:
        alone = [voice.say(t, seed=3) for t in (first, new, second)]
        both = voice.say(f"{first}\n\n{second}", seed=3)
        three = voice.say(f"{first}\n\n{new}\n\n{second}", seed=3)
    np.testing.assert_array_equal(both, np.concatenate([alone[0], alone[2]]))
    np.testing.assert_array_equal(three, np.concatenate(alone))


def test_a_repeated_sentence_has_other_draws():
    sentence = "The train leaves at seven o'clock, and nobody knows why it does that every single day of the week."
    with Synthesizer.open() as voice:
        once, twice = (voice.say(t, seed=3) for t in (sentence, f"{sentence}\n\n{sentence}"))
    np.testing.assert_array_equal(twice[: len(once)], once)
    assert not np.array_equal(twice[len(once) :], once)


def say(tmp_path, *args: str) -> bytes:
    command = [sys.executable, "-m", "qwen3tts_cli", "say", TEXT, "--seed", str(SEED), "-q", *args]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=tmp_path).stdout


def test_command_line(want, tmp_path):
    pcm = bytes(to_pcm16(want))
    assert say(tmp_path, "--stream", "--raw") == pcm
    assert say(tmp_path, "--raw", "--threads", "1") == pcm
    assert say(tmp_path)[44:] == pcm
    assert say(tmp_path, "--stream", "--threads", "3")[44:] == pcm
    say(tmp_path, "-o", "out.wav")
    assert soundfile.read(tmp_path / "out.wav", dtype="int16")[0].tobytes() == pcm
    say(tmp_path, "-o", "out.raw", "--raw")
    assert (tmp_path / "out.raw").read_bytes() == pcm
    say(tmp_path, "-o", "float.wav", "--subtype", "FLOAT")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "float.wav", dtype="float32")[0], want)


@pytest.mark.parametrize("text_mode", ["full", "streaming"])
def test_text_modes_of_a_large_model_shape(text_mode):
    """The tiny CustomVoice has the features of 1.7B: a projection, instructions, dialects."""
    out = []
    for threads, chunk, pipeline in ((1, 0, False), (2, 2, True)):
        with Synthesizer.open(CHECKPOINTS / "tiny-customvoice", threads=threads) as voice:
            options = {"voice": "Eric", "instruct": "slowly", "max_frames": 40, "seed": 9, "text_mode": text_mode}
            out.append(voice.say("你好，世界。", **options, chunk_frames=chunk, pipeline=pipeline))
    np.testing.assert_array_equal(*out)
