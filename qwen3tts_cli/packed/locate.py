"""Where packed weights are in the user's cache folder, and what their files are called."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from ..common import places
from ..models import hub_cache

KINDS = ("bf16", "int8", "int4", "codec")
SUFFIX = ".q3t"


class Pack(NamedTuple):
    """A file of packed weights. kind: one of KINDS. folder: of the model it was made of; None where it does not say."""

    path: Path
    kind: str
    folder: Path | None

    @property
    def orphaned(self) -> bool:
        """Whether its model is gone, or is an old revision in the Hugging Face cache."""
        return self.folder is None or not self.folder.is_dir() or hub_cache.superseded(self.folder)


def cache_path(folder: Path, kind: str) -> Path | None:
    """Where the packed weights of the model in `folder` are, or would be; None where there is no cache folder."""
    place = cache_directory()
    if place is None:
        return None
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:24]
    return place / f"{name}-{kind}{SUFFIX}"


def cache_directory() -> Path | None:
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
