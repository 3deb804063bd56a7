"""A digest of what a checkpoint folder holds, for files whose content depends on the model."""

from __future__ import annotations

import hashlib
from pathlib import Path

_WHOLE_BYTES = 1 << 24  # files up to this size are read whole
_SAMPLES, _SAMPLE_BYTES = 256, 1 << 14


def content_digest(folder: Path) -> str:
    """Hexadecimal digest of the configuration, the tokenizer and the weights of a checkpoint, 32 characters.

    It is the same for a copy of the folder. Of a large file its size, its beginning and 256 pieces at equal distances
    are read, not all of it. Raises OSError.
    """
    digest = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.suffix in (".json", ".safetensors", ".txt")):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with open(path, "rb") as file:
            if size <= _WHOLE_BYTES:
                digest.update(file.read())
                continue
            digest.update(file.read(_WHOLE_BYTES))
            for index in range(_SAMPLES):
                file.seek(_WHOLE_BYTES + index * (size - _WHOLE_BYTES - _SAMPLE_BYTES) // _SAMPLES)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:32]
