"""The lock of a file of packed weights: who holds it writes the file."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path


class Lock:
    """The right to write a file, held until `release` or until nothing refers to it any more; the system lets go of it
    when its holder ends, however that is.

    In a forked child it is still its parent's, and `release` does nothing.
    """

    def __init__(self, descriptor: int) -> None:
        import fcntl

        self._descriptor, self._process = descriptor, os.getpid()
        self._unlock = partial(fcntl.flock, descriptor, fcntl.LOCK_UN)

    def release(self) -> None:
        """Let go. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0 and self._process == os.getpid():
            self._unlock()  # also of the copies that forked children have
            os.close(descriptor)

    def __del__(self) -> None:
        self.release()  # of a model that was opened and dropped

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def try_lock(path: Path) -> Lock | None:
    """The lock of a file of packed weights; None where somebody else has it. Never waits. Raises OSError."""
    import fcntl

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = path.with_suffix(".lock")
    while True:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(descriptor)
            with contextlib.suppress(FileNotFoundError):
                there = os.stat(name)
                if (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino):
                    return Lock(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was removed with its file meanwhile: there is another one, or none
