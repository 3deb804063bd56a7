"""The promises of the scheduler: the same bytes in company, sharing, cancelling, failures, back-pressure and memory."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import threading
import time

import numpy as np
import pytest
from helpers import CHECKPOINTS, Choosy, allowed
from test_lifetimes import FORK, survives

from qwen3tts_cli import Synthesizer
from qwen3tts_cli.audio.output_chain import OutputChain
from qwen3tts_cli.engine.model import Model
from qwen3tts_cli.engine.pool import ThreadPool
from qwen3tts_cli.errors import EngineError
from qwen3tts_cli.models.checkpoint import open_checkpoint
from qwen3tts_cli.scheduling import attempts, loop, policy, scheduler
from qwen3tts_cli.scheduling.consumer import Consumer
from qwen3tts_cli.scheduling.job import OpenText
from qwen3tts_cli.scheduling.scheduler import Scheduler
from qwen3tts_cli.scheduling.stream import Stream
from qwen3tts_cli.speech.synthesizer import SpeakOptions

TEXTS = (
    "The train leaves at seven.",
    "No.",
    "Wait here for me.",
    "It was late that evening.",
    "They came home.",
    "Good night.",
    "Yes, I know that.",
    "Hm.",
)
LONG = " ".join(TEXTS * 3)
SHORT = {"max_frames": 15, "retries": 0}  # for models of random weights, whose speech does not end
CUSTOM = {"voice": "ryan", "seed": 1, **SHORT}
ENGINE_THREAD = "qwen3tts engine"


@pytest.fixture
def voice():
    with Synthesizer.open(threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def quiet():
    """text: its samples with seed 3, spoken alone."""
    with Synthesizer.open(threads=1) as alone:
        return {text: alone.say(text, seed=3) for text in (*TEXTS, LONG)}


@pytest.fixture
def custom():
    with Synthesizer.open(CHECKPOINTS / "tiny-customvoice", threads=1, cache=False) as opened:
        yield opened


@pytest.fixture
def steps(monkeypatch):
    """A list that gets the sessions of each step of any model."""
    taken, advance = [], Model.advance

    def recording(self, sessions, *budget):
        taken.append(list(sessions))
        return advance(self, sessions, *budget)

    monkeypatch.setattr(Model, "advance", recording)
    return taken


def jobs(synthesizer, text, **options):
    """The jobs of the utterances of a text."""
    speech = synthesizer.speak(text, SpeakOptions(**options))
    return [job for _, job, error in speech.utterances() if error is None]


def drain(stream):
    """All samples of a stream of the scheduler."""
    chunks = [np.empty(0, np.float32)]
    while (pcm := stream.read(timeout=allowed(60))) is not None:
        chunks.append(pcm)
    return np.concatenate(chunks)


def in_threads(calls):
    """Run the calls at the same time, a thread for each. Returns their results, or the errors that they raised."""
    results = [None] * len(calls)

    def run(i):
        try:
            results[i] = calls[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(allowed(60))
    assert not any(thread.is_alive() for thread in threads), "a reader waits forever"
    return results


def engine_threads():
    return [thread for thread in threading.enumerate() if thread.name == ENGINE_THREAD]


def wait_until(condition, seconds=10):
    end = time.monotonic() + allowed(seconds)
    while not condition():
        assert time.monotonic() < end, "the condition has not come true"
        time.sleep(0.005)


def open_sessions(model):
    return sum(each.what == "session" and not each._freed for each in model.lifetime._adopted())


def same(got, want):
    if isinstance(got, Exception):
        raise got
    np.testing.assert_array_equal(got, want)


# ---------------------------------------------------------------- bytes and sharing


def test_threads_make_the_bytes_of_one_and_share_steps(voice, quiet, steps):
    for text, pcm in zip(TEXTS, in_threads([lambda t=t: voice.say(t, seed=3) for t in TEXTS]), strict=True):
        same(pcm, quiet[text])
    assert max(map(len, steps)) >= 4
    assert sum(map(len, steps)) / len(steps) > 1.5
    assert open_sessions(voice.model) == 0


def test_a_stream_alone_starts_no_thread(voice, quiet):
    before = set(threading.enumerate())
    for pcm in (voice.say(LONG, seed=3), np.concatenate(list(voice.stream(LONG, seed=3)))):
        same(pcm, quiet[LONG])
        assert set(threading.enumerate()) <= before


def test_the_thread_ends_when_there_is_nothing_to_do(voice, monkeypatch):
    monkeypatch.setattr(scheduler, "_IDLE_SECONDS", 0.05)
    in_threads([lambda: voice.say(TEXTS[0], seed=3)] * 3)
    wait_until(lambda: voice.scheduler._thread is None)


def test_the_order_of_arrival_changes_no_byte(voice, quiet):
    work = [(text, job) for text in TEXTS for job in jobs(voice, text, seed=3)]
    for seed in range(3):
        random.Random(seed).shuffle(work)
        streams = [(text, voice.scheduler.submit(job)) for text, job in work]
        for text, stream in streams:
            same(drain(stream), quiet[text])


@pytest.mark.filterwarnings("ignore:samples")
@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("live", [False, True])
def test_prompt_row_budgets_change_no_byte(monkeypatch, rows, live):
    noise = np.random.default_rng(5).normal(0, 0.1, 36000).astype(np.float32), 24000
    with Synthesizer.open(CHECKPOINTS / "tiny-base", threads=1, cache=False) as base:
        voices = base.clone(noise, "Some words.", name="a"), base.clone(noise, name="b")
        work = [
            (text, {"voice": each, "seed": 4, "language": "english", "live": live, **SHORT})
            for text, each in zip(TEXTS, voices * 4, strict=True)
        ]
        want = [base.say(text, **options) for text, options in work]
        picked = lambda self, sessions, times: ([*range(len(sessions))], rows, rows < 64)  # noqa: E731
        monkeypatch.setattr(policy.Policy, "pick", picked)
        got = in_threads([lambda w=w: base.say(w[0], **w[1]) for w in work])
    for pcm, alone in zip(got, want, strict=True):
        same(pcm, alone)


def test_a_short_text_does_not_wait_for_the_prompt_of_a_long_one(voice, steps):
    """Nor does a cancel wait for the end of a long prompt."""
    options = {"seed": 1, "split": False, "max_frames": 20, "live": True}
    order = []

    def read(name, text):
        with voice.speak(text, SpeakOptions(**options)) as speech:
            next(speech)
            order.append(name)

    long = threading.Thread(target=read, args=("long", "the cat sat on the mat and ran " * 130))
    long.start()
    wait_until(lambda: steps)
    read("short", "It rained.")
    long.join()
    assert order == ["short", "long"]
    with voice.speak("the cat sat on the mat and ran " * 130, SpeakOptions(**options)) as speech:
        with pytest.raises(TimeoutError):
            speech.read(timeout=0)
        speech.cancel()
        steps.clear()
        voice.say("It rained.", **options)
        assert len(steps[0]) == 1


class Choosier(Choosy):
    divisor = 2


def test_retries_in_company(voice, monkeypatch):
    numbers = []
    monkeypatch.setattr(attempts, "Guard", Choosier)
    monkeypatch.setattr(attempts, "retry_seed", lambda seed, attempt: numbers.append(attempt) or seed + attempt)
    want = [voice.say(text, seed=3, retries=50) for text in TEXTS]
    assert max(numbers) > 0
    got = in_threads([lambda t=t: voice.say(t, seed=3, retries=50) for t in TEXTS])
    for pcm, alone in zip(got, want, strict=True):
        same(pcm, alone)


def test_two_models_take_turns(custom, quiet):
    """They have one scheduler and one pool of threads."""
    with ThreadPool(2) as pool, Synthesizer.open(threads=1) as first:
        second = Synthesizer(Model(open_checkpoint(custom.model.checkpoint.config.path), pool=pool), "tiny")
        second.scheduler = first.scheduler
        want = custom.say(TEXTS[0], **CUSTOM)
        calls = [lambda: first.say(TEXTS[0], seed=3), lambda: second.say(TEXTS[0], **CUSTOM)] * 3
        for i, pcm in enumerate(in_threads(calls)):
            same(pcm, want if i % 2 else quiet[TEXTS[0]])
        second.close()
        same(first.say(TEXTS[0], seed=3), quiet[TEXTS[0]])


def test_a_closed_model_does_not_end_the_jobs_of_another(voice, quiet, custom):
    waiting = voice.scheduler.submit(jobs(custom, TEXTS[0], **CUSTOM)[0])
    stream = voice.scheduler.submit(jobs(voice, TEXTS[0], seed=3)[0])
    custom.close()
    same(drain(stream), quiet[TEXTS[0]])
    with pytest.raises(EngineError, match="closed"):
        drain(waiting)


def test_new_streams_of_one_model_do_not_leave_out_another(voice, custom, quiet, monkeypatch):
    """The streams of one model seem to be new all the time."""
    candidate = loop.Loop._candidate

    def seen(self, generation, now):
        found = candidate(self, generation, now)
        return found._replace(lead=None) if generation.job.model is custom.model else found

    monkeypatch.setattr(loop.Loop, "_candidate", seen)
    monkeypatch.setattr(policy, "_LONGEST_PAUSE", 0.02)
    custom.scheduler = voice.scheduler
    options = CUSTOM | {"max_frames": 4000}
    endless = custom.stream(TEXTS[0], **options)
    ended = []

    def read():
        with pytest.raises(EngineError, match="closed"):
            ended.extend(endless)

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: ended)
    with voice.speak(TEXTS[1], SpeakOptions(seed=3)) as speech:
        pcm = speech.read(timeout=allowed(20))
    same(pcm, quiet[TEXTS[1]][: len(pcm)])
    assert reader.is_alive()
    endless.close()
    reader.join(allowed(20))


# ---------------------------------------------------------------- cancel and close


@pytest.mark.parametrize("how", ["thread", "signal", "finaliser"])
def test_a_cancelled_stream_takes_no_more_than_one_step(voice, quiet, steps, how):
    other = threading.Thread(target=lambda: same(voice.say(LONG, seed=3), quiet[LONG]))
    stream = voice.stream(LONG, seed=8, batch=1)
    next(stream)
    mine = {id(each) for each in steps[-1]}
    other.start()
    wait_until(lambda: len(steps[-1]) > 1 or id(steps[-1][0]) not in mine)
    if how == "thread":
        canceller = threading.Thread(target=stream.cancel)
        canceller.start()
        canceller.join()
    elif how == "signal":
        before = signal.signal(signal.SIGALRM, lambda *_: stream.cancel())
        signal.raise_signal(signal.SIGALRM)
        signal.signal(signal.SIGALRM, before)
    else:
        knot = [stream]
        knot.append(knot)
        del stream, knot
        gc.collect()
    done = len(steps)
    other.join(allowed(60))
    assert sum(any(id(each) in mine for each in some) for some in steps[done:]) <= 1
    assert len(steps) > done + 5
    assert open_sessions(voice.model) == 0
    if how != "finaliser":
        with pytest.raises(EngineError, match="closed"):
            list(stream)


def test_a_cancel_in_a_signal_handler_of_the_reader(voice):
    stream = voice.stream(LONG * 9, seed=3)
    before = signal.signal(signal.SIGALRM, lambda *_: stream.cancel())
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(EngineError, match="closed"):
        list(stream)
    signal.signal(signal.SIGALRM, before)
    wait_until(lambda: open_sessions(voice.model) == 0)


def test_a_cancel_without_a_thread_frees_the_session_at_once(voice):
    stream = voice.stream(LONG, seed=3)
    next(stream)
    assert open_sessions(voice.model) > 0
    stream.cancel()
    assert open_sessions(voice.model) == 0


def test_a_cancel_between_two_looks_ends_the_wait_for_text(voice):
    """It comes after the reader has looked whether it is cancelled, and before it waits."""
    ends = threading.Event()

    def texts():
        ends.wait(allowed(60))
        yield "Hello."

    stream = voice.stream(texts())
    check, calls = stream._check, []

    def cancelling():
        check()
        calls.append(stream.cancel())

    stream._check = cancelling
    with pytest.raises(EngineError, match="closed"):
        stream.read(timeout=allowed(10))
    assert len(calls) == 1
    ends.set()


def test_a_stream_that_is_left_ends_the_threads_that_read_its_text(voice):
    def text_threads():
        return [thread for thread in threading.enumerate() if thread.name == "qwen3tts text"]

    wait_until(lambda: not text_threads())
    goes_on = threading.Event()

    def texts():
        yield "Hello. "
        goes_on.wait(allowed(60))
        while True:
            yield "Hello. "

    with voice.stream(texts()) as stream:
        next(stream)
        assert text_threads()
    goes_on.set()
    wait_until(lambda: not text_threads())


def test_closing_the_model_ends_all_its_streams(voice):
    reading = threading.Barrier(5)

    def read(seed):
        with voice.stream(LONG * 5, seed=seed) as stream:
            next(stream)
            reading.wait()
            list(stream)

    closer = threading.Thread(target=lambda: (reading.wait(), voice.close()))
    closer.start()
    for error in in_threads([lambda s=s: read(s) for s in range(4)]):
        assert isinstance(error, EngineError)
        assert "closed" in str(error)
    closer.join(allowed(20))
    assert not closer.is_alive()


@pytest.mark.parametrize("threads", [1, 3])
def test_closing_the_scheduler(voice, threads):
    def close():
        wait_until(lambda: open_sessions(voice.model))
        voice.scheduler.close()

    *results, closed = in_threads([lambda: voice.say(LONG * 5, seed=3)] * threads + [close])
    assert closed is None
    for error in results:
        assert isinstance(error, EngineError)
        assert "closed" in str(error)
    assert open_sessions(voice.model) == 0
    assert voice.scheduler._thread is None
    with pytest.raises(EngineError, match="closed"):
        voice.say("Hello.")


def test_closing_the_scheduler_in_a_signal_handler_inside_a_step():
    """The scheduler's thread then waits for the step that was interrupted."""
    survives("""
        from qwen3tts_cli.engine.model import Model
        advance, once = Model.advance, []
        def interrupted(self, sessions, *budget):
            if not once:
                once.append(threading.Thread(target=lambda: v.say(TEXT)))
                once[0].run = lambda: expect(lambda: v.say(TEXT))
                once[0].start()
                while v.scheduler._thread is None: time.sleep(0.001)
                signal.raise_signal(signal.SIGALRM)
            return advance(self, sessions, *budget)
        Model.advance = interrupted
        signal.signal(signal.SIGALRM, lambda *_: v.scheduler.close())
        expect(lambda: v.say(TEXT))
        once[0].join()
    """)


