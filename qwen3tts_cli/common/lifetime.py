"""Lifetimes of objects that own native resources: the resource is freed exactly once, from any thread, in any order.

Every call on an object runs inside its lifetime. `close` refuses later calls, waits until the calls of other threads
have returned, closes the child objects that were opened on this one, and frees the resource. A thread that is inside a
call of any lifetime (because it runs a signal handler, a finaliser or a callback) does not wait in `close`; the last
call to return then frees the resource.

A signal handler or a finaliser may run between any two bytecode instructions, also of this module, and call this module
again. Therefore this module holds no lock while Python code runs: a second thread could wait for the lock while the
lock's holder waits for that thread. It changes its state only by single operations of built-in containers, which are
atomic.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import EngineError
from .forking import register_for_fork

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_SECONDS = 0.05  # waiting threads also poll: an interrupted thread or a collected child sends no wake-up
_thread = threading.local()


def _nothing() -> None:
    pass


def _calls_here() -> set[int]:
    """Return the ids of the calls, of all lifetimes, that this thread is inside."""
    try:
        return _thread.calls
    except AttributeError:
        _thread.calls = set()
        return _thread.calls


def is_inside_call() -> bool:
    """Whether this thread is inside a call of any lifetime. If so, it must not wait for another thread."""
    return bool(_calls_here())


class Lifetime:
    """The lifetime of one object.

    what: names the object in errors. free: frees the resource; called once, when no call is running and all adopted
    children are freed. If `watch` is used, `free` must not refer to the object. stop: asks the running calls to return
    early. inherited: whether a forked child process may use the object.
    """

    def __init__(
        self, what: str, free: Callable[[], None], *, stop: Callable[[], None] = _nothing, inherited: bool = True
    ) -> None:
        self.what, self._free, self._stop, self._inherited = what, free, stop, inherited
        self._closed = self._freed = self._unusable_here = False
        self._freeing: list[object] = []  # one entry for each attempt to free; the first attempt does it
        self._parent: Callable[[], Lifetime | None] = _nothing  # type: ignore[assignment]
        self._children: set[weakref.ref[Lifetime]] = set()
        self._renew()
        register_for_fork(self)

    def _renew(self) -> None:
        self._inside: dict[int, int] = {}  # id of a call: id of the thread that makes it
        self._turns: list[int] = []  # ids of the exclusive calls in order of arrival; the first one runs
        self._wakeups: deque[threading.Lock] = deque()  # a lock for each waiting thread, released to wake it

    def check(self) -> None:
        """Raise EngineError if the object is closed, or belongs to the parent of this forked process."""
        if self._closed:
            raise EngineError(f"the {self.what} is closed")
        if self._unusable_here:
            raise EngineError(f"the {self.what} was opened before a fork; open it in this process")

    def call(self) -> _Call:
        """Return a context manager for one call. Entering it raises EngineError like `check`."""
        return _Call(self, False)

    def alone(self) -> _Call:
        """Return a context manager for one exclusive call; exclusive calls run one at a time in order of arrival.

        Entering it raises EngineError like `check`. It also raises EngineError where waiting would be a deadlock: this
        thread is inside an exclusive call already, or the thread inside an exclusive call waits for this thread.
        """
        return _Call(self, True)

    @property
    def busy(self) -> bool:
        """Whether an exclusive call runs or waits for its turn."""
        return bool(self._turns)

    @property
    def holds_this_thread(self) -> bool:
        """Whether this thread is inside a call: it was interrupted there, by a signal handler or a finaliser."""
        return threading.get_ident() in list(self._inside.values())

    def refuse_this_thread(self) -> None:
        """Raise EngineError if this thread is inside a call."""
        if self.holds_this_thread:
            raise EngineError(f"the {self.what} is in use by this thread, which was interrupted there")

    def adopt(self, child: Lifetime) -> None:
        """Make `child` close before this object is freed. Closes the child and raises EngineError if `check` does."""
        child._parent = weakref.ref(self)
        self._children.add(weakref.ref(child, self._children.discard))
        try:
            self.check()
        except EngineError:
            child.close()
            raise

    def close(self) -> None:
        """Refuse later calls, wait for the running calls of other threads, free the resource. May be called again."""
        try:
            with self.call():  # keeps the object from being freed before `stop` has run
                self._closed = True
                self._stop()
        except EngineError:
            self._closed = True
        self._wake()
        for child in self._adopted():
            child.close()
        self._free_if_unused()
        wakeup = None
        while not self._freed and not _calls_here():
            wakeup = wakeup or self._new_wakeup()
            if not self._freed and wakeup.acquire(timeout=_POLL_SECONDS):
                wakeup = None
            self._free_if_unused()

    def watch(self, owner: object) -> None:
        """Close this lifetime when `owner` is garbage-collected, and at the end of the process."""
        weakref.finalize(owner, self.close)

    def reset_after_fork(self) -> None:
        """Forget the calls of the parent process, whose threads do not exist in this child.

        If calls were running during the fork, the resource may be in an inconsistent state, so it is never freed here.
        """
        if self._inside or self._freeing:
            self._free, self._freed = _nothing, True
        self._unusable_here = self._unusable_here or bool(self._inside) or not self._inherited
        self._renew()

    def _adopted(self) -> list[Lifetime]:
        return [child for ref in self._children.copy() if (child := ref()) is not None]

    def _free_if_unused(self) -> None:
        # A call registers in `_inside` before it checks `_closed`. Reading `_closed` first and `_inside` second
        # therefore cannot miss a call that may still use the resource.
        if self._freed or not self._closed or self._inside or not all(child._freed for child in self._adopted()):
            return
        me, here = object(), _calls_here()
        try:
            here.add(id(me))  # a `close` that `free` calls in this thread must not wait
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
                    parent._free_if_unused()

    def _new_wakeup(self) -> threading.Lock:
        """Return a lock that the next `_wake` releases. The caller then tests the condition that it waits for."""
        wakeup = threading.Lock()
        wakeup.acquire()
        self._wakeups.append(wakeup)
        return wakeup

    def _wake(self) -> None:
        for _ in range(len(self._wakeups)):
            with suppress(IndexError):  # another thread wakes at the same time
                self._wakeups.popleft().release()

    def _threads_before(self, call: int) -> set[int]:
        """Return the threads whose exclusive calls come before `call`."""
        turns = self._turns.copy()
        return {self._inside.get(turn, 0) for turn in turns[: turns.index(call)]} if call in turns else set()

    def _wait_for_turn(self, call: int, me: int) -> None:
        outer = _waiting.get(me)
        _waiting[me] = self, call
        try:
            wakeup = None
            while True:
                wakeup = wakeup or self._new_wakeup()
                if self._turns[0] == call:
                    return
                self.check()
                if me in self._threads_before(call):
                    raise EngineError(f"the {self.what} is in use by this thread, which was interrupted there")
                if _is_deadlocked(me):
                    raise EngineError(f"the {self.what} is in use by a thread that waits for this one")
                if wakeup.acquire(timeout=_POLL_SECONDS):
                    wakeup = None
        finally:
            if outer is None:
                _waiting.pop(me, None)
            else:
                _waiting[me] = outer


_waiting: dict[int, tuple[Lifetime, int]] = {}  # thread: (lifetime, exclusive call that the thread waits to begin)


def _is_deadlocked(me: int) -> bool:
    """Whether this thread waits for a thread that, directly or through others, waits for this thread."""
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
    """One call, registered from `__enter__` to `__exit__`. An exception that a signal handler raises may interrupt
    either method. Therefore `__exit__` may be repeated, and `__del__` unregisters a call that did not end."""

    __slots__ = ("_alone", "_ended", "_here", "_lifetime")

    def __init__(self, lifetime: Lifetime, alone: bool) -> None:
        self._lifetime, self._alone, self._here, self._ended = lifetime, alone, _calls_here(), False

    def __enter__(self) -> None:
        lifetime, call, me = self._lifetime, id(self), threading.get_ident()
        try:
            self._here.add(call)
            # The call is registered before `check`: a `close` between the two then leaves the freeing to this call.
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
            try:  # noqa: SIM105  (contextlib.suppress takes longer than all else here)
                lifetime._turns.remove(call)
            except ValueError:  # the call has not begun, has ended, or was forgotten after a fork
                pass
        lifetime._inside.pop(call, None)
        self._here.discard(call)
        lifetime._wake()
        if lifetime._closed:
            lifetime._free_if_unused()
        self._ended = True


os.register_at_fork(after_in_child=_waiting.clear)
