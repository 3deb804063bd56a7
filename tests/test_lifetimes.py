"""Objects that are dropped, closed, interrupted or forked at any time: no crash, and an error that names the cause.

Code that could crash runs in a process of its own; see `survives`. tests/stress.py does the same at random.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import CHECKPOINTS, allowed, open_encoder, open_speaker

from qwen3tts_cli import Codec, Synthesizer
from qwen3tts_cli.common.lifetime import Lifetime
from qwen3tts_cli.engine.model import Model
from qwen3tts_cli.engine.session import Sampling, Session
from qwen3tts_cli.errors import EngineError
from qwen3tts_cli.models.sparse_rows import SparseRows
from qwen3tts_cli.speech.synthesizer import SpeakOptions

TEXT = "The train leaves at seven, and nobody said a word about it, since it was late that evening. " * 4
BASE = CHECKPOINTS / "tiny-base"
PRELUDE = """
import asyncio, gc, os, signal, sys, threading, time
import numpy as np
from qwen3tts_cli import Codec, Synthesizer
from qwen3tts_cli.errors import EngineError, Qwen3TTSError
TEXT = {text!r}
v = Synthesizer.open(threads=2)
def expect(call):
    try:
        call()
    except EngineError as error:
        assert "closed" in str(error), error
    else:
        raise AssertionError("no error")
