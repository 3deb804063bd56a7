"""A pool of threads that compute, which several models share."""

from __future__ import annotations

from functools import partial

from .._native import ffi, lib
from ..common.lifetime import Lifetime
from .binding import check_status, free_handle


class ThreadPool:
    """Threads that models opened with `Model(..., pool=...)` share; a context manager. The models' steps take turns.

    threads: 1 to 1024, the caller's included. `close` closes the models too. `close` and fork: see common/lifetime.py;
    a forked child may use the pool unless the fork came during a call. Raises EngineError.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        handle = ffi.new("q3t_pool **")
        self.lifetime = Lifetime("thread pool", partial(free_handle, lib.q3t_pool_close, handle))
        self.lifetime.watch(self)
        check_status(lib.q3t_pool_open(threads, handle), "opening a thread pool")
        self._handle = handle[0]

    def close(self) -> None:
        """Wait for a step that another thread runs, close the models, and end the threads."""
        self.lifetime.close()

    def __enter__(self) -> ThreadPool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
