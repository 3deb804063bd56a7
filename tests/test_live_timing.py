"""Text that comes slowly: how long the first audio takes, and whether playback runs dry."""

from __future__ import annotations

import os
import statistics
import time

import pytest
from helpers import CHECKPOINTS, allowed

from qwen3tts_cli.cli.commands.say_text import read_live
from qwen3tts_cli.common.audio_constants import SAMPLE_RATE
from qwen3tts_cli.speech.synthesizer import SpeakOptions, Synthesizer
from qwen3tts_cli.text.incoming_tokens import IncomingTokens

SENTENCE = "The last train has gone, and it is raining."
LONG = "This sentence has more words than the first thirteen tokens, with which its speech begins, and is quite long"
# The random weights of the tiny checkpoint never end an utterance.
OPEN_TEXT = {"max_frames": 40, "retries": 0, "text_mode": "streaming"}


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def tiny():
    with Synthesizer.open(CHECKPOINTS / "tiny-customvoice") as opened:
        yield opened


def first_audio_of_a_whole_text(synthesizer, text, **options) -> float:
    start = time.perf_counter()
    with synthesizer.speak(text, SpeakOptions(seed=1, live=True, **options)) as speech:
        speech.read()
        return time.perf_counter() - start


def first_audio_of_a_pipe(synthesizer, fifo, before, text, **options) -> float:
    """Seconds from the moment at which `text`, the second piece, is in the pipe to the first samples."""
    writer = os.open(fifo, os.O_RDWR)
    try:
        pieces, _ = read_live(str(fifo))
        with synthesizer.speak(pieces, SpeakOptions(seed=1, **options)) as speech:
            os.write(writer, before.encode())
            with pytest.raises(TimeoutError):  # it is not enough
                speech.read(timeout=0.05)
            os.write(writer, text.encode())
            start = time.perf_counter()
            speech.read()
            return time.perf_counter() - start
    finally:
        os.close(writer)


@pytest.mark.parametrize("opened", ["sentences", "open text"])
def test_the_first_audio_takes_as_long_as_that_of_a_whole_text(request, tmp_path, opened):
    fifo = tmp_path / "text"
    os.mkfifo(fifo)
    if opened == "sentences":
        synthesizer, whole, pieces, options = request.getfixturevalue("voice"), SENTENCE, (SENTENCE, " S"), {}
    else:
        synthesizer, whole, pieces, options = request.getfixturevalue("tiny"), LONG, (LONG[:20], LONG[20:]), OPEN_TEXT
    at_once, slowly = [], []
    for _ in range(11):
        at_once.append(first_audio_of_a_whole_text(synthesizer, whole, **options))
        slowly.append(first_audio_of_a_pipe(synthesizer, fifo, *pieces, idle_ms=0, **options))
    # 10 ms: a few changes of threads on a machine that does other work
    assert statistics.median(slowly) <= 1.5 * statistics.median(at_once) + allowed(0.01)


def seconds_without_audio(speech) -> tuple[float, float, float]:
    """(seconds in which playback waits for samples after it has begun, seconds of audio, seconds to the end).

    Playback is computed from the times at which the samples arrive.
    """
    played_to, dry, audio = None, 0.0, 0.0
    begin = time.perf_counter()
    for samples in speech:
        now = time.perf_counter()
        if played_to is not None and now > played_to:
            dry += now - played_to
        played_to = max(now, played_to or now) + len(samples) / SAMPLE_RATE
        audio += len(samples) / SAMPLE_RATE
    return dry, audio, time.perf_counter() - begin


def slowly(pieces, seconds):
    for piece in pieces:
        time.sleep(seconds)
        yield piece


def test_playback_of_sentences_does_not_run_dry_at_20_tokens_a_second(voice):
    text = "It is late, and it is raining. The last train has gone. We wait for the next one. It comes at six. "
    pieces = [text[i : i + 4] for i in range(0, len(text), 4)]  # some four characters are a token
    with voice.speak(slowly(pieces, 0.05), SpeakOptions(seed=1)) as speech:
        dry, audio, _ = seconds_without_audio(speech)
    assert audio > 3
    assert dry <= allowed(0.05)


def token_count(synthesizer, words) -> int:
    tokens = IncomingTokens(synthesizer.model.checkpoint.tokenizer)
    return sum(len(tokens.feed(word)) for word in words) + len(tokens.finish())


def test_playback_of_open_text_does_not_run_dry_at_20_tokens_a_second(tiny):
    words = [f" {word}" for word in (LONG + " and that is why it goes on and on").split()]
    tokens = token_count(tiny, words)
    seconds = 0.05 * tokens / len(words)
    options = SpeakOptions(seed=1, idle_ms=0, **{**OPEN_TEXT, "max_frames": tokens - 2})
    with tiny.speak(slowly(words, seconds), options) as speech:
        dry, audio, took = seconds_without_audio(speech)
    assert audio > 1.5
    assert took > (len(words) - 4) * seconds  # the text came while it was spoken
    assert dry <= allowed(0.05)


def test_text_slower_than_speech_pauses_the_sentence_unless_the_text_mode_is_full(tiny):
    words = [" ".join(LONG.split()[:7]), f" {LONG}"]
    first, tokens = token_count(tiny, words[:1]), token_count(tiny, words)
    assert first <= 25  # 2 s of audio
    pauses = {}

    def with_a_break(seconds):
        yield words[0]
        time.sleep(seconds)
        yield words[1]

    for mode in ("streaming", "full"):
        options = {**OPEN_TEXT, "text_mode": mode, "max_frames": tokens}
        with tiny.speak(with_a_break(3), SpeakOptions(seed=1, idle_ms=0, **options)) as speech:
            pauses[mode], audio, _ = seconds_without_audio(speech)
        assert round(audio / 0.08) == tokens
    assert pauses["streaming"] > 0.5
    assert pauses["full"] <= allowed(0.05)
