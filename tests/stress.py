"""stress.py SECONDS SEED: speak, drop, stop, cancel, close and fork in random order, from threads and asyncio.

Asserts that all samples equal those of an undisturbed process, that every error is an EngineError with "closed",
"fork" or "in use", and that the process ends by itself with exit code 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np

from qwen3tts_cli import Codec, Synthesizer
from qwen3tts_cli.errors import EngineError

TESTS = Path(__file__).resolve().parent
BASE = TESTS / "data" / "checkpoints" / "tiny-base"
TEXTS = ("Hello.", "No.", "The train leaves at seven.", "Nobody said a word, and we all went home.")
LONG = " ".join(TEXTS) * 10
CHILD_SECONDS, ROUND_SECONDS = 60, 2.0
LIVE = 1000  # added to the seeds of the samples of a text that comes in pieces
EXPECTED = ("closed", "fork", "in use")


def pieces_of(rng: random.Random, text: str) -> Iterator[str]:
    while text:
        count = rng.randrange(1, 9)
        yield text[:count]
        text = text[count:]
        time.sleep(rng.random() * 0.005)


async def words_of(rng: random.Random, text: str) -> AsyncIterator[str]:
    for word in text.split(" "):
        await asyncio.sleep(rng.random() * 0.005)
        yield word + " " * (not text.endswith(word))


class Round:
    """One synthesizer and one codec, which all threads use until they are closed."""

    def __init__(self, rng: random.Random, quiet: dict[tuple[str, int], np.ndarray], failures: list[str]) -> None:
        self.voice = Synthesizer.open(threads=rng.randint(1, 3))
        self.codec = Codec.open(BASE, threads=rng.randint(1, 2))
        self.quiet, self.failures = quiet, failures
        self.end = time.monotonic() + ROUND_SECONDS
        self.shared: list[object] = []  # streams that any thread may read, close or drop

    def wrong(self, what: str) -> None:
        self.failures.append(what)
        self.end = 0

    def act(self, rng: random.Random) -> None:
        """Do one random thing. Raises EngineError if an object was closed."""
        text, seed = rng.choice(TEXTS), rng.randrange(4)
        rng.choice(ACTS)(self, rng, text, seed)

    def work_once(self, rng: random.Random) -> None:
        try:
            self.act(rng)
        except EngineError as error:
            if not any(word in str(error) for word in EXPECTED):
                self.wrong(f"error: {error}")
        except BaseException as error:
            self.wrong(f"{type(error).__name__}: {error}")

    def work(self, seed: float) -> None:
        rng = random.Random(seed)
        while time.monotonic() < self.end:
            self.work_once(rng)

    async def tasks(self, seed: float) -> None:
        rng = random.Random(seed)

        async def hear() -> None:
            text, seed = rng.choice(TEXTS), rng.randrange(4)
            comes = rng.random() < 0.5
            words = words_of(rng, text) if comes else text
            chunks = [pcm async for pcm in self.voice.astream(words, seed=seed, idle_ms=0)]
            if not np.array_equal(np.concatenate(chunks), self.quiet[text, seed + LIVE * comes]):
                self.wrong(f"astream: other samples of {text!r}")

        async def read() -> None:
            stream = self.voice.stream(LONG, seed=rng.randrange(100), pipeline=rng.random() < 0.2)
            try:
                for _ in range(rng.randrange(1, 20)):
                    await asyncio.to_thread(next, stream, None)
            finally:
                if rng.random() < 0.5:
                    stream.close()

        while time.monotonic() < self.end:
            some = [asyncio.create_task(rng.choice((read, hear))()) for _ in range(5)]
            await asyncio.sleep(rng.random() * 0.2)
            for task in some:
                if rng.random() < 0.7:
                    task.cancel()
            for result in await asyncio.gather(*some, return_exceptions=True):
                if isinstance(result, EngineError) and any(word in str(result) for word in EXPECTED):
                    continue
                if isinstance(result, Exception):
                    self.wrong(f"asyncio: {type(result).__name__}: {result}")


def say(r: Round, rng: random.Random, text: str, seed: int) -> None:
    pcm = r.voice.say(text, seed=seed, pipeline=rng.random() < 0.2, live=rng.random() < 0.3)
    if not np.array_equal(pcm, r.quiet[text, seed]):
        r.wrong(f"say: other samples of {text!r}")


def stream(r: Round, rng: random.Random, text: str, seed: int) -> None:
    """Read a part of a stream, then drop it, close it, make a reference cycle of it, or share it with other threads."""
    s = r.voice.stream(LONG, seed=seed, pipeline=rng.random() < 0.2, batch=rng.choice((0, 1, 4)))
    for _ in range(rng.randrange(4)):
        next(s, None)
    how = rng.randrange(5)
    if how == 0:
        s.close()
    elif how == 1:
        knot = [s, r.voice]
        knot.append(knot)
    elif how == 2:
        r.shared.append(s)
    elif how == 3:
        with contextlib.closing(s):
            next(s, None)


def incoming(r: Round, rng: random.Random, text: str, seed: int) -> None:
    """Speak a text that comes in pieces, from an iterator that a thread reads; leave some of them before their end."""
    s = r.voice.stream(pieces_of(rng, text), seed=seed, idle_ms=0, pipeline=rng.random() < 0.2)
    how = rng.randrange(4)
    if how == 0:
        next(s, None)
        return
    if how == 1:
        s.cancel()
    chunks = list(s)
    if not np.array_equal(np.concatenate(chunks), r.quiet[text, seed + LIVE]):
        r.wrong(f"incoming text: other samples of {text!r}")


def cancel(r: Round, rng: random.Random, text: str, seed: int) -> None:
    """Cancel a stream of this or another thread, or from a timer while it is read."""
    if r.shared and rng.random() < 0.5:
        with contextlib.suppress(IndexError):
            r.shared[rng.randrange(len(r.shared))].cancel()
        return
    s = r.voice.stream(LONG, seed=seed)
    next(s, None)
    timer = threading.Timer(rng.random() * 0.1, s.cancel)
    timer.daemon = True
    timer.start()
    for _ in s:
        pass


def others(r: Round, rng: random.Random, text: str, seed: int) -> None:
    """Read, close or drop a stream that another thread began."""
    with contextlib.suppress(IndexError):
        s = r.shared[rng.randrange(len(r.shared))] if r.shared and rng.random() < 0.7 else r.shared.pop()
        if rng.random() < 0.5:
            next(s, None)
        else:
            s.close()


def many(r: Round, rng: random.Random, text: str, seed: int) -> None:
    texts = [rng.choice(TEXTS) for _ in range(rng.randrange(1, 6))]
    if rng.random() < 0.5:
        for each, pcm in zip(texts, r.voice.say_many(texts, batch=rng.randrange(5), seed=seed), strict=True):
            if not np.array_equal(pcm, r.quiet[each, seed]):
                r.wrong(f"say_many: other samples of {each!r}")
        return
    for _ in r.voice.stream_many(texts, batch=rng.randrange(5), seed=seed):
        if rng.random() < 0.2:
            break


def code(r: Round, rng: random.Random, text: str, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.1, 6000).astype(np.float32)
    codes = r.codec.encode(noise)
    blocks = r.codec.stream([codes, codes])
    next(blocks)
    if rng.random() < 0.5:
        with contextlib.suppress(EngineError):  # another thread's stream has begun
            list(blocks)
    r.codec.decode(codes)


def collect(r: Round, rng: random.Random, text: str, seed: int) -> None:
    gc.collect(rng.randrange(3))


ACTS = (say, say, stream, stream, stream, others, many, code, collect, incoming, incoming, cancel)


def fork(r: Round, seed: int) -> None:
    """Fork a child, which speaks the same bytes or gets an EngineError about the fork or the close, and ends."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(CHILD_SECONDS)
        exit_code = 1
        try:
            exit_code = in_child(r, random.Random(seed))
        finally:
            os._exit(exit_code)
    _, status = os.waitpid(pid, 0)
    if (ended := os.waitstatus_to_exitcode(status)) != 0:
        r.wrong(f"child: exit {ended}")


