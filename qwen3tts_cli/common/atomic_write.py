"""Atomic file writing: data goes into a temporary file in the same folder, which is then renamed or linked.

If writing fails (a full disk, an interrupt, SIGTERM turned into an exception, no memory), the temporary file is
removed. A file that has its final name keeps its contents through a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import BinaryIO

# the errors of os.link and os.fsync on file systems that do not support them
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class Replacement:
    """The new contents of a file: write to `file`, then call `commit` or `discard`.

    As a context manager it commits if the block ends without an exception, and discards otherwise.

    path: the file to write. If it is a symbolic link, the link's target is replaced. An existing file keeps its mode; a
    write-protected file is not replaced. new: True if the file must not exist, not even as a dangling link; if two
    processes create it at the same time, one of them gets FileExistsError. mode: the permission bits of a file that did
    not exist, before the umask. durable: False skips fsync, for a file that can be made again and is checked when it is
    read. temporary: the name of the temporary file. An older file of that name, left by a killed process, is deleted,
    so the caller must hold a lock.
    Raises OSError, and ValueError for a path with a NUL character.
    """

    _temporary: str | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        new: bool = False,
        mode: int = 0o666,
        durable: bool = True,
        temporary: str | None = None,
    ) -> None:
        self._new, self._durable, self._process = new, durable, os.getpid()
        self._target = os.path.abspath(os.fspath(path)) if new else os.path.realpath(path)
        self._folder = os.path.dirname(self._target)
        if not os.path.isdir(self._folder):
            raise FileNotFoundError(errno.ENOENT, f"no folder {self._folder}")
        kept = self._kept_mode()
        # The name is set before the file exists, so that `discard` removes the file after an interrupt inside os.open.
        name = temporary or f".qwen3tts-{os.urandom(8).hex()}.part"
        self._temporary = os.path.join(self._folder, name)
        try:
            if temporary is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._temporary)
            descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
            self.file: BinaryIO = open(descriptor, "w+b")  # noqa: SIM115
            if kept is not None:
                with contextlib.suppress(OSError):  # a file system without modes
                    os.fchmod(descriptor, kept)
        except BaseException:
            self.discard()
            raise

    def _kept_mode(self) -> int | None:
        if self._new:
            if os.path.lexists(self._target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            return None
        try:
            status = os.stat(self._target)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file")
        if not os.access(self._target, os.W_OK):  # os.replace does not check this
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat.S_IMODE(status.st_mode)

    @property
    def temporary(self) -> str:
        """The path of the temporary file, before `commit` and `discard`."""
        assert self._temporary is not None, "neither committed nor discarded before"
        return self._temporary

    def finish(self) -> None:
        """Flush the file to the disk and close it; the file keeps its temporary name until `commit`. Raises OSError."""
        if self.file.closed:
            return
        self.file.flush()
        if self._durable:
            _sync(self.file.fileno())
        self.file.close()

    def commit(self) -> None:
        """Give the file its final name in one atomic step. Raises OSError; FileExistsError if `new` and it exists."""
        self.finish()
        if self._new:
            self._link(self.temporary)
        else:
            os.replace(self.temporary, self._target)
        self.discard()  # after os.link the temporary name still exists
        if self._durable:
            sync_folder(self._folder)

    def _link(self, temporary: str) -> None:
        try:
            os.link(temporary, self._target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Without hard links, an empty file reserves the name: O_EXCL fails in any other process.
            os.close(os.open(self._target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            try:
                os.replace(temporary, self._target)
            except BaseException:
                os.unlink(self._target)
                raise

    def discard(self) -> None:
        """Remove the temporary file. Does nothing after `commit`. May be called at any time; never raises OSError."""
        # In a forked child the temporary file belongs to the parent.
        if self._temporary is not None and self._process == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
        self._temporary = None
        if (file := getattr(self, "file", None)) is not None:
            with contextlib.suppress(OSError):  # closing flushes, which fails on a full disk; the data is not needed
                file.close()

    def __enter__(self) -> BinaryIO:
        return self.file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.discard()

    def __del__(self) -> None:
        # An interrupt may come before the caller has stored the new object.
        self.discard()


def write_whole(
    path: str | os.PathLike[str], data: bytes, *, new: bool = False, mode: int = 0o666, durable: bool = True
) -> None:
    """Write `data` to a file atomically. Arguments and errors as in Replacement."""
    with Replacement(path, new=new, mode=mode, durable=durable) as file:
        file.write(data)


def move(temporary: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Rename a file within its file system in one atomic step, and fsync the folder. Raises OSError."""
    os.replace(temporary, path)
    sync_folder(os.path.dirname(os.path.abspath(path)))


def sync_folder(folder: str) -> None:
    """Write the names in a folder to the disk. Raises nothing."""
    with contextlib.suppress(OSError):  # the file is complete; a folder that cannot be opened or synced is no failure
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
