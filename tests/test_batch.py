"""Utterances generated in a batch: equal to those generated alone, in order, within limits, also after errors."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers import Choosy, allowed

from qwen3tts_cli import Synthesizer
from qwen3tts_cli.engine.model import Model
from qwen3tts_cli.engine.session import Sampling, Session
from qwen3tts_cli.errors import EngineError, GenerationError, UsageError
from qwen3tts_cli.scheduling import attempts, loop, policy
from qwen3tts_cli.speech.synthesizer import SpeakOptions
from qwen3tts_cli.text.prompt import Prompt

PIECES = [
    "The train leaves at seven.",
    "No.",
    "Nobody said a word, and then we all went home in the rain, which had not stopped for three days or more.",
    "Wait.",
    "It was late that evening.",
    "Yes, I know that, and you know it, and so does everybody who has ever lived in a house by a river.",
    "Good night.",
    "Hm.",
    "They came.",
]
TEXT = "\n\n".join(PIECES)  # over 300 characters; each paragraph is an utterance of its own
SEED = 20260401


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open(threads=1) as opened:
        yield opened


def spoken(voice, text=TEXT, **options):
    """Speak a text: (samples, codes, stop)."""
    with voice.speak(text, SpeakOptions(**{"seed": SEED, **options})) as speech:
        pcm = np.concatenate([np.empty(0, np.float32), *speech])
    assert len(pcm) == speech.samples == speech.frames * 1920
    return pcm, speech.codes, speech.stop


def assert_same(got, want):
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])
    assert got[2] == want[2]


def piece_by_piece(voice, **options):
    """(samples, codes, stop) of all pieces, spoken one by one."""
    parts = [spoken(voice, piece, batch=1, **options) for piece in PIECES]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]), parts[-1][2]


@pytest.mark.parametrize("how", [{}, {"greedy": True}, {"live": True}, {"pipeline": True}, {"retries": 0}], ids=str)
def test_the_size_of_the_batch_changes_nothing(voice, how):
    want = piece_by_piece(voice, **how)
    for batch in (2, 8):
        assert_same(spoken(voice, batch=batch, **how), want)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_size_of_the_batch_changes_nothing_in_other_precisions(precision):
    with Synthesizer.open(precision=precision) as packed:
        want = piece_by_piece(packed)
        assert_same(spoken(packed, batch=8), want)
        assert_same(spoken(packed, batch=3, live=True), want)


@pytest.fixture
def choosy(monkeypatch):
    monkeypatch.setattr(attempts, "Guard", Choosy)


def test_retries_do_not_depend_on_the_batch(voice, choosy, monkeypatch):
    numbers = []
    monkeypatch.setattr(attempts, "retry_seed", lambda seed, attempt: numbers.append(attempt) or seed + attempt)
    want = piece_by_piece(voice, retries=50)
    assert max(numbers) > 0
    for batch in (1, 8):
        assert_same(spoken(voice, batch=batch, retries=50), want)


def test_utterances_beyond_max_frames_are_not_begun(voice, monkeypatch):
    """The first utterance is expected to use all the frames."""
    begun, begin = [], attempts.Utterance.begin
    monkeypatch.setattr(attempts.Utterance, "begin", lambda self: begun.append(self) or begin(self))
    spoken(voice, batch=8, max_frames=3)
    assert len(begun) == 1
    begun.clear()
    spoken(voice, batch=8)
    assert len(begun) == len(PIECES)


def test_max_frames_cuts_a_batch_as_it_cuts_single_utterances(voice, choosy, monkeypatch):
    """Cuts within an utterance, between two, and before and after the twelfth frame, at which the guard may trip."""
    alone = [spoken(voice, piece, retries=50, max_frames=1000) for piece in PIECES]
    ends = np.cumsum([len(codes) for _, codes, _ in alone])
    cuts = {1, 12, *ends[1:7:3], *(ends[:6:2] + 11), *(ends[:6:2] + 12), ends[-1] - 1, ends[-1], ends[-1] + 1}
    for frames in sorted(map(int, cuts)):
        left, parts, stop = frames, [], "eos"
        for piece, whole in zip(PIECES, alone, strict=True):
            if left == 0:
                stop = "max_frames"
                break
            # A limit beyond the frames of the utterance and of its failed attempts has no effect.
            part = whole if left > max(12, len(whole[1])) else spoken(voice, piece, retries=50, max_frames=left)
            parts.append(part)
            left, stop = left - len(part[1]), part[2]
        want = (*(np.concatenate([part[i] for part in parts]) for i in (0, 1)), stop)
        assert_same(spoken(voice, batch=8, retries=50, max_frames=frames), want)
        if frames % 4 == 0:
            live = {"live": True, "retries": 0, "max_frames": frames}
            assert_same(spoken(voice, batch=8, **live), spoken(voice, batch=1, **live))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("trip", [28, 31, 33])
@pytest.mark.parametrize("error", [False, True], ids=["guard", "error"])
def test_a_live_stream_never_repeats_samples(voice, monkeypatch, batch, trip, error):
    """The guard trips in the third utterance, or its step fails, before, at or after the end of its share of frames."""
    parts = [spoken(voice, piece) for piece in PIECES[:3]]
    left = 30
    limit = sum(len(codes) for _, codes, _ in parts[:2]) + left
    assert len(parts[2][1]) > 40
    assert max(len(codes) for _, codes, _ in parts[:2]) < 28
    steps, absorb = {}, attempts.Utterance.absorb_step

    class Late(Choosy):
        reason = property(lambda self: "loop" if not error and len(self.seen) >= trip else None)

    def failing(self, failure, wait):
        steps[self] = steps.get(self, 0) + 1
        return absorb(self, GenerationError("broken") if error and steps[self] == trip else failure, wait)

    monkeypatch.setattr(attempts, "Guard", Late)
    monkeypatch.setattr(attempts.Utterance, "absorb_step", failing)
    monkeypatch.setattr(policy.Policy, "pick", lambda self, sessions, times: ([*range(len(sessions))], None, False))
    heard = []
    try:
        heard.extend(voice.speak(TEXT, SpeakOptions(seed=SEED, live=True, max_frames=limit, batch=batch)))
    except GenerationError:
        assert trip <= left
    got = np.concatenate(heard)
    assert trip <= left or len(got) == limit * 1920
    np.testing.assert_array_equal(got, np.concatenate([pcm for pcm, _, _ in parts])[: len(got)])


def failed(voice, **options):
    """The samples before the failure of TEXT, and the error's message."""
    out = []
    with (
        voice.speak(TEXT, SpeakOptions(seed=SEED, **options)) as speech,
        pytest.raises((GenerationError, EngineError)) as caught,
    ):
        out.extend(speech)
    return np.concatenate([np.empty(0, np.float32), *out]), str(caught.value)


