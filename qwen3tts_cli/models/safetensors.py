"""Map safetensors files. Every size, offset and name of the untrusted header is checked before an array is created.

Layout: u64 little-endian header length, JSON header, data. The offsets of a tensor count from the start of the data.
Source: https://github.com/huggingface/safetensors, section Format.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..common.json_fields import Section, open_regular, parse_json, read_object, short_repr
from ..errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np

MAX_HEADER_BYTES = 8 << 20
MAX_TENSORS = 32768
MAX_DIMS = 8
MAX_NAME_CHARACTERS = 256
MAX_SHARDS = 256
MAX_INDEX_BYTES = 8 << 20
HEAD_BYTES = 4096
_READ_BYTES = 16 << 10  # smaller tensors are read: mapping them would make the pages of their neighbours resident too

_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
_ARRAY_DTYPES = {"BF16": "<u2", "F32": "<f4"}


class TensorInfo(NamedTuple):
    """The place of a tensor: bytes [start, end) of the file, which hold exactly `shape` items of `dtype`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class TensorFile:
    """A mapped safetensors file. Small tensors are read into memory. Arrays keep the mapping alive, also after
    `close`."""

    def __init__(self, path: Path, tensors: dict[str, TensorInfo], mapping: mmap.mmap, read: dict[str, bytes]) -> None:
        """read: the bytes of the tensors that were read into memory, by name."""
        self.path, self.tensors, self._mapping, self._read = path, tensors, mapping, read

    def array(self, name: str) -> np.ndarray:
        """Return a read-only array of a tensor: F32 as float32, BF16 as uint16 with the same bits.

        The array is a view of the mapping; a tensor that is not aligned to its items is copied. Raises CheckpointError
        for a missing tensor or another dtype.
        """
        import numpy as np

        info = self.tensors.get(name)
        if info is None:
            raise CheckpointError(f"{self.path}: tensor {name!r} is missing")
        if info.dtype not in _ARRAY_DTYPES:
            raise CheckpointError(f"{self.path}: tensor {name!r}: dtype {info.dtype}, expected BF16 or F32")
        dtype = np.dtype(_ARRAY_DTYPES[info.dtype])
        count = (info.end - info.start) // dtype.itemsize
        if count == 0:
            return np.zeros(info.shape, dtype)
        data, start = (self._read[name], 0) if name in self._read else (self._mapping, info.start)
        view = np.frombuffer(data, dtype, count, start).reshape(info.shape)
        if not view.flags.aligned:
            view = view.copy()
            view.flags.writeable = False
        return view

    def path_of(self, name: str) -> Path:
        """Return the path of this file, as in WeightSet."""
        return self.path

    def drop_pages(self, name: str | None = None) -> None:
        """Free the resident pages of the tensor `name`, or of the whole file for None, with madvise MADV_DONTNEED. The
        arrays stay valid; the system reads the file again when they are used."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        with contextlib.suppress(ValueError):  # the mapping is closed, possibly by another thread at this moment
            if name is None:
                self._mapping.madvise(mmap.MADV_DONTNEED)
            else:
                start = self.tensors[name].start // mmap.PAGESIZE * mmap.PAGESIZE
                self._mapping.madvise(mmap.MADV_DONTNEED, start, self.tensors[name].end - start)

    def close(self) -> None:
        """Unmap the file; if arrays refer to it, it is unmapped with the last of them."""
        with contextlib.suppress(BufferError):
            self._mapping.close()


class WeightSet:
    """The tensors of one model, in one file or in shards. The methods are those of TensorFile."""

    def __init__(self, owner: dict[str, TensorFile], index: Path) -> None:
        self.files = list(dict.fromkeys(owner.values()))
        self.tensors = {name: file.tensors[name] for name, file in owner.items()}
        self._owner, self._index = owner, index

    def array(self, name: str) -> np.ndarray:
        """Return a read-only array of a tensor, see TensorFile.array. Raises CheckpointError."""
        if name not in self._owner:
            raise CheckpointError(f"{self._index}: tensor {name!r} is missing")
        return self._owner[name].array(name)

    def path_of(self, name: str) -> Path:
        """Return the path of the file that holds a tensor; for a missing tensor the index, or the only file."""
        return self._owner[name].path if name in self._owner else self._index

    def drop_pages(self, name: str | None = None) -> None:
        """See TensorFile.drop_pages."""
        for file in self.files if name is None else [self._owner[name]]:
            file.drop_pages(name)

    def close(self) -> None:
        """Close every file."""
        for file in self.files:
            file.close()


def open_safetensors(path: Path) -> TensorFile:
    """Map a safetensors file, after checking its header against its size. Raises CheckpointError."""
    descriptor, size = open_regular(path)
    try:
        prefix = os.pread(descriptor, 8, 0)
        if len(prefix) < 8:
            raise CheckpointError(f"{path}: {size} bytes, too short for a safetensors file")
        length = int.from_bytes(prefix, "little")
        if length > MAX_HEADER_BYTES:
            refuse_other_kinds(os.pread(descriptor, HEAD_BYTES, 0), path)
        if length > MAX_HEADER_BYTES:
            raise CheckpointError(f"{path}: header length {length} bytes, the limit is {MAX_HEADER_BYTES}")
        if 8 + length > size:
            raise CheckpointError(f"{path}: header length {length} bytes, but the file has {size} bytes: truncated?")
        header = os.pread(descriptor, length, 8)
        tensors = check_header(parse_json(header, path, "header:"), path, 8 + length, size)
        mapping = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        small = [info for info in tensors.values() if info.end - info.start <= _READ_BYTES]
        read = {info.name: os.pread(descriptor, info.end - info.start, info.start) for info in small}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    finally:
        os.close(descriptor)
    return TensorFile(path, tensors, mapping, read)


def refuse_other_kinds(head: bytes, path: Path) -> None:
    """Raise CheckpointError if the first bytes of a file show that it is no safetensors file: a Git LFS pointer, a web
    page, another known kind of file, or the text of an error message. head: the first HEAD_BYTES of the file."""
    from ..common.file_kinds import file_kind, why_not_model_file

    why = why_not_model_file(head, path)
    if why is None and (kind := file_kind(head)):
        why = f"{kind}, expected a safetensors file"
    if why is None and len(head) < HEAD_BYTES and head.isascii() and head.decode().strip().isprintable():
        why = f"found the text {short_repr(head.decode().strip())}, expected a safetensors file"
    if why is not None:
        raise CheckpointError(f"{path}: {why}")


def open_weights(folder: Path, stem: str = "model") -> WeightSet:
    """Open `stem`.safetensors in a folder, or the shards that `stem`.safetensors.index.json names.

    Raises CheckpointError, also if a shard is outside the folder or lacks a tensor that the index assigns to it.
    """
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if os.path.lexists(single) or not os.path.lexists(index):
        file = open_safetensors(single)
        return WeightSet(dict.fromkeys(file.tensors, file), single)
    weight_map = read_object(index, MAX_INDEX_BYTES).section("weight_map")
    if len(weight_map.values) > MAX_TENSORS:
        raise CheckpointError(f"{index}: weight_map: {len(weight_map.values)} tensors, the limit is {MAX_TENSORS}")
    shards: dict[str, TensorFile] = {}
    owner: dict[str, TensorFile] = {}
    try:
        for name, shard in weight_map.values.items():
            _check_shard_name(weight_map, name, shard)
            if shard not in shards:
                if len(shards) == MAX_SHARDS:
                    raise CheckpointError(f"{index}: weight_map: more than {MAX_SHARDS} shards")
                shards[shard] = open_safetensors(folder / shard)
            if name not in shards[shard].tensors:
                raise CheckpointError(
                    f"{folder / shard}: tensor {short_repr(name)} is missing, {index.name} puts it here"
                )
            owner[name] = shards[shard]
    except BaseException:
        for file in shards.values():
            file.close()
        raise
    return WeightSet(owner, index)


def _check_shard_name(weight_map: Section, name: str, shard: object) -> None:
    """Check that a shard is the plain name of a file beside the index, without a folder. Raises CheckpointError."""
    plain = isinstance(shard, str) and shard.endswith(".safetensors") and len(shard) <= MAX_NAME_CHARACTERS
    if not plain or any(c in "/\\:" or not c.isprintable() for c in str(shard)):
        weight_map.fail(short_repr(name), short_repr(shard), "the plain name of a .safetensors file")


def check_header(header: object, path: Path, base: int, size: int) -> dict[str, TensorInfo]:
    """Check a parsed header and return its tensors by name. Raises CheckpointError.

    base: the offset of the data in the file. size: bytes of the file. The tensors must fill the bytes [base, size)
    without gap or overlap.
    """
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: header: found {short_repr(header)}, expected an object")
    if len(header) > MAX_TENSORS:
        raise CheckpointError(f"{path}: header: {len(header)} tensors, the limit is {MAX_TENSORS}")
    tensors = {
        name: _check_entry(name, entry, path, base, size) for name, entry in header.items() if name != "__metadata__"
    }
    end, last = base, "the header"
    for info in sorted(tensors.values(), key=lambda info: (info.start, info.end)):
        if info.start != end:
            problem = "overlap" if info.start < end else "leave a hole after"
            place = f"data_offsets [{info.start - base}, {info.end - base}]"
            raise CheckpointError(f"{path}: tensor {short_repr(info.name)}: {place} {problem} {last}")
        end, last = info.end, f"tensor {short_repr(info.name)}"
    if end != size:
        raise CheckpointError(f"{path}: {size} bytes, but its header describes {end}")
    return tensors


def _check_entry(name: str, entry: object, path: Path, base: int, size: int) -> TensorInfo:
    """Check one entry of a header. base: the offset of the data in the file. Raises CheckpointError."""
    where = f"{path}: tensor {short_repr(name)}"
    if len(name) > MAX_NAME_CHARACTERS:
        raise CheckpointError(f"{where}: name of {len(name)} characters, the limit is {MAX_NAME_CHARACTERS}")
    if not isinstance(entry, dict):
        raise CheckpointError(f"{where}: found {short_repr(entry)}, expected an object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise CheckpointError(f"{where}: dtype {short_repr(dtype)}, expected one of {' '.join(_ITEM_BYTES)}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMS or not all(_natural(d) for d in shape):
        raise CheckpointError(f"{where}: shape {short_repr(shape)}, expected at most {MAX_DIMS} sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_natural(o) for o in offsets):
        raise CheckpointError(f"{where}: data_offsets {short_repr(offsets)}, expected [start, end]")
    nbytes = _ITEM_BYTES[dtype]
    for dim in shape:
        nbytes *= dim
    start, end = offsets
    where = f"{where}: data_offsets {offsets}"
    if end > size - base:
        raise CheckpointError(f"{where} end beyond the {size - base} bytes of data: truncated file?")
    if end - start != nbytes:
        raise CheckpointError(f"{where} span {end - start} bytes, {dtype} {shape} needs {nbytes}")
    return TensorInfo(name, dtype, tuple(shape), base + start, base + end)


def _natural(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
