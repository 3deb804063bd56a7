"""Signals that end the command: each raises an exception in the main thread, so that all clean-up code runs."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn

INTERRUPTED = 128 + signal.SIGINT
_AGAIN_SECONDS = 0.01


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived. exit_code: 128 + the number of the signal, as shells report it.

    It is a subclass of KeyboardInterrupt because Python's compiler and some libraries drop other exceptions.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.exit_code = 128 + number


def exit_code(error: KeyboardInterrupt) -> int:
    """The exit code of a command that SIGINT, SIGTERM or SIGHUP ended."""
    return error.exit_code if isinstance(error, Terminated) else INTERRUPTED


@contextlib.contextmanager
def raise_on_signals() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise Terminated, and SIGINT raises KeyboardInterrupt.

    If Python drops the exception, because a finaliser raised it, the signal is sent again.
    """

    def stop(number: int, frame: Any) -> NoReturn:
        raise Terminated(number)

    main, hook, kept = _thread.get_ident(), sys.unraisablehook, {}

    def unraisable(lost: Any) -> None:
        # Python drops an exception of a finaliser or of the callback of a weak reference: send the signal again.
        if isinstance(lost.exc_value, KeyboardInterrupt):
            _thread.start_new_thread(_send_again, (main, exit_code(lost.exc_value) - 128))
        else:
            hook(lost)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            kept[number] = signal.signal(number, stop)
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within the block SIGINT ends only the block; SIGTERM and SIGHUP end the command."""
    try:
        yield
    except Terminated:
        raise
    except KeyboardInterrupt:
        pass


def _send_again(thread: int, number: int) -> None:
    time.sleep(_AGAIN_SECONDS)  # until the finaliser has returned
    signal.pthread_kill(thread, number)
