"""When an object may be used, and when what it owns is freed: once, in whatever order and from whatever thread.

Each call on the object runs inside its lifetime. `close` refuses later calls, waits for those of other threads that are
inside, closes what was opened on the object, and frees. A thread that is itself inside a call, of this object or of any
other (a signal handler, a finaliser or a callback runs there), never waits: whoever leaves last frees.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from .errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_SECONDS = 0.05  # a waiter looks again by itself: an interrupted thread or a collected child wakes nobody
_thread = threading.local()


def _nothing() -> None:
    pass


def _calls_here() -> set[int]:
    """The calls of any lifetime that this thread is inside."""
    try:
        return _thread.calls
    except AttributeError:
        _thread.calls = set()
        return _thread.calls


class Lifetime:
    """The lifetime of one object.

    what: names the object in errors. free: called once, when no call is inside and everything adopted is freed; where
    `watch` is used it must not refer to the object. stop: asks the calls that are inside to end soon.
    inherited: whether a forked child may go on using the object.
    """

    def __init__(
        self, what: str, free: Callable[[], None], *, stop: Callable[[], None] = _nothing, inherited: bool = True
    ) -> None:
        self.what, self._free, self._stop, self._inherited = what, free, stop, inherited
        self._closed = self._freeing = self._freed = self._lost = False
        self._parent: Callable[[], Lifetime | None] = _nothing  # type: ignore[assignment]
        self._children: weakref.WeakSet[Lifetime] = weakref.WeakSet()
        self._renew()
        _all.add(self)

    def _renew(self) -> None:
        self._inside: dict[int, int] = {}  # id of a call -> its thread
        self._running = 0  # id of the call that is alone, if there is one
        # re-entrant: signal handlers and finalisers run in threads that hold it
        self._changed = threading.Condition(threading.RLock())

    @property
    def closed(self) -> bool:
        """Whether `close` was called: nothing may be begun any more."""
        return self._closed

    def check(self) -> None:
        """Raise EngineError if the object is closed, or of a process that this one was forked from."""
        if self._closed:
            raise EngineError(f"the {self.what} is closed")
        if self._lost:
            raise EngineError(f"the {self.what} was opened before a fork; open it in this process")

    def call(self) -> _Call:
        """A context manager for one call. Raises EngineError as `check` does."""
        return _Call(self, False)

    def alone(self) -> _Call:
        """The same for a call that takes turns with the others of this kind. Raises EngineError also inside another one
        of the same thread, where waiting would never end."""
        return _Call(self, True)

    def adopt(self, child: Lifetime) -> None:
        """Close `child` before this object is freed. Raises EngineError as `check` does, having closed the child."""
        child._parent = weakref.ref(self)
        self._children.add(child)
        try:
            self.check()
        except EngineError:
            child.close()
            raise

    def close(self) -> None:
        """Refuse later calls, wait for the calls of other threads that are inside, and free. May be called again."""
        self._closed = True
        with self._changed:
            if not self._freeing:
                self._stop()
            self._changed.notify_all()
        for child in list(self._children):
            child.close()
        self._free_if_left()
        with self._changed:
            while not self._freed and not _calls_here():
                self._changed.wait(_POLL_SECONDS)
                self._free_if_left()

    def watch(self, owner: object) -> None:
        """Close when `owner` is collected, and at the end of the process."""
        weakref.finalize(owner, self.close)

    def _free_if_left(self) -> None:
        begun = False
        try:
            with self._changed:
                if self._freeing or not self._closed or self._inside or not all(c._freed for c in list(self._children)):
                    return
                self._freeing = begun = True
            self._free()
        finally:
            if begun:
                with self._changed:
                    self._free, self._freed = _nothing, True
                    self._changed.notify_all()
                if (parent := self._parent()) is not None:
                    parent._free_if_left()

    def forked(self) -> None:
        """In a child: the threads that were inside do not exist, and what they were changing stays as it is."""
        if self._inside:
            self._free, self._freeing, self._freed = _nothing, True, True
        self._lost = self._lost or bool(self._inside) or not self._inherited
        self._renew()


class _Call:
    """One call, inside from `__enter__` to `__exit__`. The exception of a signal handler may come before either has run
    to its end: what they do can be done twice, and is done at the latest when the call is collected."""

    __slots__ = ("_alone", "_here", "_lifetime")

    def __init__(self, lifetime: Lifetime, alone: bool) -> None:
        self._lifetime, self._alone, self._here = lifetime, alone, _calls_here()

    def __enter__(self) -> None:
        lifetime, me = self._lifetime, threading.get_ident()
        try:
            with lifetime._changed:
                # Inside before it is checked: whoever closes in between leaves the freeing to this call.
                lifetime._inside[id(self)] = me
                self._here.add(id(self))
                lifetime.check()
                while self._alone and lifetime._running:
                    if lifetime._inside.get(lifetime._running) == me:
                        raise EngineError(f"the {lifetime.what} is in use by this thread, which was interrupted there")
                    lifetime._changed.wait(_POLL_SECONDS)
                    lifetime.check()
                if self._alone:
                    lifetime._running = id(self)
        except BaseException:
            self._end()
            raise

    def __exit__(self, *_: object) -> None:
        self._end()

    def __del__(self) -> None:
        if id(self) in self._here:
            self._end()

    def _end(self) -> None:
        lifetime = self._lifetime
        with lifetime._changed:
            lifetime._inside.pop(id(self), None)
            if lifetime._running == id(self):
                lifetime._running = 0
            lifetime._changed.notify_all()
            self._here.discard(id(self))
        if lifetime._closed:
            lifetime._free_if_left()


class ForkedLock:
    """A re-entrant lock that a forked child gets anew: the thread that held it does not exist there."""

    def __init__(self) -> None:
        self.forked()
        _all.add(self)

    def forked(self) -> None:
        """In a child: make the lock anew."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_all: weakref.WeakSet[Lifetime | ForkedLock] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_all):
        each.forked()


os.register_at_fork(after_in_child=_after_fork)