@pytest.mark.parametrize("live", [False, True])
def test_a_runaway_raises_in_its_turn(voice, monkeypatch, live):
    class Endless(Choosy):
        reason = property(lambda self: "loop" if len(self.seen) >= 40 else None)

    monkeypatch.setattr(attempts, "Guard", Endless)
    want, message = failed(voice, batch=1, live=live)
    assert PIECES[2][:40] in message
    before = np.concatenate([voice.say(piece, seed=SEED) for piece in PIECES[:2]])
    np.testing.assert_array_equal(want[: len(before)], before)
    assert len(want) - len(before) == (40 * 1920 if live else 0)
    for batch in (2, 8):
        got, told = failed(voice, batch=batch, live=live)
        np.testing.assert_array_equal(got, want)
        assert told == message


def test_an_error_of_one_session_leaves_the_others(voice, monkeypatch):
    """The third session fails at its fifth frame; the two utterances before it are complete."""
    step, opened = Model.advance, []

    def advance(self, sessions, *budget):
        opened.extend(s for s in sessions if s not in opened)
        errors = step(self, sessions, *budget)
        return [
            GenerationError("broken") if opened.index(s) == 2 and s.info.frames >= 5 else e
            for s, e in zip(sessions, errors, strict=True)
        ]

    want = np.concatenate([voice.say(piece, seed=SEED) for piece in PIECES[:2]])
    monkeypatch.setattr(Model, "advance", advance)
    for batch in (1, 4):
        opened.clear()
        got, message = failed(voice, batch=batch)
        np.testing.assert_array_equal(got, want)
        assert message == "broken"