"""


def survives(code: str, seconds: float = 60, quiet: bool = True) -> str:
    """Run code in a process of its own. Asserts exit code 0 and an empty stderr; returns stdout."""
    program = PRELUDE.format(text=TEXT) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", program],
        capture_output=True, text=True, timeout=allowed(seconds), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr[-3000:]}"
    assert not quiet or not any(word in done.stderr for word in ("Traceback", "ignored in")), done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def voice():
    with Synthesizer.open(threads=2) as opened:
        yield opened


# ---------------------------------------------------------------- streams that are dropped


def test_streams_dropped_together_in_one_collection():
    survives("""
        gc.disable()
        streams = [v.stream(TEXT, seed=i) for i in range(10)]
        for s in streams: next(s)
        streams.append(streams)
        del streams, s
        gc.collect()
        assert len(v.say("Hello.", seed=1))
    """)


def test_synthesizer_and_streams_in_one_cycle():
    survives("""
        streams = [v.stream(TEXT, seed=i, pipeline=bool(i % 2)) for i in range(6)]
        for s in streams: next(s)
        knot = [streams, v]
        knot.append(knot)
        del streams, s, knot, v
        gc.collect()
    """)


def test_three_hundred_streams_that_are_not_read_to_their_end():
    survives("""
        for i in range(300):
            for chunk in v.stream(TEXT, seed=i):
                break
    """)


def test_streams_open_at_the_end_of_a_with():
    survives("""
        with v:
            streams = [v.stream(TEXT, seed=i) for i in range(10)]
            for s in streams: next(s)
        for s in streams: expect(lambda: next(s))
        for s in streams: s.close()
    """)


def test_streams_open_at_the_end_of_the_process():
    survives("""
        streams = [v.stream(TEXT, seed=i, pipeline=bool(i % 2)) for i in range(10)]
        for s in streams: next(s)
        many = v.stream_many([TEXT] * 4, batch=4)
        next(many)
    """)


def test_a_daemon_thread_that_speaks_at_the_end_of_the_process():
    survives("""
        def speak():
            try:
                while True: v.say(TEXT)
            except EngineError: pass
        threading.Thread(target=speak, daemon=True).start()
        time.sleep(0.1)
    """)


def test_cancelled_asyncio_tasks():
    survives("""
        async def read(i):
            s = v.stream(TEXT, seed=i)
            try:
                while True: await asyncio.to_thread(next, s, None)
            finally:
                s.close()
        async def main():
            tasks = [asyncio.create_task(read(i)) for i in range(8)]
            await asyncio.sleep(0.2)
            for t in tasks: t.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                await asyncio.wait_for(asyncio.to_thread(v.say, TEXT * 20), 0.1)
            except asyncio.TimeoutError:
                v.close()
            else:
                raise AssertionError("it was quick")
        asyncio.run(main())
    """)


def test_a_stream_closed_by_another_thread_ends_at_the_next_frame(voice):
    stream = voice.stream(TEXT * 20, seed=1)
    caught = []

    def read():
        try:
            for _ in stream:
                pass
        except EngineError as error:
            caught.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.1)
    stream.close()
    reader.join(allowed(10))
    assert not reader.is_alive()
    assert caught == ["the stream is closed"]
    assert len(voice.say("Hello.", seed=1))


def test_two_threads_read_one_stream_in_turns(voice):
    want = voice.say(TEXT, seed=1, batch=1)
    stream, parts = voice.stream(TEXT, seed=1), []
    threads = [threading.Thread(target=lambda: parts.extend(stream)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(allowed(60))
    assert sum(map(len, parts)) == len(want)


# ---------------------------------------------------------------- closed objects


def test_every_call_of_a_closed_synthesizer_raises():
    opened = Synthesizer.open()
    fresh, begun = opened.stream(TEXT, seed=1), opened.stream(TEXT, seed=2)
    many_fresh, many = opened.stream_many([TEXT, TEXT]), opened.stream_many([TEXT, TEXT])
    next(begun), next(many)
    opened.close()
    opened.close()
    for call in (
        lambda: opened.say("Hello."),
        lambda: opened.stream("Hello."),
        lambda: opened.speak("Hello."),
        lambda: opened.say_many(["Hello."]),
        lambda: opened.stream_many(["Hello."]),
        lambda: opened.clone((np.zeros(48000, np.float32), 24000)),
        lambda: next(fresh),
        lambda: next(begun),
        lambda: next(begun),
        lambda: next(many_fresh),
        lambda: next(many),
        lambda: opened.model.position_bytes,
        lambda: opened.model.step([]),
    ):
        with pytest.raises(EngineError, match="closed"):
            call()


def test_a_stream_read_to_its_end_ends_again_after_close():
    with Synthesizer.open() as opened:
        stream = opened.stream("Hello.", seed=1)
        assert list(stream)
    assert list(stream) == []
    assert stream.stop == "eos"
    assert len(stream.codes) == stream.frames


def test_every_call_of_a_closed_session_raises(voice):
    session = open_session(voice.model)
    voice.model.step([session])
    other = open_session(voice.model)
    session.close()
    for call in (
        session.read,
        lambda: session.codes(0, 0),
        lambda: session.info,
        lambda: session.peek("HIDDEN", (1,)),
        lambda: voice.model.step([session]),
    ):
        with pytest.raises(EngineError, match="closed"):
            call()
    errors = voice.model.advance([session, other, other])  # each session has its own error, and the open one advances
    assert "closed" in str(errors[0])
    assert errors[1] is None
    assert "in use" in str(errors[2])
    assert other.info.frames == 1


def test_every_call_of_a_closed_codec_raises():
    codec = Codec.open(BASE)
    codes = codec.encode(np.zeros(4000, np.float32))
    stream = codec.stream([codes, codes])
    next(stream)
    encoder, decoder = codec.encoder, codec.decoder
    codec.close()
    codec.close()
    for call in (
        lambda: codec.encode(np.zeros(4000, np.float32)),
        lambda: codec.decode(codes),
        lambda: list(codec.stream([codes])),
        lambda: next(stream),
        lambda: encoder.encode(np.zeros(4000, np.float32)),
        lambda: decoder.decode(codes),
        lambda: codec.encoder,
        lambda: codec.decoder,
    ):
        with pytest.raises(EngineError, match="closed"):
            call()


def open_session(model: Model, **options) -> Session:
    from qwen3tts_cli.text.prompt import build_prompt

    prompt = build_prompt(
        model.config, model.checkpoint.tokenizer, "Hello there.", language="english", speaker=None, text_mode="full"
    )
    greedy = Sampling(greedy=True)
    return Session(model, prompt, talker=greedy, predictor=greedy, seed=0, key=0, max_frames=50, **options)


# ---------------------------------------------------------------- closing during a call of another thread


@pytest.mark.parametrize("how", ["say", "stream", "say_many", "pipeline"])
def test_close_while_another_thread_speaks(how):
    survives(f"""
        how = {how!r}
        def speak(v, caught):
            try:
                if how == "say_many": v.say_many([TEXT] * 50, batch=4)
                elif how == "stream": [None for _ in v.stream(TEXT * 50)]
                else: v.say(TEXT * 50, pipeline=how == "pipeline")
            except EngineError as error:
                caught.append(str(error))
        for delay in range(12):
            with Synthesizer.open(threads=2) as v:
                caught = []
                threads = [threading.Thread(target=speak, args=(v, caught)) for _ in range(2)]
                for t in threads: t.start()
                time.sleep(0.003 * delay)
            for t in threads: t.join()
            assert len(caught) == 2 and all("closed" in c for c in caught), caught
    """)


def refused(voice):
    with pytest.raises(EngineError, match="closed"):
        voice.say(TEXT * 50)


def test_close_from_many_threads_at_once(voice):
    threads = [threading.Thread(target=voice.close) for _ in range(8)]
    speaker = threading.Thread(target=refused, args=(voice,))
    speaker.start()
    time.sleep(0.05)
    for thread in threads:
        thread.start()
    for thread in [*threads, speaker]:
        thread.join(allowed(20))
        assert not thread.is_alive()


def test_close_returns_after_the_running_step(voice):
    """`close` waits for the step that is running, and no step begins afterwards."""
    inside, step = [], Model.advance
    speaker = threading.Thread(target=refused, args=(voice,))

    def advance(self, sessions, *budget):
        inside.append(time.perf_counter())
        try:
            return step(self, sessions, *budget)
        finally:
            inside.append(time.perf_counter())

    Model.advance = advance
    try:
        speaker.start()
        while not inside:
            time.sleep(0.001)
        start = time.perf_counter()
        voice.close()
        end = time.perf_counter()
        speaker.join(allowed(10))
    finally:
        Model.advance = step
    assert end - start < allowed(2)
    assert voice.model.lifetime._freed


def test_close_of_a_codec_during_decode_and_encode():
    survives(f"""
        from pathlib import Path
        folder = Path({str(BASE)!r})
        samples = np.random.default_rng(0).normal(0, 0.1, 24000 * 60).astype(np.float32)
        with Codec.open(folder) as codec: codes = np.tile(codec.encode(samples[:24000]), (60, 1))
        for delay in range(8):
            for call in ("encode", "decode", "stream"):
                codec = Codec.open(folder, threads=2)
                caught = []
                def run():
                    try:
                        while True:
                            if call == "encode": codec.encode(samples)
                            elif call == "decode": codec.decode(codes)
                            else:
                                try: list(codec.stream([codes] * 9))
                                except EngineError as error:
                                    if "another stream has begun" not in str(error): raise
                    except EngineError as error:
                        caught.append(str(error))
                threads = [threading.Thread(target=run) for _ in range(2)]
                for t in threads: t.start()
                time.sleep(0.005 * delay)
                codec.close()
                for t in threads: t.join()
                assert len(caught) == 2 and all("closed" in c for c in caught), caught
    """)


def test_close_while_another_thread_clones():
    survives(f"""
        from pathlib import Path
        folder = Path({str(BASE)!r})
        noise = np.random.default_rng(0).normal(0, 0.1, 24000 * 30).astype(np.float32)
        for delay in range(12):
            caught = []
            v = Synthesizer.open(folder, threads=2)
            def run():
                try:
                    while True: v.clone((noise, 24000), "some words " * 20)
                except EngineError as error:
                    caught.append(str(error))
            t = threading.Thread(target=run)
            t.start()
            time.sleep(0.01 * delay)
            v.close()
            t.join()
            assert len(caught) == 1 and "closed" in caught[0], caught
    """)


@pytest.mark.parametrize("open_part", [open_speaker, open_encoder], ids=["speaker", "encoder"])
def test_an_encoder_that_is_asked_to_stop_refuses(open_part):
    part = open_part(BASE if open_part is open_speaker else BASE / "speech_tokenizer")
    part.lifetime._stop()  # `close` does this while a call is inside
    with pytest.raises(EngineError, match="closed"):
        (part.embed if open_part is open_speaker else part.encode)(np.zeros(48000, np.float32))
    part.close()


def test_closing_an_encoder_ends_its_call_early():
    """The recording is eight times as long as the one that is timed, in case the machine is slow for a moment."""
    noise = np.random.default_rng(0).normal(0, 0.1, 24000 * 60).astype(np.float32)
    long = np.tile(noise, 8)
    part = open_encoder(BASE / "speech_tokenizer")
    whole = time.perf_counter()
    part.encode(noise)
    whole = time.perf_counter() - whole
    caught = []

    def call():
        start = time.perf_counter()
        with pytest.raises(EngineError, match="closed"):
            part.encode(long)
        caught.append(time.perf_counter() - start)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(whole / 10)
    part.close()
    thread.join(allowed(60))
    assert caught
    assert caught[0] < 6 * whole


# ---------------------------------------------------------------- signal handlers, finalizers, interrupts


def test_say_and_close_from_a_signal_handler():
    assert survives("""
        seen = []
        def handler(*_):
            try:
                v.say("Hello.")
                seen.append("spoke")
            except EngineError as error:
                seen.append(str(error))
            if len(seen) >= 500 or (len(seen) >= 5 and any("in use" in s for s in seen)): v.close()
            signal.setitimer(signal.ITIMER_REAL, 0.02)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            while True: v.say(TEXT)
        except EngineError as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(error)
        assert any("in use" in s for s in seen), seen
    """).endswith("closed\n")


def test_a_stream_closed_by_a_signal_handler_of_its_own_reader():
    survives("""
        s = v.stream(TEXT * 20)
        signal.signal(signal.SIGALRM, lambda *_: s.close())
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        expect(lambda: [None for _ in s])
        assert len(v.say("Hello."))
    """)


def test_close_from_a_finalizer_inside_a_step():
    survives("""
        class Closes:
            def __init__(self): self.me = self
            def __del__(self): v.close()
        from qwen3tts_cli.engine.session import Session
        progress, armed = Session.progress, [True]
        def collecting(self, first):
            if armed:
                armed.clear()
                Closes()
                gc.collect()
            return progress(self, first)
        Session.progress = collecting
        expect(lambda: v.say(TEXT))
    """)


def test_interrupts_leave_the_synthesizer_usable_or_closed():
    # Python prints an interrupt that comes while a finalizer runs, and continues.
    survives(
        """
        def handler(*_): raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, handler)
        want = v.say("Hello.", seed=1)
        for i in range(60):
            signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.0007 * i)
            try:
                for _ in range(50): v.say(TEXT, seed=i)
            except KeyboardInterrupt: pass
            assert np.array_equal(v.say("Hello.", seed=1), want)
        done = threading.Thread(target=v.close)
        done.start()
        done.join(20)
        assert not done.is_alive()
    """,
        quiet=False,
    )


# ---------------------------------------------------------------- fork

FORK = """
        def child(work):
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                signal.alarm(50)
                code = 1
                try:
                    work()
                    code = 0
                except BaseException:
                    import traceback
                    traceback.print_exc()
                finally:
                    os._exit(code)
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0, status
"""


def test_a_child_forked_between_steps_speaks_the_same_bytes():
    survives(
        FORK
        + """
        want = v.say(TEXT, seed=3)
        stream = v.stream(TEXT, seed=3)
        next(stream)
        piped = v.stream(TEXT, seed=3, pipeline=True)
        next(piped)
        many = v.stream_many([TEXT] * 2)
        next(many)
        def work():
            assert np.array_equal(v.say(TEXT, seed=3), want)
            assert np.array_equal(v.say(TEXT, seed=3, batch=3), want)
            for s in (stream, piped, many):
                try: next(s)
                except EngineError as error: assert "fork" in str(error), error
                else: raise AssertionError("a stream of the parent")
            stream.close(); piped.close()
            v.close()
        child(work)
        assert np.array_equal(v.say(TEXT, seed=3), want)
        assert sum(map(len, stream)) and sum(map(len, piped))
        child(lambda: child(lambda: np.array_equal(v.say(TEXT, seed=3), want) or 1 / 0))
    """
    )


def test_a_child_forked_during_a_step_gets_an_error():
    survives(
        FORK
        + """
        speaking = threading.Event()
        from qwen3tts_cli.common import lifetime
        def speak():
            speaking.set()
            for _ in range(3): v.say(TEXT * 3, seed=1)
        thread = threading.Thread(target=speak)
        thread.start()
        speaking.wait()
        time.sleep(0.1)
        def work():
            started = time.monotonic()
            try: v.say("Hello.")
            except EngineError as error: assert "opened before a fork" in str(error), error
            v.close()
            v.close()
            with Synthesizer.open() as own: assert len(own.say("Hello."))
        for _ in range(4):
            child(work)
            time.sleep(0.05)
        thread.join()
        assert len(v.say("Hello."))
    """
    )


def test_a_fork_waits_for_the_imports_of_other_threads():
    """The child would otherwise wait for ever for a module that no thread imports any more."""
    survives(
        FORK
        + """
        import importlib.abc, importlib.util, qwen3tts_cli
        importing = threading.Event()
        class Slow(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path, target=None):
                return importlib.util.spec_from_loader(name, self) if name == "slow_to_import" else None
            def create_module(self, spec): return None
            def exec_module(self, module):
                importing.set()
                time.sleep(0.5)
                module.ready = True
        sys.meta_path.insert(0, Slow())
        def get():
            import slow_to_import
            assert slow_to_import.ready
        thread = threading.Thread(target=get)
        thread.start()
        importing.wait()
        child(get)
        thread.join()
    """
    )


def test_multiprocessing_by_fork_with_an_opened_model():
    survives("""
        import multiprocessing
        if __name__ == "__main__":
            want = v.say("Hello.", seed=4)
            with multiprocessing.get_context("fork").Pool(3) as pool:
                assert pool.map(abs, [-1]) == [1]
            context = multiprocessing.get_context("fork")
            queue = context.Queue()
            def work(): queue.put(v.say("Hello.", seed=4))
            processes = [context.Process(target=work) for _ in range(3)]
            for p in processes: p.start()
            for _ in processes: assert np.array_equal(queue.get(timeout=40), want)
            for p in processes: p.join(); assert p.exitcode == 0
    """)


def test_a_codec_in_a_forked_child():
    survives(
        FORK
        + f"""
        from pathlib import Path
        codec = Codec.open(Path({str(BASE)!r}), threads=2)
        samples = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
        codes = codec.encode(samples)
        pcm = codec.decode(codes)
        def work():
            assert np.array_equal(codec.encode(samples), codes)
            assert np.array_equal(codec.decode(codes), pcm)
            codec.close()
        child(work)
        assert np.array_equal(codec.encode(samples), codes)
    """
    )


# ---------------------------------------------------------------- leaks


def test_a_session_that_cannot_be_opened_leaks_nothing(voice, monkeypatch):
    def read(self, rows):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(SparseRows, "read", read)
        for _ in range(3):
            with pytest.raises(MemoryError):
                open_session(voice.model, pipeline=True)
    gc.collect()
    assert not [each for each in voice.model.lifetime._adopted() if each.what == "session"]
    assert len(voice.say("Hello.", seed=1))


def test_sessions_are_freed_with_their_streams(voice):
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir())) if Path("/proc/self/task").exists() else 0

    before = threads()
    for i in range(20):
        stream = voice.stream(TEXT, seed=i, pipeline=True)
        next(stream)
        del stream
    gc.collect()
    assert threads() <= before
    assert not [each for each in voice.model.lifetime._adopted() if not each._freed]


# ---------------------------------------------------------------- the class Lifetime


def test_a_lifetime_is_freed_once_and_after_its_children():
    freed = []
    parent = Lifetime("parent", lambda: freed.append("parent"))
    child = Lifetime("child", lambda: freed.append("child"))
    parent.adopt(child)
    with child.call():
        parent.close()  # from inside a call: `close` returns, and the end of the call frees
        assert freed == []
        with pytest.raises(EngineError, match="the parent is closed"), parent.call():
            pass
    assert freed == ["child", "parent"]
    parent.close()
    child.close()
    assert freed == ["child", "parent"]
    late = Lifetime("late", lambda: freed.append("late"))
    with pytest.raises(EngineError, match="closed"):
        parent.adopt(late)
    late.close()


def test_an_exclusive_call_refuses_its_own_thread_and_makes_others_wait():
    lifetime = Lifetime("thing", lambda: None)
    order = []

    def other():
        with lifetime.alone():
            order.append("other")

    thread = threading.Thread(target=other)
    with lifetime.alone():
        thread.start()
        time.sleep(0.05)
        with pytest.raises(EngineError, match="in use"), lifetime.alone():
            pass
        with lifetime.call():
            order.append("this")
    thread.join()
    assert order == ["this", "other"]


def test_a_call_that_did_not_exit_ends_when_it_is_collected():
    """An exception of a signal handler may come between the call's end and its `__exit__`."""
    lifetime = Lifetime("thing", lambda: None)
    call = lifetime.alone()
    call.__enter__()
    del call
    gc.collect()
    with lifetime.alone():
        pass
    lifetime.close()
    assert lifetime._freed