# ---------------------------------------------------------------- failures


def test_an_exception_in_one_job_touches_no_other(voice, quiet, monkeypatch):
    absorb = attempts.Utterance.absorb_step

    def failing(self, error, wait):
        if self.job.seed == 99 and self.frames > 3:
            raise ValueError("broken")
        absorb(self, error, wait)

    monkeypatch.setattr(attempts.Utterance, "absorb_step", failing)
    calls = [lambda i=i: voice.say(TEXTS[i % 4], seed=99 if i == 2 else 3) for i in range(6)]
    for i, pcm in enumerate(in_threads(calls)):
        if i == 2:
            assert str(pcm) == "broken"
        else:
            same(pcm, quiet[TEXTS[i % 4]])
    assert open_sessions(voice.model) == 0


@pytest.mark.parametrize("error", [EngineError("out of order"), MemoryError("no memory")])
def test_an_engine_that_fails_as_a_whole_fails_every_stream(voice, quiet, monkeypatch, error):
    advance, broken = Model.advance, threading.Event()

    def failing(self, sessions, *budget):
        if len(sessions) == 3:
            broken.set()
        if broken.is_set():
            raise error
        return advance(self, sessions, *budget)

    monkeypatch.setattr(Model, "advance", failing)
    for found in in_threads([lambda: voice.say(LONG, seed=3, batch=1)] * 3):
        assert found is error
    assert open_sessions(voice.model) == 0
    monkeypatch.setattr(Model, "advance", advance)
    same(voice.say(LONG, seed=3), quiet[LONG])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_that_ends_the_thread_does_not_end_the_scheduler(voice, quiet, monkeypatch):
    advance = Model.advance

    def ending(self, sessions, *budget):
        if threading.current_thread().name == ENGINE_THREAD:
            raise SystemExit
        return advance(self, sessions, *budget)

    monkeypatch.setattr(Model, "advance", ending)
    for error in in_threads([lambda: voice.say(LONG, seed=3)] * 3):
        assert isinstance(error, EngineError)
        assert "interrupted" in str(error)
    monkeypatch.setattr(Model, "advance", advance)
    for pcm in in_threads([lambda: voice.say(LONG, seed=3)] * 3):
        same(pcm, quiet[LONG])


