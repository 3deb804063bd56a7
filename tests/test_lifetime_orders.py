"""The class Lifetime, interrupted at any line by calls into it: nothing hangs and nothing is freed twice.

test_lifetimes.py tests the objects that use it.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import CHECKPOINTS, allowed

from qwen3tts_cli import Codec, Synthesizer
from qwen3tts_cli.common import lifetime
from qwen3tts_cli.common.forking import ForkedLock
from qwen3tts_cli.common.lifetime import Lifetime
from qwen3tts_cli.errors import EngineError

TEXT = "The train leaves at seven, and nobody said a word about it, since it was late that evening. " * 4


class Family:
    """Two parent objects with two children each. Records which thread uses which object, and what was freed."""

    def __init__(self) -> None:
        self.freed: list[str] = []
        self.wrong: list[str] = []
        self.used: set[str] = set()
        self.parents = [self.made(f"parent {i}") for i in range(2)]
        self.children = [self.made(f"child {i}") for i in range(4)]
        for i, child in enumerate(self.children):
            self.parents[i % 2].adopt(child)
        self.everybody = self.parents + self.children

    def made(self, name: str) -> Lifetime:
        def free() -> None:
            time.sleep(0)
            if name in self.used:
                self.wrong.append(f"{name} freed while it is used")
            self.freed.append(name)

        return Lifetime(name, free)

    def use(self, each: Lifetime, seconds: float) -> None:
        try:
            with each.alone():
                if each.what in self.used or each.what in self.freed:
                    self.wrong.append(f"{each.what} used by two, or after it was freed")
                self.used.add(each.what)
                self.used.discard(each.what)
        except EngineError:
            pass

    def act(self, rng: random.Random) -> None:
        each = rng.choice(self.everybody)
        if rng.random() < 0.04:
            each.close()
        else:
            self.use(each, rng.choice((0, 0, 0.0005)))

    def interrupted(self, rng: random.Random):
        """A trace function that calls into the module at random lines of it, like a signal handler or finalizer."""

        def trace(frame, event, _):
            if frame.f_code.co_filename != lifetime.__file__:
                return None
            if event == "line" and rng.random() < 0.03:
                sys.settrace(None)
                try:
                    self.act(rng)
                finally:
                    sys.settrace(trace)
            return trace

        return trace

    def work(self, seed: float) -> None:
        rng = random.Random(seed)
        sys.settrace(self.interrupted(rng))
        try:
            for _ in range(30):
                self.act(rng)
        finally:
            sys.settrace(None)


@pytest.mark.parametrize("seed", range(4))
def test_an_interrupt_at_any_line_hangs_nothing_and_frees_each_once(seed):
    rng = random.Random(seed)
    for _ in range(30):
        family = Family()
        threads = [threading.Thread(target=family.work, args=(rng.random(),), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(allowed(20))
            assert not thread.is_alive()
        for each in family.everybody:
            each.close()
        assert not family.wrong
        assert sorted(family.freed) == sorted(each.what for each in family.everybody)
        for i, child in enumerate(family.children):
            assert family.freed.index(child.what) < family.freed.index(family.parents[i % 2].what)


@pytest.fixture
def often():
    """Make Python switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_close_while_other_threads_open_children(often):
    for _ in range(20):
        parent, kept, wrong = Lifetime("parent", lambda: None), [], []

        def opening(parent=parent, kept=kept, wrong=wrong):
            try:
                while True:
                    child = Lifetime("child", lambda: None)
                    kept.append(child)
                    parent.adopt(child)
            except EngineError:
                pass
            except Exception as error:
                wrong.append(repr(error))

        threads = [threading.Thread(target=opening) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.001)
        parent.close()
        for thread in threads:
            thread.join(allowed(20))
            assert not thread.is_alive()
        assert not wrong
        assert parent._freed
        assert all(child._freed for child in kept)