def test_an_error_of_the_text_is_raised_in_its_turn(voice):
    with voice.speak(TEXT, SpeakOptions(seed=SEED, batch=4)) as speech:
        pieces = speech._prompts

        def broken():
            yield from itertools.islice(pieces, 3)
            raise UsageError("no such word")

        speech._prompts = broken()
        out = []
        with pytest.raises(UsageError, match="no such word"):
            out.extend(speech)
    np.testing.assert_array_equal(
        np.concatenate(out), np.concatenate([voice.say(piece, seed=SEED) for piece in PIECES[:3]])
    )


@pytest.fixture
def steps(monkeypatch):
    """The number of sessions in each step."""
    sizes, step = [], Model.advance

    def advance(self, sessions, *budget):
        sizes.append(len(sessions))
        return step(self, sessions, *budget)

    monkeypatch.setattr(Model, "advance", advance)
    return sizes


def test_sessions_join_and_leave_a_batch_between_steps(voice, steps):
    frames = len(spoken(voice, batch=4)[1])
    assert max(steps) == 4
    together, steps[:] = len(steps), []
    spoken(voice, batch=1)
    assert max(steps) == 1
    assert together < 0.6 * len(steps)
    assert frames <= len(steps)


def test_a_stream_begins_alone(voice, steps):
    with voice.speak(TEXT, SpeakOptions(seed=SEED, batch=8, live=True)) as speech:
        assert len(next(speech)) == 1920
    assert steps == [1]


def test_utterances_and_samples_ahead_are_limited(voice, steps, monkeypatch):
    """After a long utterance come endless short ones: few of them begin, and few of their samples wait."""
    begun, waiting = [0], [0]

    def items():
        yield {"text": PIECES[2] * 3, "split": False, "seed": 2}
        while True:
            begun[0] += 1
            yield {"text": "Yes, I know.", "seed": begun[0]}

    def samples_of_the_first():
        many = voice.stream_many(items(), batch=4)
        first = 0
        for index, pcm in many:
            if index > 0:
                break
            first += len(pcm)
        many.close()
        return first

    absorb_step = attempts.Utterance.absorb_step

    def watch(self, *arguments):
        absorb_step(self, *arguments)
        if self.text.startswith("Yes"):
            waiting[0] = max(waiting[0], self.unreleased_samples)

    monkeypatch.setattr(policy.Policy, "pick", lambda self, sessions, times: ([*range(len(sessions))], None, False))
    monkeypatch.setattr(attempts.Utterance, "absorb_step", watch)
    assert samples_of_the_first() > 5 * 24000
    assert begun[0] <= 2 * 4
    begun[0] = waiting[0] = 0
    steps.clear()
    monkeypatch.setattr(loop, "BULK_AHEAD_SECONDS", 6 * 0.08)
    samples_of_the_first()
    assert begun[0] <= 4
    assert 0 < waiting[0] <= (6 + policy.STEADY_CHUNK) * 1920
    assert steps.count(1) > 20


def test_a_long_text_is_split_only_as_needed(voice):
    book = TEXT * 20_000  # 6 MB
    start = time.process_time()
    with voice.speak(book, SpeakOptions(seed=1, batch=8, live=True)) as speech:
        for _ in range(20):
            next(speech)
    assert time.process_time() - start < allowed(20)


def test_say_many_equals_say(voice):
    items = [
        {"text": piece, "seed": i, "greedy": i == 4, "max_frames": 9 if i == 2 else None}
        for i, piece in enumerate(PIECES)
    ]
    want = [voice.say(**item) for item in items]
    for batch in (1, 3, 0):
        got = voice.say_many(items, batch=batch)
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
    streamed = list(voice.stream_many(iter(items), batch=4))
    assert [index for index, _ in itertools.groupby(i for i, _ in streamed)] == list(range(len(items)))
    for index, samples in enumerate(want):
        np.testing.assert_array_equal(np.concatenate([pcm for i, pcm in streamed if i == index]), samples)
    np.testing.assert_array_equal(voice.say_many([TEXT, "No."], seed=SEED)[0], piece_by_piece(voice)[0])
    assert voice.say_many([]) == []


