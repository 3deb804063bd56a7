"""Reading a packed file whole to find out whether it is intact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import codec, file_format, matrices
from .cache_paths import cache_path
from .precision import CALIBRATED

if TYPE_CHECKING:
    from pathlib import Path


def calibration_facts(folder: Path) -> dict[str, object]:
    """How the "int4-calibrated" weights of the checkpoint in `folder` were made, and a digest of them, for reports.

    Two files with the same digest have the same weights. The values are None if there is no packed file.
    """
    path = cache_path(folder, CALIBRATED)
    names = {"recipe": "recipe", "weights_digest": "digest"}
    return {name: path and file_format.header_field(path, field) for name, field in names.items()}


def verify(folder: Path, kind: str, threads: int = 1) -> bool:
    """Whether a packed file of the checkpoint in `folder` is intact and was made from its present files.

    kind: a precision, or "codec". False if there is no file. A file that fails is made again at the next use.
    """
    path = cache_path(folder, kind)
    try:
        facts = codec.header_facts(folder) if kind == "codec" else matrices.header_facts(folder, kind)
    except OSError:
        return False
    return path is not None and file_format.verify(path, facts, threads)
