"""Where packed weights lie in the user's cache folder: their names, their locks, and what is no longer of use there."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from . import hub, places

KINDS = ("bf16", "int8", "int4", "codec")
_SUFFIX = ".q3t"


class Pack(NamedTuple):
    """A file of packed weights. kind: one of KINDS. folder: of the model it was made of; None where it does not say."""

    path: Path
    kind: str
    folder: Path | None

    @property
    def orphaned(self) -> bool:
        """Whether its model is gone, or is an old revision in the Hugging Face cache."""
        return self.folder is None or not self.folder.is_dir() or hub.superseded(self.folder)


def cache_path(folder: Path, kind: str) -> Path | None:
    """Where the packed weights of the model in `folder` are, or would be; None where there is no cache folder."""
    place = _place()
    if place is None:
        return None
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:24]
    return place / f"{name}-{kind}{_SUFFIX}"


def _place() -> Path | None:
    folder = places.cache_folder()
    return None if folder is None else folder / "packed"


def cached(folder: Path) -> dict[str, int]:
    """Sizes in bytes of the packed weights that the cache has of the model in `folder`, by kind: a precision of the
    language models, or "codec"."""
    sizes = {}
    for kind in KINDS:
        path = cache_path(folder, kind)
        with contextlib.suppress(OSError):
            if path is not None:
                sizes[kind] = path.stat().st_size
    return sizes


def stamp_of(path: Path) -> Path:
    """What is beside a file that was read whole and found good."""
    return path.with_suffix(".ok")


def temporary_of(path: Path) -> Path:
    """What a file is called while it is written: one name, so that the next writer removes what a killed one left."""
    return path.with_suffix(".part")


# ---------------------------------------------------------------- locks
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


# ---------------------------------------------------------------- removal
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
    from .packed_file import folder_of

    place = _place()
    for path in sorted(place.glob("*" + _SUFFIX)) if place is not None else ():
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
    place, removed = _place(), []
    for part in sorted(place.glob("*.part")) if place is not None else ():
        if (lock := try_lock(part.with_suffix(_SUFFIX))) is not None:
            with lock, contextlib.suppress(FileNotFoundError):
                size = part.lstat().st_size
                part.unlink()
                removed.append((Pack(part, part.stem.rpartition("-")[2], None), size))
                if not part.with_suffix(_SUFFIX).exists():
                    part.with_suffix(".lock").unlink()
    return removed
