"""The lock of a packed file: only the process that holds it may write the file."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path


class Lock:
    """The right to write a packed file, held until `release` or until the object is collected.

    The system releases the lock when the process ends for any reason. A forked child does not hold the lock: there
    `release` does nothing.
    """

    def __init__(self, descriptor: int) -> None:
        import fcntl

        self._descriptor, self._process = descriptor, os.getpid()
        self._unlock = partial(fcntl.flock, descriptor, fcntl.LOCK_UN)

    def release(self) -> None:
        """Release the lock. May be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0 and self._process == os.getpid():
            self._unlock()  # forked children have copies of the descriptor: closing it would not release the lock
            os.close(descriptor)

    def __del__(self) -> None:
        self.release()

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def try_lock(path: Path) -> Lock | None:
    """Take the lock of a packed file; None if another process holds it. Does not wait. Raises OSError."""
    import fcntl

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = path.with_suffix(".lock")
    while True:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = os.fstat(descriptor)
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name)
                if (found.st_dev, found.st_ino) == (locked.st_dev, locked.st_ino):
                    return Lock(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the lock file was deleted after it was opened: open or create it again