@pytest.mark.parametrize(("owner", "name"), [(Stream, "take"), (OutputChain, "feed")])
def test_an_interrupt_while_samples_are_handed_over_is_an_error_later(voice, monkeypatch, owner, name):
    call, once = getattr(owner, name), []

    def interrupted(self, *arguments):
        pcm = call(self, *arguments)
        if pcm is not None and not once:
            once.append(pcm)
            raise KeyboardInterrupt
        return pcm

    monkeypatch.setattr(owner, name, interrupted)
    stream = voice.stream(LONG, seed=3)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    with pytest.raises(EngineError, match="interrupted"):
        next(stream)
    assert open_sessions(voice.model) == 0


def open_job(custom, *texts):
    """A job with open text, to which `texts`, pairs of ids and whether they are the last, were added."""
    _, incoming = custom.speak_incoming(SpeakOptions(**CUSTOM))
    incoming.feed("Hello there, this is a text. ")
    incoming.finish()
    text = OpenText()
    for ids, last in texts:
        text.put("word " * len(ids), np.array(ids, np.int32), last)
    return incoming.next_job()._replace(open_text=text)


def test_open_text_that_the_engine_refuses_ends_the_job(custom):
    stream = custom.scheduler.submit(open_job(custom, ([5, 6, 7, 8], False), ([1 << 30], False)))
    with pytest.raises(EngineError):
        drain(stream)
    assert open_sessions(custom.model) == 0


