"""Small safetensors files of a few arrays and some text: files of codes and voice files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..common.json_fields import parse_json, read_bytes, short_repr
from ..errors import CheckpointError
from ..models.safetensors import HEAD_BYTES, check_header, refuse_other_kinds

_DTYPES = {"F32": "<f4", "I32": "<i4"}


def read_array_file(path: Path, limit: int) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Read a file of at most `limit` bytes into memory; return (metadata, arrays by name). Arrays: float32 or int32.

    Raises CheckpointError, also for a tensor of another dtype and for values that are not finite.
    """
    return parse_array_file(read_bytes(path, limit), path)


def parse_array_file(data: bytes, path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The content of a file as read_array_file returns it. path: its name in messages. Raises CheckpointError."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or 8 + length > len(data):
        refuse_other_kinds(data[:HEAD_BYTES], path)
        raise CheckpointError(f"{path}: {len(data)} bytes, not a whole safetensors file")
    header = parse_json(data[8 : 8 + length], path, "header:")
    tensors = check_header(header, path, 8 + length, len(data))
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{path}: header: __metadata__: found {short_repr(metadata)}, expected strings by name")
    arrays = {}
    for name, info in tensors.items():
        if info.dtype not in _DTYPES:
            raise CheckpointError(f"{path}: tensor {short_repr(name)}: dtype {info.dtype}, expected F32 or I32")
        # the slice is a copy, because the bytes in the file may have any alignment
        array = np.frombuffer(data[info.start : info.end], _DTYPES[info.dtype]).reshape(info.shape)
        if not np.isfinite(array).all():
            raise CheckpointError(f"{path}: tensor {short_repr(name)}: values that are not finite")
        arrays[name] = array
    return metadata, arrays


def array_file_bytes(metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> bytes:
    """Return the bytes of a safetensors file. Floats become F32, integers I32. Equal arguments give equal bytes."""
    header: dict[str, object] = {"__metadata__": metadata}
    chunks, end = [], 0
    for name, array in arrays.items():
        dtype = "F32" if array.dtype.kind == "f" else "I32"
        chunks.append(array.astype(_DTYPES[dtype]).tobytes())
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [end, end + len(chunks[-1])]}
        end += len(chunks[-1])
    text = json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(chunks)
