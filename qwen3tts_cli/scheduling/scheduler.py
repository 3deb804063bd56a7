"""The scheduler: one engine loop steps the sessions of all streams. Any thread may submit, read and cancel.

Who runs the loop: while a single consumer reads, the thread that reads, so that a stream alone is as fast as a direct
call. With a second consumer, or one that is not a thread (asyncio, text that another thread appends), a thread of the
scheduler runs it until all streams have ended or wait. The samples do not depend on it.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import weakref
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from ..common.forking import register_for_fork, wait_for_imports
from ..common.lifetime import Lifetime, is_inside_call
from ..common.machine import default_threads
from ..errors import EngineError
from .consumer import Consumer, Generation
from .loop import Loop
from .policy import STEADY_CHUNK
from .stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.pool import ThreadPool
    from .job import Job
    from .policy import Policy

_POLL_SECONDS = 0.1  # waiting readers also poll: the thread may have ended, or the process may have been forked
_IDLE_SECONDS = 1.0  # after which the thread ends if there is nothing to do
_FORK_SECONDS = 5.0  # the longest that a fork waits for the end of a step
_PAUSE_SECONDS = 0.001  # between two looks of a thread that waits for a fork or for the end of a step


class Scheduler:
    """Generates the jobs that are submitted to it, of one model or of several, together. See the module.

    threads: of the pool that models opened with `Synthesizer.open(..., scheduler=...)` share, 1 to 1024; None: one for
    each core. memory_bytes: the most memory that sessions may take; None: as much as the system has free. policy:
    decides who is admitted and who takes part in a step; None: the default.

    >>> scheduler = Scheduler()
    >>> stream = scheduler.submit(job)
    >>> while (samples := stream.read()) is not None:
    ...     play(samples)
    """

    def __init__(
        self, *, threads: int | None = None, memory_bytes: int | None = None, policy: Policy | None = None
    ) -> None:
        self._threads = threads
        self._make_loop = lambda: Loop(policy, memory_bytes)
        self._closed = False
        self.reset_after_fork()
        register_for_fork(self)
        _all.add(weakref.ref(self, _all.discard))

    @cached_property
    def pool(self) -> ThreadPool:
        """The threads that the models share."""
        from ..engine.pool import ThreadPool  # a model alone has threads of its own

        return ThreadPool(self._threads or default_threads())

    @property
    def steps(self) -> tuple[tuple[int, ...], float]:
        """(at index n: how many steps of n sessions there were, seconds that all steps took)."""
        return tuple(self._loop.step_counts), self._loop.step_seconds

    def reset_after_fork(self) -> None:
        """Begin anew, in a forked child: the streams and the thread of the parent do not exist here."""
        self._loop = self._make_loop()
        self._turn = Lifetime("engine", lambda: None)
        self._thread: threading.Thread | None = None
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()  # for the thread, after the inbox got a call
        self._consumers: set[Consumer] = set()  # those with a job that has not ended
        self._number = 0

    def submit(self, job: Job, consumer: Consumer | None = None) -> Stream:
        """Add a job. Returns its stream at once; errors of the job are raised when the stream is read.

        consumer: reads the streams of its jobs in the order in which they are submitted; None: one of its own.
        Raises EngineError if the scheduler is closed.
        """
        if self._closed:
            raise EngineError("the scheduler is closed")
        consumer = consumer or Consumer(job.live)
        first = not consumer.generations
        self._number += 1
        chunk = 0 if first else STEADY_CHUNK
        loop = consumer.loop = self._loop
        generation = Generation(job, consumer, chunk, self._number, time.perf_counter())
        stream = Stream(self, generation)
        consumer.generations.append(generation)
        self._consumers.add(consumer)
        self._send(lambda: loop.generations.append(generation), consumer)
        return stream

    def wait(self, consumer: Consumer, deadline: float | None = None) -> bool:
        """Wait until the consumer is notified; step the engine meanwhile if no other thread does.

        deadline: a time of time.monotonic; a reader that steps the engine makes at least one step before it. Returns
        whether the consumer was notified. Raises EngineError for a consumer of the parent of a forked process, and
        where waiting would be a deadlock.
        """
        while not consumer.notified:
            if consumer.loop is not self._loop and consumer.is_open:
                raise EngineError("the stream was opened before a fork; open it in this process")
            if threading.get_ident() in _forks:
                raise EngineError("the engine is in use by this thread, which was interrupted while it forks")
            seconds = _PAUSE_SECONDS if _forks else _POLL_SECONDS
            left = seconds if deadline is None else min(seconds, deadline - time.monotonic())
            if self._thread not in (None, threading.current_thread()):
                self._turn.refuse_this_thread()
                consumer.wait(left)
            elif not self._drive(consumer):
                consumer.wait(left)
            if deadline is not None and time.monotonic() >= deadline:
                return consumer.notified
        return True

    def close(self) -> None:
        """Stop all jobs, whose readers get EngineError, and refuse new ones. Closes the models that share the threads.

        Returns after the step that runs. A thread that is inside a call of any lifetime does not wait for the step; see
        common/lifetime.py.
        """
        self._closed = True
        self._put(lambda: self._loop.fail(EngineError("the scheduler is closed")))
        self._settle()
        if not is_inside_call():
            with suppress(EngineError), self._turn.alone():
                self._loop.settle()
                self._note_ended()
            if (thread := self._thread) not in (None, threading.current_thread()):
                with suppress(RuntimeError):
                    thread.join()
        if "pool" in vars(self):
            self.pool.close()

    def _drive(self, consumer: Consumer) -> bool:
        """Run one round of the loop in this thread, unless another thread begins to. Returns whether it worked."""
        with self._turn.alone():
            if self._thread not in (None, threading.current_thread()) or _forks or consumer.notified:
                return False
            did_something = self._loop.run_once()
            self._note_ended()
        self._settle()
        return did_something

    def note_taken(self, consumer: Consumer) -> None:
        """Wake the loop if a session of the consumer waits until samples are taken."""
        if consumer.parked:
            consumer.parked = False
            self._look_at(consumer)

    def note_text(self, consumer: Consumer) -> None:
        """Make the loop take the text that was put into the open text of a job of the consumer."""
        self._look_at(consumer)

    def note_waiting(self, consumer: Consumer) -> None:
        """See to it that a thread runs the loop, for a reader that waits without calling `wait`."""
        self._look_at(consumer)

    def note_cancelled(self, generation: Generation) -> None:
        """Make the loop close the session of a cancelled job before the next step."""
        if generation.consumer.loop is self._loop:
            self._put(None)
            self._settle()

    def _look_at(self, consumer: Consumer) -> None:
        if consumer.loop is self._loop and consumer.is_open:
            self._send(None, consumer)

    def _send(self, call: Callable[[], None] | None, consumer: Consumer) -> None:
        """Make the loop run a call, if it is not None, and look at the jobs of a consumer between two steps."""
        self._put(call)
        if self._thread is None and (consumer.background or len(self._consumers) > 1):
            self._start_thread()

    def _put(self, call: Callable[[], None] | None) -> None:
        self._loop.inbox.put(call)
        if self._thread is not None:
            self._wakeups.put(None)

    def _settle(self) -> None:
        """Close the sessions of cancelled jobs, if no thread runs the loop; else the loop does it."""
        # again, because the inbox may get a call while this thread has the turn: its sender then leaves it to this one
        while self._thread is None and not self._turn.busy and not self._loop.inbox.empty():
            with suppress(EngineError), self._turn.alone():
                self._loop.settle()
                self._note_ended()

    def _note_ended(self) -> None:
        for consumer in list(self._consumers):
            if not consumer.is_open:
                self._consumers.discard(consumer)
                if consumer.is_open:  # another thread has just submitted a job
                    self._consumers.add(consumer)

    # ---------------------------------------------------------------- the thread
    def _start_thread(self) -> None:
        thread = threading.Thread(target=_run, args=(weakref.ref(self),), name="qwen3tts engine", daemon=True)
        self._thread = thread  # if two threads are started at the same time, the first one ends
        try:
            thread.start()
        except RuntimeError:  # no thread can be started: readers step the engine in turns
            self._thread = None

    def _run_thread(self) -> bool:
        """Run one round on the scheduler's thread. Returns whether the thread goes on."""
        if self._thread is not threading.current_thread():
            return False
        if _forks:
            time.sleep(_PAUSE_SECONDS)
            return True
        with suppress(queue.Empty):  # what they announce is in the inbox already
            while True:
                self._wakeups.get_nowait()
        with self._turn.alone():
            if _forks:
                return True
            did_something = self._loop.run_once()
            self._note_ended()
        if did_something:
            return True
        if self._closed:
            return False
        try:
            self._wakeups.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            return False
        return True

    def _end_thread(self) -> bool:
        """Whether the thread may end: nothing came after it decided to."""
        thread = threading.current_thread()
        if self._thread is not thread:
            return True
        self._thread = None
        if self._loop.inbox.empty() or self._closed:
            return True
        if self._thread is None:  # no other thread was started
            self._thread = thread
            return False
        return True

    def _forget_thread(self) -> None:
        """Let readers step the engine, or another thread, after an exception has ended the thread."""
        if self._thread is threading.current_thread():
            self._thread = None

    # ---------------------------------------------------------------- fork
    def wait_for_step(self, deadline: float) -> None:
        """Wait until no step runs: a forked child may then use the models. deadline: a time of time.monotonic."""
        while self._turn.busy and not self._turn.holds_this_thread and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)


def _run(reference: weakref.ref[Scheduler]) -> None:
    try:
        while (scheduler := reference()) is not None:
            if not scheduler._run_thread() and scheduler._end_thread():
                return
            del scheduler
    finally:
        if (scheduler := reference()) is not None:
            scheduler._forget_thread()


_all: set[weakref.ref[Scheduler]] = set()
_forks: list[int] = []  # ids of the threads that prepare a fork or make one; no step begins meanwhile


def _before_fork() -> None:
    _forks.append(threading.get_ident())
    deadline = time.monotonic() + _FORK_SECONDS
    for reference in _all.copy():
        if (scheduler := reference()) is not None:
            scheduler.wait_for_step(deadline)
    wait_for_imports(deadline)


def _after_fork_in_parent() -> None:
    with suppress(ValueError):
        _forks.remove(threading.get_ident())


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_forks.clear)