def in_child(r: Round, rng: random.Random) -> int:
    text, seed = rng.choice(TEXTS), rng.randrange(4)
    for _ in range(2):
        try:
            if not np.array_equal(r.voice.say(text, seed=seed), r.quiet[text, seed]):
                return 3
        except EngineError as error:
            if not any(word in str(error) for word in ("fork", "closed")):
                return 4
    for s in list(r.shared):
        try:
            next(s)
            return 5
        except (EngineError, StopIteration):
            s.close()
    if rng.random() < 0.5:
        r.voice.close()
        r.codec.close()
    gc.collect()
    return 0


def one_round(rng: random.Random, quiet: dict[tuple[str, int], np.ndarray], failures: list[str]) -> None:
    r = Round(rng, quiet, failures)
    workers = [threading.Thread(target=r.work, args=(rng.random(),)) for _ in range(4)]
    seed = rng.random()
    workers.append(threading.Thread(target=lambda: asyncio.run(r.tasks(seed))))
    for worker in workers:
        worker.start()
    closing = time.monotonic() + rng.random() * ROUND_SECONDS * 1.2
    signal.signal(signal.SIGALRM, lambda *_: r.voice.close() if rng.random() < 0.3 else r.work_once(rng))
    signal.setitimer(signal.ITIMER_REAL, rng.random() * ROUND_SECONDS)
    while time.monotonic() < min(closing, r.end):
        time.sleep(rng.random() * 0.1)
        if rng.random() < 0.3:
            fork(r, rng.randrange(1 << 30))
        else:
            r.work_once(rng)
    signal.setitimer(signal.ITIMER_REAL, 0)
    if rng.random() < 0.8:
        r.voice.close()
        r.codec.close()
    for worker in workers:
        worker.join()


def main() -> int:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    faulthandler.enable()
    faulthandler.dump_traceback_later(seconds + 120, exit=True)
    rng, failures = random.Random(seed), []
    with Synthesizer.open(threads=1) as voice:
        quiet = {(text, n): voice.say(text, seed=n) for text in TEXTS for n in range(4)}
        for text, n in itertools.product(TEXTS, range(4)):
            quiet[text, n + LIVE] = np.concatenate(list(voice.stream([text], seed=n, idle_ms=0)))
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end and not failures:
        one_round(rng, quiet, failures)
        rounds += 1
    print(f"{rounds} rounds", *failures, sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
