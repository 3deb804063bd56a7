"""Processes that measure, one for each row, so that the memory of each row is counted alone.

The processes are forked before any thread is started, and share a checkpoint made in memory without a copy.
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
    """An object in another process, which creates it with `make(*arguments)` at the first call.

    A context manager that ends the process. name: names the process in errors.
    """

    def __init__(self, name: str, make: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("fork")
        self._name = name
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, make, arguments), daemon=True)
        self._process.start()
        end.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object; returns what it returns.

        Raises the Qwen3TTSError that the method raised; EngineError for any other exception, or if the process died.
        """
        try:
            self._pipe.send((method, arguments))
            ok, value = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(1)
            code = self._process.exitcode
            why = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            raise EngineError(
                f"{self._name}: the measuring process ended with {why}; is there enough memory?"
            ) from None
        if not ok:
            raise value
        return value

    def close(self) -> None:
        """Kill the process."""
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The loop of the process: receives calls and sends results until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
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