def test_a_job_with_open_text_can_be_generated_again(custom):
    job = open_job(custom, ([5, 6, 7, 8], False), ([9, custom.config.tts_eos_id], True))
    first, second = (custom.scheduler.submit(job) for _ in range(2))
    want = drain(first)
    assert len(want)
    same(drain(second), want)


# ---------------------------------------------------------------- time limits, back-pressure, memory


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_a_timeout_loses_nothing(voice, quiet, timeout):
    stream, chunks, expired = voice.stream(LONG, seed=3), [], 0
    while True:
        try:
            pcm = stream.read(timeout=timeout)
        except TimeoutError:
            expired += 1
            assert expired < 100_000
            continue
        if pcm is None:
            break
        chunks.append(pcm)
    same(np.concatenate(chunks), quiet[LONG])
    assert expired


@pytest.mark.parametrize("live", [True, False])
def test_a_reader_that_does_not_read_parks(voice, quiet, steps, monkeypatch, live):
    text, longest = "\n\n".join(TEXTS * 5), max(len(quiet[each]) for each in TEXTS) / 24000
    want = voice.say(text, seed=3)
    monkeypatch.setattr(loop, "LIVE_AHEAD_SECONDS", 1)
    monkeypatch.setattr(loop, "BULK_AHEAD_SECONDS", 3)
    monkeypatch.setattr(scheduler, "_IDLE_SECONDS", 0.05)
    slow = voice.speak(text, SpeakOptions(seed=3, live=live, batch=4))
    chunks = [next(slow)]
    in_threads([lambda t=t: same(voice.say(t * 5, seed=3), voice.say(t * 5, seed=3)) for t in TEXTS[:2]])
    wait_until(lambda: voice.scheduler._thread is None)
    waiting = len(steps)
    same(voice.say(TEXTS[0], seed=3), quiet[TEXTS[0]])  # a parked stream keeps no other from running
    assert len(steps) > waiting
    consumer = slow._reader.consumer
    step = 8 * 0.08  # seconds that a session may add before the others are looked at again
    assert 1 <= consumer.unread_samples() / 24000 < (1 + step if live else 3 + longest)
    assert loop._ahead(consumer) / 24000 < 3 + longest + 4 * step
    assert len(want) / 24000 > 2 * (3 + longest + 4 * step)
    for pcm in slow:
        chunks.append(pcm)
    same(np.concatenate(chunks), want)


