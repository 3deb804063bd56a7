"""Files that appear whole or not at all: written under another name in the same folder, then renamed or linked.

Whatever ends the writing (a full disk, an interrupt, SIGTERM turned into an exception, no memory) removes what was
written. Once a file has its name, it keeps its contents through a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import BinaryIO

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
# what file systems without hard links answer
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class Replacement:
    """The coming contents of a file: write to `file`, then `finish` and `commit`, or `discard`.

    As a context manager it finishes and commits where the block ends without an exception, and discards otherwise.

    path: a symbolic link is followed, so that its target is replaced and not the link; an existing file keeps its mode,
    and one that is protected from writing is not replaced. new: the file must not exist, not even as a dangling link;
    of two processes that create it at the same time one gets FileExistsError. mode: of a file that did not exist,
    before the umask. durable: False for what can be made again and is checked when read; it is not waited for.
    temporary: a name in the same folder for the time until then, whose file a killed process may have left: for who
    holds a lock. Raises OSError, and ValueError for a path with a NUL character.
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
        # The name is known before the file exists, so that an interrupt right after its creation finds it.
        name = temporary or f".qwen3tts-{os.urandom(8).hex()}.part"
        self._temporary = os.path.join(self._folder, name)
        try:
            if temporary is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._temporary)
            descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC, mode)
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
        if not os.access(self._target, os.W_OK):  # a rename would replace it all the same
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat.S_IMODE(status.st_mode)

    def finish(self) -> None:
        """Write out what is buffered, down to the disk, and close the file, which still has its temporary name."""
        if self.file.closed:
            return
        self.file.flush()
        if self._durable:
            _sync(self.file.fileno())
        self.file.close()

    def commit(self) -> None:
        """Give the file its name, in one step. Raises FileExistsError where it has to be new and is not."""
        self.finish()
        assert self._temporary is not None, "neither committed nor discarded before"
        if self._new:
            self._link(self._temporary)
        else:
            os.replace(self._temporary, self._target)
        self.discard()  # of a link there are two names now
        if self._durable:
            _sync_folder(self._folder)

    def _link(self, temporary: str) -> None:
        try:
            os.link(temporary, self._target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Without hard links the name is taken by an empty file first, which nobody else can do then.
            os.close(os.open(self._target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC, 0o666))
            try:
                os.replace(temporary, self._target)
            except BaseException:
                os.unlink(self._target)
                raise

    def discard(self) -> None:
        """Remove what was written; nothing happens after `commit`. May be called at any time; never raises OSError."""
        # In a forked child the temporary file is still its parent's.
        if self._temporary is not None and self._process == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
        self._temporary = None
        if (file := getattr(self, "file", None)) is not None:
            with contextlib.suppress(OSError):  # a full disk: what could not be written is thrown away with the rest
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
        # An interrupt may come before the new object is in anybody's hands.
        self.discard()


def write_whole(
    path: str | os.PathLike[str], data: bytes, *, new: bool = False, mode: int = 0o666, durable: bool = True
) -> None:
    """Write a file of `data`; the other arguments and the errors are those of Replacement."""
    with Replacement(path, new=new, mode=mode, durable=durable) as file:
        file.write(data)


def move(temporary: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Give a file that is on the disk another name in its file system, in one step, and write the name to the disk too.

    Raises OSError.
    """
    os.replace(temporary, path)
    _sync_folder(os.path.dirname(os.path.abspath(path)))


def _sync_folder(folder: str) -> None:
    with contextlib.suppress(OSError):  # the file has its name; a folder that cannot be opened or synced is no failure
        descriptor = os.open(folder, os.O_RDONLY | _CLOEXEC)
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
