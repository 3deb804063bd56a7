"""List the packed files in the cache folder, and delete unused ones."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .cache_lock import try_lock
from .cache_paths import KINDS, SUFFIX, PackedFile, cache_directory, cache_path, kind_of, partial_path, stamp_path
from .file_format import checkpoint_folder


def remove(folder: Path, kind: str) -> int:
    """Delete a packed file of the checkpoint in `folder`; see remove_file."""
    path = cache_path(folder, kind)
    return 0 if path is None else remove_file(path)


def remove_file(path: Path) -> int:
    """Delete a packed file, its stamp, its lock and its partial file. Returns the bytes freed. Raises OSError.

    Does not wait. A process that uses the file keeps its mapping; a process that writes it fails to rename it.
    """
    size = 0
    for each in (path, stamp_path(path), partial_path(path)):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            size += os.lstat(each).st_size if each != stamp_path(path) else 0
            each.unlink()
    if path.with_suffix(".lock").exists() and (lock := try_lock(path)) is not None:
        with lock:
            path.with_suffix(".lock").unlink(missing_ok=True)
    return size


def packed_files() -> Iterator[PackedFile]:
    """All packed files, sorted by path."""
    directory = cache_directory()
    for path in sorted(directory.glob("*" + SUFFIX)) if directory is not None else ():
        kind = kind_of(path)
        if kind in KINDS:
            yield PackedFile(path, kind, checkpoint_folder(path))


def packed_files_of(folder: Path | None, below: bool = False) -> list[PackedFile]:
    """The packed files of the checkpoint in `folder`, which need not exist any more. An empty list for None.

    below: whether to list the packed files of all checkpoints in folders below `folder` instead.
    """
    if folder is None:
        return []
    own, real = {cache_path(folder, kind) for kind in KINDS}, Path(os.path.realpath(folder))
    if below:
        return [file for file in packed_files() if file.folder is not None and real in file.folder.parents]
    return [file for file in packed_files() if file.path in own]


def remove_unused(unknown: bool = False) -> list[tuple[PackedFile, int]]:
    """Delete packed files whose checkpoint is gone, and partial files. Returns each file with the bytes freed.

    unknown: whether to delete also files that do not name their checkpoint. Raises OSError.
    """
    unused = [file for file in packed_files() if file.orphaned and (unknown or file.folder is not None)]
    return [(file, remove_file(file.path)) for file in unused] + remove_partial()


def remove_partial() -> list[tuple[PackedFile, int]]:
    """Delete partial files that killed processes left. Returns each file with the bytes freed. Raises OSError.

    A file that a process is writing now stays: that process holds its lock.
    """
    directory, removed = cache_directory(), []
    for part in sorted(directory.glob("*.part")) if directory is not None else ():
        if (lock := try_lock(part.with_suffix(SUFFIX))) is not None:
            with lock, contextlib.suppress(FileNotFoundError):
                size = part.lstat().st_size
                part.unlink()
                removed.append((PackedFile(part, kind_of(part), None), size))
                if not part.with_suffix(SUFFIX).exists():
                    part.with_suffix(".lock").unlink()
    return removed
