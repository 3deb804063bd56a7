"""Processes that measure, one for each row: their memory is their own, and they take turns.

They are forked, so that a checkpoint made in memory is there without a copy, and before any thread is started.
"""

from __future__ import annotations

import multiprocessing
import signal
from typing import TYPE_CHECKING, Any

from ..errors import EngineError, Qwen3TTSError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection


class Worker:
    """An object in another process, made by `make(*arguments)` there when its first method is called.

    A context manager, which ends the process. Calls raise Qwen3TTSError as the object did, and EngineError where it
    raised something else or died.
    """

    def __init__(self, what: str, make: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("fork")
        self._what = what
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, make, arguments), daemon=True)
        self._process.start()
        end.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """What the method returns."""
        try:
            self._pipe.send((method, arguments))
            ok, value = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(1)
            code = self._process.exitcode
            why = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            raise EngineError(
                f"{self._what}: the measuring process ended with {why}; is there enough memory?"
            ) from None
        if not ok:
            raise value
        return value

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The process: calls in, results out, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever made this process ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    measured = None
    while True:
        try:
            method, values = pipe.recv()
        except EOFError:
            return
        try:
            if measured is None:
                measured = make(*arguments)
            pipe.send((True, getattr(measured, method)(*values)))
        except Qwen3TTSError as error:
            pipe.send((False, error))
        except MemoryError:
            pipe.send((False, EngineError("out of memory")))
        except Exception as error:
            pipe.send((False, EngineError(f"{type(error).__name__}: {error}")))
