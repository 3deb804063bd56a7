"""The paths of packed files in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from ..common import user_folders
from ..models import hub_cache

KINDS = (
    "bf16",
    "int8",
    "int4",
    "int4-calibrated",
    "codec",
)  # precisions of the language models, and the codec's decoder
SUFFIX = ".q3t"


class PackedFile(NamedTuple):
    """A packed file. kind: one of KINDS. folder: the folder of its checkpoint; None if the header names no folder."""

    path: Path
    kind: str
    folder: Path | None

    @property
    def orphaned(self) -> bool:
        """Whether the file's checkpoint is gone or unknown, or is an old revision in the Hugging Face cache."""
        return self.folder is None or not self.folder.is_dir() or hub_cache.is_superseded(self.folder)


def cache_path(folder: Path, kind: str) -> Path | None:
    """The path of a packed file of the checkpoint in `folder`, which need not exist; None without a cache folder."""
    directory = cache_directory()
    if directory is None:
        return None
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:24]
    return directory / f"{name}-{kind}{SUFFIX}"


def cache_directory() -> Path | None:
    """The folder of all packed files, which need not exist; None if there is no cache folder for this user."""
    folder = user_folders.cache_folder()
    return None if folder is None else folder / "packed"


def cached_sizes(folder: Path) -> dict[str, int]:
    """The sizes in bytes of the packed files of the checkpoint in `folder`, by kind."""
    sizes = {}
    for kind in KINDS:
        path = cache_path(folder, kind)
        with contextlib.suppress(OSError):
            if path is not None:
                sizes[kind] = path.stat().st_size
    return sizes


def kind_of(path: Path) -> str:
    """The kind in the name of a packed file or of its partial file."""
    return path.stem.partition("-")[2]


def stamp_path(path: Path) -> Path:
    """The path of a packed file's stamp, a small file which says that the packed file was read whole and is intact."""
    return path.with_suffix(".ok")


def partial_path(path: Path) -> Path:
    """The path of a packed file while it is written; always the same, so that the next writer replaces a leftover."""
    return path.with_suffix(".part")
