"""When an object may be used, and when what it owns is freed: once, in whatever order and from whatever thread.

Each call on the object runs inside its lifetime. `close` refuses later calls, waits for those of other threads that are
inside, closes what was opened on the object, and frees. A thread that is itself inside a call, of this object or of any
other (a signal handler, a finaliser or a callback runs there), never waits: whoever leaves last frees.

A signal handler or a finaliser may run between any two instructions, also of this module, and call into it again. So no
lock is held here while Python runs: another thread could wait for it while its holder waits for that thread. Everything
is one step of a built-in container instead, which no thread sees half done.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import EngineError

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
        self._closed = self._freed = self._lost = False
        self._freeing: list[object] = []  # the first one frees
        self._parent: Callable[[], Lifetime | None] = _nothing  # type: ignore[assignment]
        self._children: set[weakref.ref[Lifetime]] = set()
        self._renew()
        _all.add(weakref.ref(self, _all.discard))

    def _renew(self) -> None:
        self._inside: dict[int, int] = {}  # id of a call -> its thread
        self._turns: list[int] = []  # ids of the calls that take turns; the first one is alone
        self._bells: deque[threading.Lock] = deque()  # of the waiters

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
        """The same for a call that takes turns with the others of this kind, as they come. Raises EngineError also
        where waiting would never end: inside another one of the same thread, or of one that waits for this one."""
        return _Call(self, True)

    def adopt(self, child: Lifetime) -> None:
        """Close `child` before this object is freed. Raises EngineError as `check` does, having closed the child."""
        child._parent = weakref.ref(self)
        self._children.add(weakref.ref(child, self._children.discard))
        try:
            self.check()
        except EngineError:
            child.close()
            raise

    def close(self) -> None:
        """Refuse later calls, wait for the calls of other threads that are inside, and free. May be called again."""
        try:
            with self.call():  # or it could be freed before it is stopped
                self._closed = True
                self._stop()
        except EngineError:
            self._closed = True
        self._wake()
        for child in self._adopted():
            child.close()
        self._free_if_left()
        bell = None
        while not self._freed and not _calls_here():
            bell = bell or self._bell()
            if not self._freed and bell.acquire(timeout=_POLL_SECONDS):
                bell = None
            self._free_if_left()

    def watch(self, owner: object) -> None:
        """Close when `owner` is collected, and at the end of the process."""
        weakref.finalize(owner, self.close)

    def forked(self) -> None:
        """In a child: the threads that were inside do not exist, and what they were changing stays as it is."""
        if self._inside or self._freeing:
            self._free, self._freed = _nothing, True
        self._lost = self._lost or bool(self._inside) or not self._inherited
        self._renew()

    def _adopted(self) -> list[Lifetime]:
        return [child for ref in self._children.copy() if (child := ref()) is not None]

    def _free_if_left(self) -> None:
        # A call is inside before it looks whether this is closed, so none can come once both are seen in this order.
        if self._freed or not self._closed or self._inside or not all(child._freed for child in self._adopted()):
            return
        me, here = object(), _calls_here()
        try:
            here.add(id(me))  # what frees here cannot be waited for here
            self._freeing.append(me)
            if self._freeing[0] is me:
                self._free()
        finally:
            mine = self._freeing[:1] == [me]
            self._freed = self._freed or mine
            here.discard(id(me))
            if mine:
                self._free = _nothing
                self._wake()
                if (parent := self._parent()) is not None:
                    parent._children.discard(weakref.ref(self))
                    parent._free_if_left()

    def _bell(self) -> threading.Lock:
        """A lock that the next `_wake` releases. It is made before looking whether there is something to wait for."""
        bell = threading.Lock()
        bell.acquire()
        self._bells.append(bell)
        return bell

    def _wake(self) -> None:
        for _ in range(len(self._bells)):
            with suppress(IndexError):  # others ring too
                self._bells.popleft().release()

    def _threads_before(self, call: int) -> set[int]:
        """The threads that `call` waits for to have its turn."""
        turns = self._turns.copy()
        return {self._inside.get(turn, 0) for turn in turns[: turns.index(call)]} if call in turns else set()

    def _wait_for_turn(self, call: int, me: int) -> None:
        outer = _waiting.get(me)
        _waiting[me] = self, call
        try:
            bell = None
            while True:
                bell = bell or self._bell()
                if self._turns[0] == call:
                    return
                self.check()
                if me in self._threads_before(call):
                    raise EngineError(f"the {self.what} is in use by this thread, which was interrupted there")
                if _in_a_circle(me):
                    raise EngineError(f"the {self.what} is in use by a thread that waits for this one")
                if bell.acquire(timeout=_POLL_SECONDS):
                    bell = None
        finally:
            if outer is None:
                _waiting.pop(me, None)
            else:
                _waiting[me] = outer


_waiting: dict[int, tuple[Lifetime, int]] = {}  # thread -> for what it waits to be alone, and its call there


def _in_a_circle(me: int) -> bool:
    """Whether this thread waits for one that, by itself or through others, waits for this one."""
    seen: set[int] = set()
    left = [me]
    while left:
        waits = _waiting.get(left.pop())
        before = set() if waits is None else waits[0]._threads_before(waits[1])
        if me in before:
            return True
        left += before - seen
        seen |= before
    return False


class _Call:
    """One call, inside from `__enter__` to `__exit__`. The exception of a signal handler may come before either has run
    to its end: what they do can be done twice, and is done at the latest when the call is collected."""

    __slots__ = ("_alone", "_ended", "_here", "_lifetime")

    def __init__(self, lifetime: Lifetime, alone: bool) -> None:
        self._lifetime, self._alone, self._here, self._ended = lifetime, alone, _calls_here(), False

    def __enter__(self) -> None:
        lifetime, call, me = self._lifetime, id(self), threading.get_ident()
        try:
            self._here.add(call)
            # Inside before it is checked: whoever closes in between leaves the freeing to this call.
            lifetime._inside[call] = me
            if self._alone:
                lifetime._turns.append(call)
            lifetime.check()
            if self._alone and lifetime._turns[0] != call:
                lifetime._wait_for_turn(call, me)
        except BaseException:
            self._end()
            raise

    def __exit__(self, *_: object) -> None:
        self._end()

    def __del__(self) -> None:
        if not self._ended:
            self._end()

    def _end(self) -> None:
        lifetime, call = self._lifetime, id(self)
        if self._alone:
            with suppress(ValueError):  # never begun, ended before, or forked
                lifetime._turns.remove(call)
        lifetime._inside.pop(call, None)
        self._here.discard(call)
        lifetime._wake()
        if lifetime._closed:
            lifetime._free_if_left()
        self._ended = True


class ForkedLock:
    """A re-entrant lock that a forked child gets anew: the thread that held it does not exist there."""

    def __init__(self) -> None:
        self.forked()
        _all.add(weakref.ref(self, _all.discard))

    def forked(self) -> None:
        """In a child: make the lock anew."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # forked inside: the new lock was not acquired
            self._lock.release()


_all: set[weakref.ref[Lifetime] | weakref.ref[ForkedLock]] = set()


def _after_fork() -> None:
    _waiting.clear()
    for ref in _all.copy():
        if (each := ref()) is not None:
            each.forked()


os.register_at_fork(after_in_child=_after_fork)