def test_threads_that_wait_for_each_other_get_an_error():
    first, second = Lifetime("first", lambda: None), Lifetime("second", lambda: None)
    both, errors = threading.Barrier(2), []

    def crosswise(outer, inner):
        with outer.alone():
            both.wait()
            try:
                with inner.alone():
                    pass
            except EngineError as error:
                errors.append(str(error))

    threads = [
        threading.Thread(target=crosswise, args=pair, daemon=True) for pair in ((first, second), (second, first))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(allowed(20))
        assert not thread.is_alive()
    assert errors
    assert all("is in use by a thread that waits for this one" in error for error in errors)


def test_exclusive_calls_run_in_the_order_in_which_they_came():
    thing, order = Lifetime("thing", lambda: None), []

    def use(i):
        with thing.alone():
            order.append(i)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(6)]
    with thing.alone():
        for i, thread in enumerate(threads):
            thread.start()
            while len(thing._turns) < i + 2:
                time.sleep(0.001)
    for thread in threads:
        thread.join(allowed(20))
    assert order == list(range(6))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_during_a_free_does_not_wait_for_it():
    begun, go_on = threading.Event(), threading.Event()

    def free():
        begun.set()
        go_on.wait()

    thing = Lifetime("thing", free)
    closer = threading.Thread(target=thing.close)
    closer.start()
    begun.wait()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        thing.close()
        os._exit(0 if thing._freed else 1)
    _, status = os.waitpid(pid, 0)
    go_on.set()
    closer.join(allowed(20))
    assert os.waitstatus_to_exitcode(status) == 0
    assert thing._freed


# ---------------------------------------------------------------- freed without a garbage collection


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_stream_frees_its_sessions_with_its_last_reference(pipeline):
    with Synthesizer.open(threads=1) as voice:
        gc.collect()
        gc.disable()
        try:
            for i in range(5):
                for _ in voice.stream(TEXT, seed=i, pipeline=pipeline):
                    break
                for _ in voice.stream_many([TEXT, TEXT], seed=i, pipeline=pipeline, batch=2):
                    break
                next(voice.stream(TEXT, seed=i, pipeline=pipeline))
                voice.stream(TEXT, seed=i)
                voice.say("Hello.", seed=i)
                assert not [child.what for child in voice.model.lifetime._adopted() if not child._freed]
        finally:
            gc.enable()


def test_the_counters_of_a_speech_stay_after_its_end():
    with Synthesizer.open(threads=1) as voice:
        speech = voice.speak("Hello there.")
        chunks = list(speech)
    assert speech.samples == sum(map(len, chunks))
    assert len(speech.codes) == speech.frames


# ---------------------------------------------------------------- one decoder, several threads


def test_a_new_stream_does_not_disturb_a_decode_of_another_thread(often):
    with Codec.open(CHECKPOINTS / "tiny-base", threads=1) as codec:
        noise = np.random.default_rng(0).normal(0, 0.1, 24000).astype(np.float32)
        codes = np.tile(codec.encode(noise), (20, 1))  # more than one chunk
        want, errors, end = codec.decode(codes), [], time.monotonic() + 2

        def decode():
            while time.monotonic() < end and not errors:
                try:
                    assert np.array_equal(codec.decode(codes), want)
                except Exception as error:
                    errors.append(error)

        threads = [threading.Thread(target=decode) for _ in range(2)]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            next(codec.stream([codes]))
        for thread in threads:
            thread.join(allowed(20))
        assert not errors


# ---------------------------------------------------------------- interrupts


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no list of threads here")
def test_an_interrupt_while_a_model_is_opened_leaks_no_threads(monkeypatch):
    """An interrupt during the engine's call is raised when the call returns, before the next statement."""
    from qwen3tts_cli.engine import model as engine_model

    class Interrupted:
        def __getattr__(self, name):
            return getattr(engine_lib, name)

        def q3t_model_open(self, *arguments):
            engine_lib.q3t_model_open(*arguments)
            raise KeyboardInterrupt

    engine_lib = engine_model.lib
    gc.collect()
    before = len(list(Path("/proc/self/task").iterdir()))
    monkeypatch.setattr(engine_model, "lib", Interrupted())
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            Synthesizer.open(threads=4)
    gc.collect()
    assert len(list(Path("/proc/self/task").iterdir())) <= before


def test_a_lock_held_at_a_fork_can_be_released_in_the_child():
    lock = ForkedLock()
    with lock:
        lock.reset_after_fork()
    with lock:
        pass
