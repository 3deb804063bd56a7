"""Refuses outputs that would overwrite an input or each other, before anything is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from ..errors import UsageError
from .files import is_stdout

Named = tuple[str, "str | os.PathLike[str] | None"]


def check_outputs(outputs: Iterable[Named], inputs: Iterable[Named] = ()) -> None:
    """Raise UsageError unless each output is a file that is neither an input nor another output.

    outputs, inputs: pairs (name for messages, such as the option; path). The path is None for an absent option, `-` for
    standard output or input. Two paths name the same file if device and inode are equal, also through links. A
    character device such as /dev/null may be given for several outputs. Only inputs that can be overwritten count:
    regular files and disks.
    """
    used: dict[object, str] = {}
    for name, path in inputs:
        if path is not None and (status := _status(os.fspath(path), 0)) is not None and _overwritable(status):
            used[_inode(status)] = f"{_shown(name, path)}, which it would overwrite"
    for name, path in outputs:
        if path is None:
            continue
        path = os.fspath(path)
        _check_name(name, path)
        status = _status(path, 1)
        if status is None:
            key: object = _key_of_new(path)
        elif stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{name} {path}: a folder; name a file")
        elif stat.S_ISCHR(status.st_mode):
            continue
        else:
            key = _inode(status)
        if key in used:
            raise UsageError(f"{_shown(name, path)}: is the same file as {used[key]}; name another file")
        used[key] = _shown(name, path)


def _shown(name: str, path: str | os.PathLike[str]) -> str:
    return name if path == "-" else f"{name} {os.fspath(path)}"


def _check_name(name: str, path: str) -> None:
    if not path or "\0" in path:
        raise UsageError(f"{name}: {'an empty name' if not path else 'a name with a NUL character'}")
    if path.endswith("/"):
        raise UsageError(f"{name} {path}: {'a folder' if os.path.isdir(path) else 'no such folder'}; name a file")


def _status(path: str, standard: int) -> os.stat_result | None:
    """The status of the file at a path; None if there is no file. standard: the descriptor that `-` stands for."""
    try:
        if path == "-":
            return os.fstat(standard)
        return os.fstat(1) if is_stdout(path) else os.stat(path)
    except (OSError, ValueError):
        return None


def _overwritable(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _key_of_new(path: str) -> object:
    """A key for a file that does not exist yet: the inode of its folder, and its name."""
    real = os.path.realpath(path)
    folder, name = os.path.split(real)
    status = _status(folder, 1)
    return real if status is None else (*_inode(status), name)
