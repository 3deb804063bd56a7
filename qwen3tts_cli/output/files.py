"""Outputs: a regular file that appears whole or not at all; a device or FIFO, written in place; stdout or another
descriptor that the caller has opened.

Each output has `write(data)`; `patch(offset, data)`, if it is `seekable`; `finish()`, which writes all buffered bytes,
so that only renaming can fail after it; `commit()`, which renames the file; and `discard()`, which removes what was
written if possible, and may be called at any time. These methods raise BrokenPipeError if the reader closed the pipe,
and OutputError with the name of the output for every other failure.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import stat
import sys
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import OutputError

_STDOUT_NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_MOST_LINKS = 40


def is_stdout(path: str) -> bool:
    """Whether the name of an output means standard output."""
    return path in _STDOUT_NAMES or _descriptor_of(path) == 1


def _descriptor_of(path: str) -> int | None:
    """The descriptor of this process that a path such as /dev/stderr or /dev/fd/3 names, also through links; or None.

    A file that is opened through such a path must not be replaced: other programs write into it too.
    """
    try:
        for _ in range(_MOST_LINKS):
            folder, name = os.path.split(path)
            folder = os.path.realpath(folder or ".")
            if re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}(/task/[0-9]+)?/fd", folder):
                return int(name) if re.fullmatch("[0-9]{1,9}", name) else None
            path = os.path.join(folder, os.readlink(path))
    except (OSError, ValueError):  # not a link: a file of that name, or no file
        return None
    return None


def shares_stderr(path: str | None) -> bool:
    """Whether an output is the same file or pipe as standard error, as after 2>&1: notes would be written into it."""
    if path is None or not (is_stdout(path) or is_special(path)):
        return False
    try:
        status = os.fstat(1) if is_stdout(path) else os.stat(path)
        return not stat.S_ISCHR(status.st_mode) and os.path.samestat(status, os.fstat(2))
    except OSError:
        return False


def is_special(path: str) -> bool:
    """Whether an output is written in place: a FIFO, a device, or a descriptor that the caller has opened."""
    if _descriptor_of(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def open_output(path: str) -> AtomicFile | SpecialFile | OpenedFile:
    """Open the output named `path`, `-` for stdout. Opening a FIFO waits for its reader. Raises OutputError."""
    if is_stdout(path):
        return Stdout()
    if (descriptor := _descriptor_of(path)) is not None:
        return OpenedFile(descriptor, path)
    return SpecialFile(path) if is_special(path) else AtomicFile(path)


@contextlib.contextmanager
def write_output(path: str) -> Iterator[AtomicFile | SpecialFile | OpenedFile]:
    """Open an output for a `with` block; finish and commit it at the end, discard it if the block raises."""
    output = open_output(path)
    try:
        yield output
        output.finish()
        output.commit()
    except BaseException:
        output.discard()
        raise


def _failure(name: str, error: OSError | ValueError) -> OutputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return OutputError(f"{name}: {reason}")


class AtomicFile:
    """A regular file, written under a temporary name in the same folder and renamed by `commit`."""

    seekable = True

    def __init__(self, path: str) -> None:
        from ..common.atomic_write import Replacement

        self.name = path
        try:
            self._replacement = Replacement(path)
        except (OSError, ValueError) as error:
            raise _failure(path, error) from None
        self.file: BinaryIO = self._replacement.file

    @property
    def temporary(self) -> str:
        """The path of the file until `commit`, for a program that writes it."""
        return self._replacement.temporary

    def write(self, data: bytes) -> None:
        """Append bytes."""
        try:
            self.file.write(data)
        except OSError as error:
            raise _failure(self.name, error) from None

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes at an offset from the first byte written."""
        try:
            self.file.seek(offset)
            self.file.write(data)
            self.file.seek(0, os.SEEK_END)
        except OSError as error:
            raise _failure(self.name, error) from None

    def finish(self) -> None:
        """Write the buffered bytes to disk; the file still has its temporary name."""
        try:
            self._replacement.finish()
        except OSError as error:
            raise _failure(self.name, error) from None

    def commit(self) -> None:
        """Give the file its name."""
        try:
            self._replacement.commit()
        except OSError as error:
            raise _failure(self.name, error) from None

    def discard(self) -> None:
        """Remove the temporary file; does nothing after `commit`."""
        self._replacement.discard()


def _write_some(descriptor: int, data: memoryview) -> int:
    """Write one byte or more; returns the number of bytes written."""
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:  # another process made the pipe non-blocking
            select.select([], [descriptor], [])


class SpecialFile:
    """A FIFO or device: written in place, never replaced or removed."""

    seekable = False

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._descriptor = os.open(path, os.O_WRONLY)
        except OSError as error:
            raise _failure(path, error) from None

    def write(self, data: bytes) -> None:
        """Write bytes now."""
        view = memoryview(data)
        try:
            while view:
                view = view[_write_some(self._descriptor, view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _failure(self.name, error) from None

    def finish(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                os.close(descriptor)
            except OSError as error:
                raise _failure(self.name, error) from None

    def commit(self) -> None:
        """Does nothing: the bytes are written."""

    def discard(self) -> None:
        """Close the file."""
        with contextlib.suppress(OutputError):
            self.finish()


class OpenedFile:
    """An unbuffered descriptor that the caller opened. `seekable`: whether it is a regular file, also with O_APPEND."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.name, self._descriptor, self._written, self._committed = name, descriptor, 0, False
        try:
            status = os.fstat(descriptor)
            self.seekable = stat.S_ISREG(status.st_mode)
            if self.seekable:
                self._appends = self._flags() & os.O_APPEND
                self._start = status.st_size if self._appends else os.lseek(descriptor, 0, os.SEEK_CUR)
        except OSError as error:
            raise _failure(name, error) from None

    def _flags(self) -> int:
        import fcntl

        return fcntl.fcntl(self._descriptor, fcntl.F_GETFL)

    def write(self, data: bytes) -> None:
        """Write bytes now."""
        view = memoryview(data)
        try:
            while view:
                count = _write_some(self._descriptor, view)
                self._written += count
                view = view[count:]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _failure(self.name, error) from None

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes at an offset from the first byte written; the position of the next byte does not change."""
        import fcntl

        try:
            if self._appends:  # with O_APPEND, pwrite of Linux ignores its offset
                fcntl.fcntl(self._descriptor, fcntl.F_SETFL, self._flags() & ~os.O_APPEND)
            try:
                os.pwrite(self._descriptor, data, self._start + offset)
            finally:
                if self._appends:
                    fcntl.fcntl(self._descriptor, fcntl.F_SETFL, self._flags() | os.O_APPEND)
        except OSError as error:
            raise _failure(self.name, error) from None

    def finish(self) -> None:
        """Does nothing: no byte is buffered, and the caller closes the descriptor."""

    def commit(self) -> None:
        """Keep what was written."""
        self._committed = True

    def discard(self) -> None:
        """Truncate a regular file to the length that it had before, so that no partial result is left."""
        if self._committed or not self.seekable:
            return
        with contextlib.suppress(OSError):
            if os.fstat(self._descriptor).st_size == self._start + self._written:
                os.ftruncate(self._descriptor, self._start)
                os.lseek(self._descriptor, self._start, os.SEEK_SET)
        self._written = 0


class Stdout(OpenedFile):
    """Standard output."""

    def __init__(self) -> None:
        if sys.stdout is None:  # closed by the caller: descriptor 1 may be another file by now
            raise OutputError("standard output is closed")
        sys.stdout.flush()
        super().__init__(1, "standard output")