def test_say_many_names_the_item_in_error(voice):
    for items, message in (
        ([{"seed": 1}], "item 0: no text"),
        (["Yes.", {"text": "No.", "voise": 1}], "item 1: voise: no such option"),
        (["Yes.", {"text": "No.", "voice": "nobody"}], "item 1: "),
    ):
        with pytest.raises(UsageError, match=message):
            voice.say_many(items, seed=1)
    heard = voice.stream_many(["No.", {"text": "..."}], seed=SEED)
    np.testing.assert_array_equal(
        np.concatenate([pcm for _, pcm in itertools.islice(heard, 3)])[:1920], voice.say("No.", seed=SEED)[:1920]
    )
    with pytest.raises(UsageError, match="item 1: nothing to speak"):
        list(heard)
    for wrong in ({"batch": 65}, {"batch": -1}, {"batch": 2, "seeds": 1}):
        with pytest.raises(UsageError):
            voice.stream_many(["No."], **wrong)


def test_several_threads_with_batches(voice):
    want, out = piece_by_piece(voice), {}

    def speak(i):
        out[i] = spoken(voice, batch=i + 2, live=i % 2 == 0)

    threads = [threading.Thread(target=speak, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(3):
        assert_same(out[i], want)


COMMAND = [sys.executable, "-m", "qwen3tts_cli", "say", "-q", "--seed", str(SEED)]


def say(*arguments, **how):
    done = subprocess.run([*COMMAND, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, **how)
    assert done.returncode == 0, done
    return done.stdout


def test_command_line(tmp_path):
    raw = say(TEXT, "--raw", "--batch", "1")
    assert say(TEXT, "--raw", "--stream", "--batch", "8", "--threads", "1") == raw
    facts = []
    for batch in ("1", "auto"):
        files = ["-o", "a.wav", "--codes", "a.npy", "--json", "a.json"]
        say(TEXT, *files, "--batch", batch, "--max-seconds", "6", cwd=tmp_path)
        facts.append(json.loads((tmp_path / "a.json").read_text()))
        assert (tmp_path / "a.wav").read_bytes()[44:] == raw[: 75 * 3840]
        assert len(np.load(tmp_path / "a.npy")) == facts[-1]["frames"] == 75
    assert facts[0]["pcm_sha256"] == facts[1]["pcm_sha256"]
    assert facts[0]["batch"] == 1 < facts[1]["batch"]
    assert facts[0]["stop"] == facts[1]["stop"] == "max_seconds"
    assert facts[1]["timings"]["talker_ms"] > 0


def test_an_interrupt_leaves_no_file(tmp_path):
    (tmp_path / "text").write_text(TEXT * 200)
    arguments = ["-f", "text", "-o", "a.wav", "--batch", "4"]
    process = subprocess.Popen([*COMMAND, *arguments], cwd=tmp_path, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(os.listdir(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 130
    assert os.listdir(tmp_path) == ["text"]


def test_a_reader_that_closes_the_pipe(tmp_path):
    arguments = [TEXT * 20, "--raw", "--stream", "--batch", "4"]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(200_000) == say(TEXT * 20, "--raw", "--batch", "8", "--max-seconds", "10")[:200_000]
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("late", "decoded"), [(4, {4: (8, 4), 12: (16, 12)}), (5, {3: (8, 0), 8: (13, 8), 16: (21, 16)})]
)
def test_decoders_of_a_batch_align(voice, late, decoded):
    """A session with half a chunk of frames decodes together with one that has a chunk, and from then on in each call.

    late: frames that the second session is behind the first. decoded: step -> decoded frames of both after it.
    """
    prompt = Prompt(np.arange(9, dtype=np.int32), np.full(9, -1, np.int32), np.zeros(0, np.int32), 0, [], [])
    options = {"talker": Sampling(), "predictor": Sampling(), "seed": 0, "key": 0, "max_frames": 40, "min_frames": 40}
    found, last = {}, (0, 0)
    with (
        Session(voice.model, prompt, chunk_frames=8, **options) as first,
        Session(voice.model, prompt, chunk_frames=8, **options) as second,
    ):
        for _ in range(late):
            voice.model.step([first])
        for step in range(1, 17):
            voice.model.step([first, second])
            first.read(), second.read()
            now = first.info.decoded, second.info.decoded
            if now != last:
                found[step] = last = now
    assert found == decoded