def test_memory_refuses_a_stream_and_lets_the_jobs_of_one_reader_wait(voice, quiet):
    text = max(TEXTS, key=lambda each: len(quiet[each]))
    [job] = jobs(voice, text, seed=3)
    first_only = Scheduler(memory_bytes=1)
    alone = first_only.submit(job)  # one stream may run in any case
    pcm = None
    while pcm is None and not alone._generation.admitted:
        with pytest.raises(TimeoutError):
            alone.read(timeout=0)
    with pytest.raises(EngineError, match=r"not enough memory .* 1 stream is open"):
        first_only.submit(job).read()
    same(drain(alone), quiet[text])

    consumer = Consumer(False)
    streams = [first_only.submit(job, consumer) for _ in range(3)]
    for stream in streams:
        same(drain(stream), quiet[text])
    streams = [first_only.submit(job, Consumer(False, group="a run", background=True)) for _ in range(3)]
    for stream in streams:
        same(drain(stream), quiet[text])


def test_memory_of_parked_sessions_does_not_hold_up_what_the_reader_needs(voice, quiet, monkeypatch):
    monkeypatch.setattr(loop, "BULK_AHEAD_SECONDS", 0.4)
    text, later = TEXTS[1], TEXTS[0]
    tight, consumer = Scheduler(memory_bytes=1), Consumer(False)
    second = tight.submit(jobs(voice, later, seed=3)[0], consumer)
    with pytest.raises(TimeoutError):
        second.read(timeout=0)  # it is admitted
    first = tight.submit(jobs(voice, text, seed=3)[0], consumer)
    consumer.generations.rotate(1)  # as InOrder does with an utterance that it generates again
    pcm = first.read(timeout=allowed(20))
    same(np.concatenate([pcm, drain(first)]), quiet[text])
    same(drain(second), quiet[later])


