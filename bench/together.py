"""Measure how streams share the engine: the speech that threads make together, and what a new stream costs the others.

    python bench/together.py MODEL [--clone MODEL] [--precision P] [--texts N] [--rounds N] [--joins N]

MODEL: a model with preset voices. --clone: a base model, for a voice cloned with its text. Random weights will do: the
lengths of the speeches are fixed. Prints for each measurement the median of the rounds and their spread; the rounds of
measurements that are compared with each other take turns.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from qwen3tts_cli import SpeakOptions, Synthesizer
from qwen3tts_cli.bench.sessions import Case, RowSessions
from qwen3tts_cli.cli import names_and_paths
from qwen3tts_cli.engine.model import Model

TEXT = "The train leaves at seven, and nobody said a word about it."
REFERENCE_TEXT = "It was late that evening, and the rain had not stopped for three days. " * 2
BATCH, FRAME_SECONDS = 8, 0.08
REFERENCE_SECONDS = 10


def spread(name: str, values: list[float], unit: str = "", digits: int = 3) -> float:
    """Print median, least and largest of the values; return the median."""
    middle = statistics.median(values)
    rest = f"({min(values):.{digits}f}-{max(values):.{digits}f}, n {len(values)})"
    print(f"{name}: {middle:.{digits}f}{unit} {rest}", flush=True)
    return middle


@contextmanager
def recorded_steps() -> Iterator[list[tuple[float, float, int, bool]]]:
    """Record (start, end, sessions, whether one of them still took in its prompt) of each step of a model."""
    steps: list[tuple[float, float, int, bool]] = []
    advance = Model.advance

    def recording(self: Model, sessions: Any, *budget: Any) -> Any:
        joins = any(session.info.rows_left or session.info.reference_left for session in sessions)
        start = time.perf_counter()
        try:
            return advance(self, sessions, *budget)
        finally:
            steps.append((start, time.perf_counter(), len(sessions), joins))

    Model.advance = recording  # type: ignore[method-assign]
    try:
        yield steps
    finally:
        Model.advance = advance  # type: ignore[method-assign]


def full_step_rate(steps: list[tuple[float, float, int, bool]]) -> float:
    """Seconds of speech in a second, over the times from a step in which eight sessions make a frame to the next."""
    pairs = [(a[0], b[0]) for a, b in itertools.pairwise(steps) if a[2] == b[2] == BATCH and not a[3]]
    return BATCH * FRAME_SECONDS * len(pairs) / sum(end - start for start, end in pairs)


def jobs(count: int) -> list[dict[str, Any]]:
    lengths = random.Random(7)
    return [{"text": TEXT, "seed": i, "max_frames": lengths.randint(40, 120), "retries": 0} for i in range(count)]


def by_threads(synthesizer: Synthesizer, items: list[dict[str, Any]]) -> float:
    """Seconds of speech in a second that eight threads make, each with one call of `say` after another."""
    left, made = list(items), []

    def speak() -> None:
        while left:
            try:
                item = left.pop(0)
            except IndexError:
                return
            made.append(len(synthesizer.say(**item)))

    start = time.perf_counter()
    threads = [threading.Thread(target=speak) for _ in range(BATCH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(made) / 24000 / (time.perf_counter() - start)


def by_say_many(synthesizer: Synthesizer, items: list[dict[str, Any]]) -> tuple[float, float]:
    """Seconds of speech in a second of `say_many`: over all, and in the steps with eight sessions."""
    with recorded_steps() as steps:
        start = time.perf_counter()
        made = synthesizer.say_many(items, batch=BATCH)
        seconds = time.perf_counter() - start
    return sum(map(len, made)) / 24000 / seconds, full_step_rate(steps)


def by_bench(synthesizer: Synthesizer, precision: str) -> float:
    """Seconds of speech in a second of a row of `bench --batch 8`, at the positions that the texts reach."""
    case = Case(precision, BATCH, synthesizer.threads, 80, 8)
    row = RowSessions(lambda: (synthesizer.model, "f32"), case, 1, 40)
    times = row.run()
    row.close()
    return BATCH * FRAME_SECONDS / statistics.mean(times.frame)


def throughput(synthesizer: Synthesizer, precision: str, texts: int, rounds: int) -> None:
    items = jobs(texts)
    threads, many, full, bench = [], [], [], []
    for _ in range(rounds):
        bench.append(by_bench(synthesizer, precision))
        both = by_say_many(synthesizer, items)
        many.append(both[0])
        full.append(both[1])
        threads.append(by_threads(synthesizer, items))
    print(f"speech per second, {texts} texts of 40 to 120 frames")
    spread("  bench --batch 8", bench)
    spread("  say_many, steps with eight sessions", full)
    spread("  say_many", many)
    spread("  eight threads of say", threads)
    spread("  eight threads / say_many", [a / b for a, b in zip(threads, many, strict=True)])
    spread("  say_many in steps of eight / bench", [a / b for a, b in zip(full, bench, strict=True)])


def live_streams(synthesizer: Synthesizer, stop: threading.Event, **options: Any) -> list[threading.Thread]:
    """Begin eight live streams, whose readers leave two seconds of audio for later."""

    def listen(seed: int) -> None:
        while not stop.is_set():
            settings = SpeakOptions(live=True, seed=seed, max_frames=2000, retries=0, **options)
            with synthesizer.speak(TEXT, settings) as speech:
                for _ in speech:
                    while speech.unread_seconds < 2 and not stop.is_set():
                        time.sleep(0.02)
                    if stop.is_set():
                        return

    threads = [threading.Thread(target=listen, args=(i,)) for i in range(BATCH)]
    for thread in threads:
        thread.start()
    return threads


def first_audio(synthesizer: Synthesizer, seed: int, **options: Any) -> float:
    """Milliseconds from the call of `stream` to its first samples."""
    start = time.perf_counter()
    with synthesizer.stream(TEXT, seed=seed, max_frames=30, retries=0, **options) as speech:
        next(speech)
        return 1000 * (time.perf_counter() - start)


def joins(synthesizer: Synthesizer, count: int, wait: Callable[[], float], **options: Any) -> None:
    """Measure the first audio of streams that join eight, at random moments, and the steps of the eight meanwhile."""
    first_audio(synthesizer, 0, **options)
    alone = spread("  first audio alone", [first_audio(synthesizer, i, **options) for i in range(count)], " ms", 0)
    stop, joined, longest, usual = threading.Event(), [], [], []
    threads = live_streams(synthesizer, stop, **options)
    try:
        time.sleep(15)
        for i in range(count):
            time.sleep(wait())
            with recorded_steps() as steps:
                time.sleep(1.5)
                begin = time.perf_counter()
                joined.append(first_audio(synthesizer, i, **options))
                time.sleep(1.0)
            shared = [step for step in steps if step[2] >= BATCH]
            before = [b[0] - a[0] for a, b in itertools.pairwise(shared) if b[0] < begin]
            during = [b[0] - a[0] for a, b in itertools.pairwise(shared) if b[0] >= begin]
            if before and during:
                longest.append(max(during) / statistics.median(before))
                usual.append(max(before) / statistics.median(before))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    together = spread("  first audio that joins eight", joined, " ms", 0)
    print(f"  ratio of the medians: {together / alone:.2f}")
    spread("  longest interval between two steps of the others / their median", longest, digits=2)
    spread("  the same in the time before, without a new stream", usual, digits=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--clone")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--joins", type=int, default=20)
    given = parser.parse_args()
    moments = random.Random(3)
    with Synthesizer.open(names_and_paths.model(given.model), precision=given.precision) as synthesizer:
        synthesizer.say(TEXT, max_frames=10, retries=0)
        synthesizer.finish_packing()
        if given.rounds:
            throughput(synthesizer, given.precision, given.texts, given.rounds)
        print("a preset voice joins eight live streams")
        joins(synthesizer, given.joins, lambda: moments.uniform(0.2, 1.0))
    if given.clone:
        with Synthesizer.open(names_and_paths.model(given.clone), precision=given.precision) as base:
            noise = np.random.default_rng(1).normal(0, 0.05, 24000 * REFERENCE_SECONDS).astype(np.float32)
            voice = base.clone((noise, 24000), REFERENCE_TEXT, name="measured", on_warning=lambda line: None)
            base.finish_packing()
            print(f"a voice cloned from {REFERENCE_SECONDS} s with its text joins eight live streams")
            joins(base, given.joins, lambda: moments.uniform(0.2, 1.0), voice=voice)


if __name__ == "__main__":
    main()
