"""Two hundred streams of all kinds at random, from threads and asyncio: bytes as alone, and nothing left over."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from helpers import CHECKPOINTS, POCKET, allowed

from qwen3tts_cli import Synthesizer
from qwen3tts_cli.errors import EngineError
from qwen3tts_cli.scheduling import attempts, loop, scheduler

TEXTS = (
    "No.",
    "Wait here.",
    "They came home.",
    "The train leaves at seven. Good night.",
    "Hm. Yes, I know. So it was late.",
)
FAILING_SEED = 99
READERS, TASKS = 5, 8  # threads that read, and tasks of the event loop at a time
LIVE_SECONDS, BULK_SECONDS = 0.6, 2


@dataclass(frozen=True)
class Case:
    """What is spoken. The other options change no byte. grows: whether the text comes in pieces."""

    text: str
    options: tuple[tuple[str, object], ...]
    grows: bool

    def arguments(self, **more):
        return {**dict(self.options), "idle_ms": 0, **more}


def a_case(rng, tiny):
    options = {"seed": rng.randrange(2)}
    if tiny:  # random weights do not end by themselves
        options.update(voice=rng.choice(("ryan", "vivian")), max_frames=rng.choice((5, 14)), retries=0)
        if rng.random() < 0.2:
            options.update(text_mode="full", greedy=True)
    elif rng.random() < 0.3:
        options["max_frames"] = rng.choice((4, 15))
    return Case(rng.choice(TEXTS), tuple(options.items()), rng.random() < 0.35)


def pieces(rng, text):
    while text:
        count = rng.randrange(1, 12)
        yield text[:count]
        text = text[count:]


class Run:
    """Streams of one synthesizer. expected: the samples of each case, spoken alone. wrong: what was not as promised."""

    def __init__(self, voice, expected, wrong):
        self.voice, self.expected, self.wrong = voice, expected, wrong
        self.kinds = []  # of the streams that have begun

    def check(self, case, chunks, whole=True):
        got, want = np.concatenate([np.empty(0, np.float32), *chunks]), self.expected[case]
        if not np.array_equal(got, want if whole else want[: len(got)]):
            self.wrong.append(f"other samples: {case}")

    def options(self, rng, case, live):
        how = {"batch": rng.choice((0, 1, 4)), "pipeline": rng.random() < 0.15, "live": live}
        return case.arguments(chunk_frames=rng.choice((0, 0, 3)), **how)

    def begin(self, rng, case, live):
        text = case.text
        if case.grows:
            text = (time.sleep(rng.random() * 0.01) or piece for piece in pieces(rng, case.text))
        return self.voice.stream(text, **self.options(rng, case, live))

    # ------------------------------------------------------------ what a thread does
    def read(self, rng, case):
        with self.begin(rng, case, rng.random() < 0.6) as stream:
            self.check(case, stream)

    def read_slowly(self, rng, case):
        with self.begin(rng, case, True) as stream:
            self.check(case, [time.sleep(rng.random() * 0.05) or pcm for pcm in stream])

    def read_with_timeouts(self, rng, case):
        chunks = []
        with self.begin(rng, case, rng.random() < 0.6) as stream:
            while True:
                try:
                    pcm = stream.read(timeout=rng.choice((0, 0.003, 0.02)))
                except TimeoutError:
                    continue
                if pcm is None:
                    break
                chunks.append(pcm)
        self.check(case, chunks)

    def cancel(self, rng, case):
        """Cancel in this or another thread, or close, or drop a stream, after some samples."""
        stream = self.begin(rng, case, True)
        chunks = list(itertools.islice(stream, rng.randrange(4)))
        how = rng.randrange(4)
        if how == 0:
            stream.close()
        elif how == 1:
            threading.Timer(rng.random() * 0.05, stream.cancel).start()
            try:
                chunks.extend(stream)
            except EngineError as error:
                if "closed" not in str(error):
                    self.wrong.append(f"error: {error}")
        elif how == 2:
            stream.cancel()
        self.check(case, chunks, whole=False)

    def many(self, rng, case):
        cases = [each for each in self.expected if not each.grows][: rng.randrange(1, 5)]
        items = [{"text": each.text, **dict(each.options)} for each in cases]
        heard = [[] for _ in cases]
        last = 0
        for index, pcm in self.voice.stream_many(items, batch=rng.choice((0, 1, 3))):
            if index < last:
                self.wrong.append("stream_many: not in order")
            last = index
            heard[index].append(pcm)
        for each, chunks in zip(cases, heard, strict=True):
            self.check(each, chunks)

    def fail(self, rng, case):
        """A job that fails in the engine loop, or a text whose source fails."""
        failing = {**self.options(rng, case, True), "seed": FAILING_SEED}
        text = case.text
        if rng.random() < 0.5:
            failing["seed"] = dict(case.options)["seed"]
            text = raising(pieces(rng, case.text))
        stream = self.voice.stream(text, **failing)
        try:
            for _ in stream:
                pass
        except ArithmeticError:
            return
        if stream.stop != "max_frames" or failing["seed"] == FAILING_SEED:  # the text is not read beyond the limit
            self.wrong.append("no error")

    # ------------------------------------------------------------ what a task does
    async def hear(self, rng, case):
        source = slowly(pieces(rng, case.text), rng) if case.grows else case.text
        speech = self.voice.astream(source, **self.options(rng, case, True))
        chunks = []
        async for pcm in speech:
            chunks.append(pcm)
            if rng.random() < 0.1:
                await asyncio.sleep(rng.random() * 0.05)
        self.check(case, chunks)

    async def asay(self, rng, case):
        source = slowly(pieces(rng, case.text), rng) if case.grows else case.text
        self.check(case, [await self.voice.asay(source, **self.options(rng, case, False))])

    async def cancel_task(self, rng, case):
        chunks = []

        async def hear():
            source = slowly(pieces(rng, case.text), rng) if case.grows else case.text
            async for pcm in self.voice.astream(source, **self.options(rng, case, True)):
                chunks.append(pcm)

        task = asyncio.create_task(hear())
        await asyncio.sleep(rng.random() * 0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.check(case, chunks, whole=False)

    async def time_out(self, rng, case):
        speech = self.voice.astream(case.text, **self.options(rng, case, True))
        if case.grows:  # its bytes are those of a text that comes in pieces
            speech = self.voice.astream([case.text], **self.options(rng, case, True))
        chunks = []
        try:
            while True:
                chunks.append(await asyncio.wait_for(anext(speech), rng.random() * 0.1))
        except (TimeoutError, asyncio.TimeoutError):  # wait_for has cancelled the iteration
            await speech.aclose()
            self.check(case, chunks, whole=False)
        except StopAsyncIteration:
            self.check(case, chunks)

    # ------------------------------------------------------------ all of them
    def work(self, numbers, seed):
        for number in numbers:
            rng = random.Random(f"{seed} {number}")
            kind = rng.choice((self.read, self.read, self.read_slowly, self.read_with_timeouts, self.cancel, self.many,
                               self.fail))  # fmt: skip
            self.one(kind, rng)

    def one(self, kind, rng):
        self.kinds.append(kind.__name__)
        try:
            return kind(rng, rng.choice(list(self.expected)))
        except Exception as error:
            self.wrong.append(f"{kind.__name__}: {type(error).__name__}: {error}")

    async def tasks(self, numbers, seed):
        async def work():
            for number in numbers:
                rng = random.Random(f"{seed} {number}")
                kind = rng.choice((self.hear, self.hear, self.asay, self.cancel_task, self.time_out))
                self.kinds.append(kind.__name__)
                try:
                    await kind(rng, rng.choice(list(self.expected)))
                except Exception as error:
                    self.wrong.append(f"{kind.__name__}: {type(error).__name__}: {error}")

        await asyncio.gather(*(work() for _ in range(TASKS)))

    def run(self, streams, seed):
        """Begin so many streams, from threads and from tasks. Returns whether all of them ended."""
        read, heard = iter(range(streams * 3 // 5)), iter(range(streams * 3 // 5, streams))
        threads = [threading.Thread(target=self.work, args=(read, seed), daemon=True) for _ in range(READERS)]
        threads.append(threading.Thread(target=lambda: asyncio.run(self.tasks(heard, seed)), daemon=True))
        for thread in threads:
            thread.start()
        end = time.monotonic() + allowed(120)
        for thread in threads:
            thread.join(max(0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)


def raising(texts):
    yield from texts
    raise ArithmeticError("no more text")


async def slowly(texts, rng):
    for text in texts:
        await asyncio.sleep(rng.random() * 0.01)
        yield text


def drive(monkeypatch, folder, streams, seed):
    """Speak so many random streams with the model in a folder, and check what the module promises."""
    rng, wrong = random.Random(seed), []
    absorb, step = attempts.Utterance.absorb_step, loop.Loop._step_model

    def failing(self, error, wait):
        if self.job.seed == FAILING_SEED and self.frames > 2:
            raise ArithmeticError("broken")
        absorb(self, error, wait)

    def checked(self, model, chosen, *more):
        for each in chosen:
            limit = LIVE_SECONDS if each.consumer.live else BULK_SECONDS
            if loop._is_next(each) and each.consumer.unread_samples() >= limit * 24000:
                wrong.append(f"a step for a reader that has {limit} s ahead")
        if len(set(chosen)) != len(chosen) or any(each.ended for each in chosen):
            wrong.append("a step with an ended session, or one twice")
        step(self, model, chosen, *more)

    with Synthesizer.open(folder, threads=1, cache=False) if folder != POCKET else Synthesizer.open(threads=1) as voice:
        expected = {}
        while len(expected) < 24:
            case = a_case(rng, folder != POCKET)
            text = [case.text] if case.grows else case.text
            expected[case] = np.concatenate(list(voice.stream(text, **case.arguments(live=case.grows))))
        monkeypatch.setattr(loop, "LIVE_AHEAD_SECONDS", LIVE_SECONDS)
        monkeypatch.setattr(loop, "BULK_AHEAD_SECONDS", BULK_SECONDS)
        monkeypatch.setattr(scheduler, "_IDLE_SECONDS", 0.1)
        monkeypatch.setattr(attempts.Utterance, "absorb_step", failing)
        monkeypatch.setattr(loop.Loop, "_step_model", checked)
        run = Run(voice, expected, wrong)
        assert run.run(streams, seed), f"seed {seed}: a reader waits forever; {wrong}"
        assert not wrong, f"seed {seed}: {wrong[:5]}"
        assert len(run.kinds) == streams
        assert len(set(run.kinds)) >= 8
        end = time.monotonic() + allowed(20)
        while time.monotonic() < end and (any(left(voice)) or new_threads()):
            time.sleep(0.02)
        assert left(voice) == (0, 0, None), f"seed {seed}"
        assert not new_threads()


def left(voice):
    """(open sessions, jobs in the loop, the scheduler's thread)."""
    sessions = sum(each.what == "session" and not each._freed for each in voice.model.lifetime._adopted())
    return sessions, len(voice.scheduler._loop.generations), voice.scheduler._thread


def new_threads():
    return [each for each in threading.enumerate() if each.name.startswith("qwen3tts")]


@pytest.mark.parametrize(
    ("folder", "streams"), [(CHECKPOINTS / "tiny-customvoice", 140), (POCKET, 60)], ids=["tiny", "pocket"]
)
def test_random_streams(monkeypatch, folder, streams):
    drive(monkeypatch, folder, streams, time.time_ns() % 1_000_000)


@pytest.mark.soak
@pytest.mark.parametrize("round_", range(10))
@pytest.mark.parametrize("folder", [CHECKPOINTS / "tiny-customvoice", POCKET], ids=["tiny", "pocket"])
def test_random_streams_for_long(monkeypatch, folder, round_):
    drive(monkeypatch, folder, 400, time.time_ns() % 1_000_000)