# ---------------------------------------------------------------- asyncio


def test_twenty_streams_in_an_event_loop_take_no_thread_each(voice, quiet):
    most = []

    async def hear(text):
        chunks = []
        async for pcm in voice.astream(text, seed=3):
            most.append(threading.active_count())
            chunks.append(pcm)
        return np.concatenate(chunks)

    async def all_of_them():
        return await asyncio.gather(*(hear(text) for text in (*TEXTS, *TEXTS, *TEXTS[:4])))

    from concurrent.futures import ThreadPoolExecutor

    async def main():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        return await all_of_them()

    before = threading.active_count()
    for text, pcm in zip((*TEXTS, *TEXTS, *TEXTS[:4]), asyncio.run(main()), strict=True):
        same(pcm, quiet[text])
    assert max(most) <= before + 3  # those of the executor, and the scheduler's


def test_asay_equals_say(voice, quiet):
    async def pieces():
        for word in TEXTS[0].split(" "):
            await asyncio.sleep(0)
            yield word + " "

    async def both():
        return await asyncio.gather(voice.asay(TEXTS[0], seed=3), voice.asay(pieces(), seed=3, idle_ms=0))

    given, came = asyncio.run(both())
    same(given, quiet[TEXTS[0]])
    same(came, voice.say(TEXTS[0], seed=3, key="live:0"))


def test_cancelled_tasks_close_their_sessions(voice, quiet):
    async def hear(text, seen):
        return np.concatenate([seen.append(pcm) or pcm async for pcm in voice.astream(text, seed=3)])

    async def main():
        heard = [[] for _ in range(6)]
        tasks = [asyncio.create_task(hear(LONG, each)) for each in heard]
        while not all(heard):
            await asyncio.sleep(0.005)
        for task in tasks[1:]:
            task.cancel()
        for error in await asyncio.gather(*tasks[1:], return_exceptions=True):
            assert isinstance(error, asyncio.CancelledError)
        await asyncio.to_thread(wait_until, lambda: open_sessions(voice.model) <= tasks_of_one)
        for each in heard[1:]:
            got = np.concatenate(each)
            same(got, quiet[LONG][: len(got)])
        return await tasks[0]

    tasks_of_one = voice.stream(LONG, seed=3).batch
    same(asyncio.run(main()), quiet[LONG])
    assert open_sessions(voice.model) == 0


