"""Writing packed files: at once, or on a background thread while the model speaks."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from ..common.arguments import refuse
from . import cleanup, file_format
from .cache_lock import Lock, try_lock
from .cache_paths import partial_path
from .file_format import THREAD_NAME, StalePackedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from .file_format import Piece, Progress

_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 1.0  # a wait for another process is reported after this
_NICENESS = 10  # nice value of the background thread, so that speech has priority


class _Stopped(Exception):
    """The writer was closed while it wrote a file."""


class WriteJob:
    """The job to write a packed file at `path`.

    facts: fields of the file's header. pieces: a function that returns the pieces of the file; called once.
    size: bytes of the file. total: bytes of all its pieces. lock: the lock of `path`, if this process holds it already;
    the writer of the file releases it.
    """

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


def memory_only_warning(path: Path | None, error: Exception) -> str:
    """The warning if the cache folder cannot be used."""
    reason = getattr(error, "strerror", None) or error
    return f"{path}: {reason}; packed weights are kept in memory and made again next time"


def write_job(
    job: WriteJob, tick: Callable[[int], None], threads: int = 1, *, waiting: Callable[[], None] | None = None
) -> None:
    """Write a packed file unless it exists and is valid; then delete packed files that no model needs any more.

    If another process holds the lock and `waiting` is None, return at once, since that process writes the file.
    If `waiting` is a function, wait for the lock, and call `waiting` once if that takes long.
    tick: called with the number of bytes written. Raises OSError, and what `tick` raises.
    """
    lock, since, reported = job.lock or try_lock(job.path), time.monotonic(), False
    while lock is None and waiting is not None:
        if not reported and time.monotonic() - since >= _PATIENCE_SECONDS:
            reported = True
            waiting()
        time.sleep(_POLL_SECONDS)
        lock = try_lock(job.path)
    if lock is None:
        return
    with lock:
        with contextlib.suppress(FileNotFoundError, StalePackedFile):
            file_format.read(job.path, job.facts, threads)
            return
        file_format.create_file(job.path, job.facts, job.pieces(), job.size, tick, threads)
    with contextlib.suppress(OSError):
        cleanup.remove_unused()


def write_now(
    job: WriteJob, threads: int = 1, *, progress: Progress | None = None, waiting: Callable[[], None] | None = None
) -> None:
    """Write a packed file unless it exists and is valid, after waiting for another process that writes it.

    A valid file is not locked, so that the cache folder may be read-only. progress: called with the bytes done and the
    bytes in all. waiting: called once if another process takes long. Raises OSError.
    """

    def tick(done: int) -> None:
        if progress is not None:
            progress(min(done, job.total), job.total)

    with contextlib.suppress(FileNotFoundError, NotADirectoryError, StalePackedFile):
        file_format.read(job.path, job.facts, threads)
        return
    write_job(job, tick, threads, waiting=waiting or int)


class BackgroundWriter:
    """Writes packed files one after another on a thread, which ends after the last file or at `close`.

    `begin`, `finish` and `close` may be called in any order, from any thread, from a signal handler, and in a forked
    child, where they do nothing.
    """

    def __init__(self, threads: int = 1) -> None:
        """threads: how many threads pack weights that are packed only when their file is written."""
        self.problems: list[str] = []  # one line for each failure
        self._jobs: list[WriteJob] = []
        self.threads, self._process = threads, os.getpid()
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        # `finish` and `close` poll these two instead of joining the thread: after an interrupted `join`, Python takes
        # the thread for ended, and the code that a signal handler interrupts may hold a lock.
        self._stopped, self._ended = False, False
        self._path: Path | None = None  # the file that is being written
        self._done, self._total = 0, 0  # bytes
        _writers.add(self)

    def add(self, job: WriteJob) -> None:
        """Add a file, before `begin`."""
        self._jobs.append(job)
        self._total += job.total

    @property
    def busy(self) -> bool:
        """Whether a file is still to be written."""
        if self._stopped or self._process != os.getpid():
            return False
        return bool(self._jobs) if self._thread is None else not self._ended

    def begin(self) -> None:
        """Start the thread, if there is a file to write."""
        if not self.busy:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=THREAD_NAME)
                try:
                    self._thread.start()
                except RuntimeError as error:  # no thread can be started
                    self._give_up(memory_only_warning(self._jobs[0].path, error))
                    self._ended = True

    def finish(self, progress: Progress | None = None) -> None:
        """Begin, and wait until all files are written. progress: called with the bytes done and the bytes in all."""
        self.begin()
        while self.busy:
            if progress is not None:
                progress(self._done, self._total)
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Stop writing, and wait for the thread. Leaves no partial file; the weights may be freed afterwards."""
        self._stopped = True
        if self._process != os.getpid():
            return
        if self._thread is None:
            self._give_up()
        elif not threading.current_thread().name.startswith(THREAD_NAME):  # a finalizer may run in any thread
            try:
                while not self._ended:
                    time.sleep(_POLL_SECONDS)
            except BaseException:  # interrupted: the process may end before the thread does
                self.remove_partial()
                raise

    def remove_partial(self) -> None:
        """Stop writing and delete the partial file without waiting for the thread: the process is about to end."""
        self._stopped = True
        if self._process == os.getpid() and not self._ended and self._path is not None:
            with contextlib.suppress(OSError):
                partial_path(self._path).unlink(missing_ok=True)

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
        if sys.platform == "linux":  # on other systems setpriority changes the whole process
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        before = 0
        while self._jobs and not self._stopped:
            job = self._jobs.pop(0)
            self._path = job.path
            try:
                write_job(job, lambda done, base=before: self._tick(base + done), self.threads)  # type: ignore[misc]
            except _Stopped:
                break
            except Exception as error:  # speech goes on without the file
                self._give_up(memory_only_warning(job.path, error))
            before += job.total

    def _tick(self, done: int) -> None:
        if self._stopped:
            raise _Stopped
        self._done = min(done, self._total)


_writers: weakref.WeakSet[BackgroundWriter] = weakref.WeakSet()


def remove_partial_files() -> None:
    """Delete the partial files of this process, which is about to end without waiting for its threads."""
    for writer in list(_writers):
        writer.remove_partial()


class PackingMixin:
    """The part of Synthesizer that concerns the writing of its packed files."""

    _writer: BackgroundWriter

    @property
    def packing(self) -> bool:
        """Whether packed weights are still to be written into the cache folder."""
        return self._writer.busy

    def finish_packing(self, progress: Progress | None = None) -> list[str]:
        """Wait until the packed weights of this model are in the cache folder. Returns one line for each failure.

        Without this call, int8 and int4 are written while the model speaks, bf16 is packed and written after the first
        text, and `close` stops the writing. progress: called with the bytes written and the bytes in all.
        Raises UsageError if it is not callable.
        """
        if progress is not None and not callable(progress):
            refuse("progress", progress, "a function of two integers")
        self._writer.finish(progress)
        return self._writer.problems