def test_waiting_callers_get_an_error_at_close():
    lifetime = Lifetime("thing", lambda: None)
    caught = []

    def waits():
        try:
            with lifetime.alone():
                caught.append("entered")
        except EngineError as error:
            caught.append(str(error))

    with lifetime.alone():
        thread = threading.Thread(target=waits)
        thread.start()
        time.sleep(0.05)
        lifetime.close()
        thread.join(5)
    assert caught == ["the thing is closed"]
    assert lifetime._freed


def test_a_closed_synthesizer_does_not_check_options():
    opened = Synthesizer.open()
    opened.close()
    with pytest.raises(EngineError, match="the synthesizer is closed"):
        opened.speak("Hello.", SpeakOptions(voice="nobody"))


def test_asyncio_close_while_a_worker_speaks(voice):
    async def main() -> None:
        worker = asyncio.create_task(asyncio.to_thread(voice.say, TEXT * 50))
        await asyncio.sleep(0.1)
        voice.close()
        with pytest.raises(EngineError, match="closed"):
            await worker

    asyncio.run(main())


def test_many_texts_and_codes_are_read_and_closed_by_any_thread(voice):
    """Two threads take turns with `next`; a third closes the stream; each later `next` raises."""
    with Codec.open(BASE) as codec:
        codes = codec.encode(np.zeros(24000, np.float32))
        for stream in (voice.stream_many([TEXT] * 50, batch=4), codec.stream([codes] * 400)):
            caught = []

            def read(stream=stream, caught=caught):
                try:
                    for _ in stream:
                        pass
                except EngineError as error:
                    caught.append(str(error))

            threads = [threading.Thread(target=read) for _ in range(2)]
            for thread in threads:
                thread.start()
            time.sleep(0.05)
            stream.close()
            for thread in threads:
                thread.join(allowed(30))
                assert not thread.is_alive()
            assert len(caught) == 2
            assert all("closed" in each for each in caught)
            for _ in range(2):
                with pytest.raises(EngineError, match="closed"):
                    next(stream)
    many = voice.stream_many([TEXT] * 3)
    next(many)
    voice.close()
    for _ in range(2):
        with pytest.raises(EngineError, match="closed"):
            next(many)
        with pytest.raises(EngineError, match="closed"):
            codec.stream([codes])