def test_an_event_loop_that_reads_late_is_woken(voice, quiet, monkeypatch):
    """The stream parks, and the thread ends, before the reader takes the samples."""
    monkeypatch.setattr(loop, "LIVE_AHEAD_SECONDS", 0.5)
    monkeypatch.setattr(scheduler, "_IDLE_SECONDS", 0.02)

    async def late():
        chunks = []
        async for pcm in voice.astream(LONG, seed=3, batch=1):
            if len(chunks) in (0, 20, 40):
                while voice.scheduler._thread is not None:
                    await asyncio.sleep(0.01)
            chunks.append(pcm)
        return np.concatenate(chunks)

    same(asyncio.run(asyncio.wait_for(late(), allowed(60))), quiet[LONG])


def test_a_stream_that_was_read_by_a_thread_goes_on_in_an_event_loop(voice):
    """Nothing is submitted after the first samples: the thread must be started for what runs already."""
    text = "Nobody said a word, and then we all went home in the rain, which had not stopped for three days"
    want = voice.say(text, seed=3)
    stream = voice.stream(text, seed=3)
    first = next(stream)
    assert len(first) < len(want)

    async def rest():
        return [pcm async for pcm in stream]

    same(np.concatenate([first, *asyncio.run(asyncio.wait_for(rest(), allowed(60)))]), want)


# ---------------------------------------------------------------- fork


def test_a_child_forked_while_the_thread_steps_speaks_the_same_bytes():
    survives(
        FORK
        + """
        want = v.say("Hello there.", seed=3)
        ends = threading.Event()
        def speak():
            while not ends.is_set(): v.say(TEXT, seed=1)
        threads = [threading.Thread(target=speak) for _ in range(3)]
        for t in threads: t.start()
        stream = v.stream(TEXT * 9, seed=2)
        next(stream)
        def work():
            assert np.array_equal(v.say("Hello there.", seed=3), want)
            try: list(stream)
            except EngineError as error: assert "fork" in str(error), error
            else: raise AssertionError("a stream of the parent")
            assert not [t for t in threading.enumerate() if t.name == "qwen3tts engine"]
        for _ in range(6):
            while v.scheduler._thread is None: time.sleep(0.001)
            child(work)
            next(stream)
        ends.set()
        for t in threads: t.join()
    """
    )


def test_a_scheduler_that_is_made_during_a_fork_runs():
    survives(
        FORK
        + """
        from qwen3tts_cli.scheduling.scheduler import Scheduler
        made, wait = [], Scheduler.wait_for_step
        def waiting(self, deadline):
            if not made: made.append(Synthesizer.open(threads=1))
            wait(self, deadline)
        Scheduler.wait_for_step = waiting
        child(lambda: v.say("Hello.", seed=1))
        assert np.array_equal(made[0].say("Hello.", seed=1), v.say("Hello.", seed=1))
    """
    )


def test_a_signal_handler_that_speaks_while_its_thread_forks_gets_an_error():
    """The fork waits for the handler, and no step runs before the fork."""
    survives(
        FORK
        + """
        from qwen3tts_cli.scheduling.scheduler import Scheduler
        seen, wait = [], Scheduler.wait_for_step
        def handler(*_):
            try: v.say("Hello.")
            except EngineError as error: seen.append(str(error))
        def waiting(self, deadline):
            signal.raise_signal(signal.SIGALRM)
            wait(self, deadline)
        Scheduler.wait_for_step = waiting
        signal.signal(signal.SIGALRM, handler)
        want = v.say("Hello.", seed=1)
        child(lambda: np.array_equal(v.say("Hello.", seed=1), want) or 1 / 0)
        assert ["in use" in each for each in seen] == [True], seen
        assert np.array_equal(v.say("Hello.", seed=1), want)
    """
    )
