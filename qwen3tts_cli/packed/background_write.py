"""Packed weights on their way from memory, or from the checkpoint, into the cache folder, on a thread of its own."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from ..common.arguments import refuse
from . import file as packed_file
from . import locate, tidy
from .cache_lock import Lock, try_lock
from .file import THREAD_NAME, Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from .file import Piece, Progress

_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 1.0  # until somebody who waits is told so
_NICER = 10  # the thread gets what speech leaves it


class _Stopped(Exception):
    """The keeper was closed while a file was written."""


class Job:
    """A file to be made. pieces: makes them, once; total: their bytes. lock: of `path`, released by who writes."""

    def __init__(
        self,
        path: Path,
        facts: dict[str, Any],
        pieces: Callable[[], Iterable[Piece]],
        size: int,
        total: int,
        lock: Lock | None = None,
    ) -> None:
        self.path, self.facts, self.pieces, self.size, self.total, self.lock = path, facts, pieces, size, total, lock


def in_memory(path: Path | None, error: Exception) -> str:
    """The warning where the cache is of no use."""
    reason = getattr(error, "strerror", None) or error
    return f"{path}: {reason}; packed weights are kept in memory and made again next time"


def write(
    job: Job, tick: Callable[[int], None], threads: int = 1, *, waiting: Callable[[], None] | None = None
) -> None:
    """Write the file of a job, unless it is there or somebody else writes it; delete those whose model is gone.

    waiting: wait for somebody else, and call this where it takes long. Raises OSError, and what `tick` raises.
    """
    lock, since, told = job.lock or try_lock(job.path), time.monotonic(), False
    while lock is None and waiting is not None:
        if not told and time.monotonic() - since >= _PATIENCE_SECONDS:
            told = True
            waiting()
        time.sleep(_POLL_SECONDS)
        lock = try_lock(job.path)
    if lock is None:
        return
    with lock:
        with contextlib.suppress(FileNotFoundError, Unfit):
            packed_file.read(job.path, job.facts, threads)
            return
        packed_file.make(job.path, job.facts, job.pieces(), job.size, tick, threads)
    with contextlib.suppress(OSError):
        tidy.tidy()


def make(
    job: Job, threads: int = 1, *, progress: Progress | None = None, waiting: Callable[[], None] | None = None
) -> None:
    """The same now, and after waiting for whoever writes it. progress: called with bytes done and in all.

    A file that is there needs no lock, which a read-only folder does not have."""

    def tick(done: int) -> None:
        if progress is not None:
            progress(min(done, job.total), job.total)

    with contextlib.suppress(FileNotFoundError, NotADirectoryError, Unfit):
        packed_file.read(job.path, job.facts, threads)
        return
    write(job, tick, threads, waiting=waiting or int)


class Keeper:
    """Writes the files of its jobs one after another on a thread, which ends with the last of them or with `close`.

    `begin`, `finish` and `close` may be called in any order, by any thread, from a signal handler, and in a forked
    child, where they do nothing.
    """

    def __init__(self, threads: int = 1) -> None:
        """threads: that pack what is still to be packed."""
        self.problems: list[str] = []  # of files that could not be written, a line each
        self._jobs: list[Job] = []
        self.threads, self._process = threads, os.getpid()
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        # Looked at again and again by who waits: an interrupted join would take the thread for ended, and a lock could
        # be held by what a signal handler interrupted.
        self._stopped, self._ended = False, False
        self._path: Path | None = None  # of the file that is being written
        self._done, self._total = 0, 0
        _keepers.add(self)

    def add(self, job: Job) -> None:
        """Another file, before `begin`."""
        self._jobs.append(job)
        self._total += job.total

    @property
    def busy(self) -> bool:
        """Whether there is a file that is not written yet."""
        if self._stopped or self._process != os.getpid():
            return False
        return bool(self._jobs) if self._thread is None else not self._ended

    def begin(self) -> None:
        """Start to write."""
        if not self.busy:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=THREAD_NAME)
                try:
                    self._thread.start()
                except RuntimeError as error:  # no more threads: it is done without
                    self._give_up(in_memory(self._jobs[0].path, error))
                    self._ended = True

    def finish(self, progress: Progress | None = None) -> None:
        """Write what is not written yet, and wait for the end of it. progress: called with bytes done and in all."""
        self.begin()
        while self.busy:
            if progress is not None:
                progress(self._done, self._total)
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Stop writing. No part of a file is left, and nothing is read of what the jobs refer to afterwards."""
        self._stopped = True
        if self._process != os.getpid():
            return
        if self._thread is None:
            self._give_up()
        elif not threading.current_thread().name.startswith(THREAD_NAME):  # a finaliser may run in any thread
            try:
                while not self._ended:
                    time.sleep(_POLL_SECONDS)
            except BaseException:  # whoever is interrupted once more ends before the thread does
                self._abandon()
                raise

    def _abandon(self) -> None:
        self._stopped = True
        if self._process == os.getpid() and not self._ended and self._path is not None:
            with contextlib.suppress(OSError):
                locate.temporary_of(self._path).unlink(missing_ok=True)

    def _give_up(self, problem: str | None = None) -> None:
        jobs, self._jobs = self._jobs, []
        if problem is not None:
            self.problems.append(problem)
        for job in jobs:
            if job.lock is not None:
                job.lock.release()

    def _run(self) -> None:
        try:
            self._write_all()
        finally:
            self._give_up()
            self._ended = True

    def _write_all(self) -> None:
        if sys.platform == "linux":  # elsewhere this is about the process
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICER)
        before = 0
        while self._jobs and not self._stopped:
            job = self._jobs.pop(0)
            self._path = job.path
            try:
                write(job, lambda done, base=before: self._tick(base + done), self.threads)  # type: ignore[misc]
            except _Stopped:
                break
            except Exception as error:  # whatever it is, speech goes on
                self._give_up(in_memory(job.path, error))
            before += job.total

    def _tick(self, done: int) -> None:
        if self._stopped:
            raise _Stopped
        self._done = min(done, self._total)


_keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()


def abandon() -> None:
    """No part of a file is left by this process, which ends now without waiting for its threads."""
    for keeper in list(_keepers):
        keeper._abandon()


class Packing:
    """An object whose packed weights are on their way into the cache folder."""

    _keeper: Keeper

    @property
    def packing(self) -> bool:
        """Whether packed weights are still to be written into the cache folder."""
        return self._keeper.busy

    def finish_packing(self, progress: Progress | None = None) -> list[str]:
        """Wait until what the opening packed is in the cache folder; bf16 is packed now. Returns a line for a failure.

        Without this the writing goes on while the model speaks, bf16's begins after the first text, and `close` ends
        it. progress: called with bytes written and in all. Raises UsageError for one that is no function.
        """
        if progress is not None and not callable(progress):
            refuse("progress", progress, "a function of two integers")
        self._keeper.finish(progress)
        return self._keeper.problems
