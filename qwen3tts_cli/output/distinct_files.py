"""Names of outputs that would overwrite an input, or each other, are refused before anything is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from ..errors import UsageError
from .files import is_stdout

Named = tuple[str, "str | os.PathLike[str] | None"]


def check_outputs(outputs: Iterable[Named], inputs: Iterable[Named] = ()) -> None:
    """Raise UsageError unless each output has the name of a file, and of one of its own.

    Both are pairs of an option, as a message names it, and a path; None stands for one that was not asked for, `-` for
    standard output and input. Files are told apart by device and inode, however their paths are spelled: through links
    too. A device such as /dev/null takes any number of outputs, and an input counts where it can be overwritten: a
    regular file, or a disk.
    """
    taken: dict[object, str] = {}
    for name, path in inputs:
        if path is not None and (status := _status(os.fspath(path), 0)) is not None and _keeps(status):
            taken[_inode(status)] = f"{_called(name, path)}, which it would overwrite"
    for name, path in outputs:
        if path is None:
            continue
        path = os.fspath(path)
        _check_name(name, path)
        status = _status(path, 1)
        if status is None:
            key: object = _future(path)
        elif stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{name} {path}: a folder; name a file")
        elif stat.S_ISCHR(status.st_mode):
            continue
        else:
            key = _inode(status)
        if key in taken:
            raise UsageError(f"{_called(name, path)}: is the same file as {taken[key]}; name another file")
        taken[key] = _called(name, path)


def _called(name: str, path: str | os.PathLike[str]) -> str:
    return name if path == "-" else f"{name} {os.fspath(path)}"


def _check_name(name: str, path: str) -> None:
    if not path or "\0" in path:
        raise UsageError(f"{name}: {'an empty name' if not path else 'a name with a NUL character'}")
    if path.endswith("/"):
        raise UsageError(f"{name} {path}: {'a folder' if os.path.isdir(path) else 'no such folder'}; name a file")


def _status(path: str, standard: int) -> os.stat_result | None:
    """Of the file that a path leads to, None where there is none; `-` is a descriptor of this process."""
    try:
        if path == "-":
            return os.fstat(standard)
        return os.fstat(1) if is_stdout(path) else os.stat(path)
    except (OSError, ValueError):
        return None


def _keeps(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _future(path: str) -> object:
    """What tells a file that is still to be made from others: its folder and its name."""
    real = os.path.realpath(path)
    folder, name = os.path.split(real)
    status = _status(folder, 1)
    return real if status is None else (*_inode(status), name)
