"""What objects do in a forked child process: they are told of the fork, and their locks are unlocked."""

from __future__ import annotations

import importlib._bootstrap as bootstrap
import os
import threading
import time
import weakref
from contextlib import suppress
from typing import Protocol

_PAUSE_SECONDS = 0.001  # between two looks at the modules that other threads import


class ForkedLock:
    """A re-entrant lock that is unlocked in a forked child, where the thread that held it does not exist."""

    def __init__(self) -> None:
        self.reset_after_fork()
        register_for_fork(self)

    def reset_after_fork(self) -> None:
        """Replace the lock by a new one, in a forked child."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # the process was forked inside the block: the new lock is not acquired
            self._lock.release()


class _Resets(Protocol):
    def reset_after_fork(self) -> None: ...


_all: set[weakref.ref[_Resets]] = set()


def register_for_fork(each: _Resets) -> None:
    """Call the method reset_after_fork of an object in each forked child, as long as the object exists."""
    _all.add(weakref.ref(each, _all.discard))


def wait_for_imports(deadline: float) -> None:
    """Wait until no other thread imports a module: in a forked child it would keep the module's lock for ever.

    Several modules of this package are imported where they are first used. deadline: a time of time.monotonic.
    """
    while _others_import() and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)


def _others_import() -> bool:
    # Python has no public way to see the locks of modules; without them a fork does not wait.
    locks = [lock() for lock in list(getattr(bootstrap, "_module_locks", {}).values())]
    owners = {getattr(lock, "owner", None) for lock in locks}
    return bool(owners - {None, threading.get_ident()})


def _after_fork() -> None:
    for ref in _all.copy():
        if (each := ref()) is not None:
            each.reset_after_fork()


os.register_at_fork(after_in_child=_after_fork)
