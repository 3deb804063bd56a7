"""List and delete the packed weights that the cache folder holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .cache_lock import try_lock
from .file import folder_of
from .locate import KINDS, SUFFIX, Pack, cache_directory, cache_path, stamp_of, temporary_of


def remove(folder: Path, kind: str) -> int:
    """Delete the packed weights of the model in `folder`; returns the bytes that were freed. Raises OSError.

    Waits for nobody: a process that uses them keeps them until it ends, one that writes them finds nothing to rename.
    """
    path = cache_path(folder, kind)
    return 0 if path is None else remove_file(path)


def remove_file(path: Path) -> int:
    """The same of one file, with all that lies beside it."""
    size = 0
    for each in (path, stamp_of(path), temporary_of(path)):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            size += os.lstat(each).st_size if each.suffix != ".ok" else 0
            each.unlink()
    if path.with_suffix(".lock").exists() and (lock := try_lock(path)) is not None:
        with lock:
            path.with_suffix(".lock").unlink(missing_ok=True)
    return size


def packs() -> Iterator[Pack]:
    """All packed weights that there are, whatever they were made of."""
    place = cache_directory()
    for path in sorted(place.glob("*" + SUFFIX)) if place is not None else ():
        kind = path.stem.rpartition("-")[2]
        if kind in KINDS:
            yield Pack(path, kind, folder_of(path))


def packs_of(folder: Path | None, below: bool = False) -> list[Pack]:
    """Packed weights of the model in `folder`, which need not exist any more; below: of those in folders below it.
    Of None there are none."""
    if folder is None:
        return []
    own, real = {cache_path(folder, kind) for kind in KINDS}, Path(os.path.realpath(folder))
    if below:
        return [pack for pack in packs() if pack.folder is not None and real in pack.folder.parents]
    return [pack for pack in packs() if pack.path in own]


def tidy(unknown: bool = False) -> list[tuple[Pack, int]]:
    """Delete packed weights whose model is gone, and what killed writers left, see `sweep`; each with the bytes that
    were freed.

    unknown: also files that do not say what they were made of. Raises OSError.
    """
    gone = [pack for pack in packs() if pack.orphaned and (unknown or pack.folder is not None)]
    return [(pack, remove_file(pack.path)) for pack in gone] + sweep()


def sweep() -> list[tuple[Pack, int]]:
    """Delete parts of files that killed writers left, of whatever model, with the bytes that were freed. What somebody
    writes now is left alone. Raises OSError."""
    place, removed = cache_directory(), []
    for part in sorted(place.glob("*.part")) if place is not None else ():
        if (lock := try_lock(part.with_suffix(SUFFIX))) is not None:
            with lock, contextlib.suppress(FileNotFoundError):
                size = part.lstat().st_size
                part.unlink()
                removed.append((Pack(part, part.stem.rpartition("-")[2], None), size))
                if not part.with_suffix(SUFFIX).exists():
                    part.with_suffix(".lock").unlink()
    return removed
