"""Weights of 8 and 4 bits, packed once for each model and precision and then mapped from the user's cache folder.

A file is a preamble, a JSON header and the packed matrices, each on a 64-byte boundary. It is written under a lock,
beside its place, and moved there whole: two processes do not disturb each other, a killed one leaves nothing wrong.
Opening checks the preamble, the header's checksum, the size, the source it was made of, and the ends of each matrix;
`verify` reads all of it. What does not pass is made anew; where nothing can be written the matrices stay in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from .engine import pack_rows, packed_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .checkpoint import Checkpoint

    Progress = Callable[[int, int], None]  # bytes packed, bytes in all

PRECISIONS = ("int8", "int4")
FORMAT_VERSION = 1

_MAGIC = b"Q3TPACK\0"
_PREAMBLE = struct.Struct("<8sIIQI")  # magic, version, bytes of the header, bytes of the file, checksum of the header
_ALIGN, _ENDS, _HEADER_ROOM = 64, 4096, 1 << 20
_LAYER = frozenset(f"{m}_{w}" for m in ("TALKER", "PREDICTOR") for w in ("Q", "K", "V", "O", "GATE", "UP", "DOWN"))
_HEADS = frozenset(("CODEC_HEAD", "PREDICTOR_HEAD", "PROJECTION"))


class _Unfit(Exception):
    """A cache file that is not whole, or not of this source."""


@dataclass(frozen=True)
class PackedWeights:
    """Matrices by (slot name, layer) as engine.Model takes them. `path` is None where they are in memory only."""

    matrices: dict[tuple[str, int], tuple[str, np.ndarray]]
    path: Path | None

    @property
    def bytes(self) -> int:
        """Size of all matrices."""
        return sum(len(data) for _, data in self.matrices.values())


def open_packed(
    checkpoint: Checkpoint,
    precision: str,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> PackedWeights:
    """The matrices of a checkpoint in `precision`, from the cache where it has them, else packed now.

    progress: called with bytes done and in all while packing. warn: called with a line where the cache is of no use.
    """
    path, source = cache_path(checkpoint.config.path, precision), _source(checkpoint.config.path)
    try:
        if path is not None:
            with contextlib.suppress(FileNotFoundError, _Unfit):
                return _open(path, source, checkpoint, precision)
            return _create(path, source, checkpoint, precision, threads, progress)
    except OSError as error:
        if warn is not None:
            warn(f"{path}: {error.strerror or error}; packed weights are kept in memory and made again next time")
    return pack_in_memory(checkpoint, precision, threads=threads, progress=progress)


def pack_in_memory(
    checkpoint: Checkpoint, precision: str, *, threads: int = 1, progress: Progress | None = None
) -> PackedWeights:
    """The matrices of a checkpoint in `precision`, packed now and kept nowhere. Forked processes share their memory."""
    memory = mmap.mmap(-1, _layout(checkpoint, precision)[1])
    _write(memory, [], checkpoint, precision, threads, progress)
    return _matrices(_header(memory, [], precision), memory, checkpoint, precision, None)


def cache_path(folder: Path, precision: str) -> Path | None:
    """Where the packed weights of the model in `folder` are, or would be; None where there is no cache folder."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):
        root = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(root):
        return None
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:24]
    return Path(root) / "qwen3tts" / "packed" / f"{name}-{precision}.q3t"


def cached(folder: Path) -> dict[str, int]:
    """Sizes in bytes of the packed weights that the cache has of the model in `folder`, by precision."""
    sizes = {}
    for precision in PRECISIONS:
        path = cache_path(folder, precision)
        with contextlib.suppress(OSError):
            if path is not None:
                sizes[precision] = path.stat().st_size
    return sizes


def remove(folder: Path, precision: str) -> int:
    """Delete the packed weights of the model in `folder`; returns the bytes that were freed. Raises OSError."""
    path = cache_path(folder, precision)
    if path is None or not path.exists():
        return 0
    with _locked(path):
        size = path.stat().st_size if path.exists() else 0
        path.unlink(missing_ok=True)
    return size


def verify(folder: Path, precision: str) -> bool:
    """Whether the packed weights of the model in `folder` are whole and of its present files. Reads all of them."""
    path = cache_path(folder, precision)
    try:
        if path is None:
            return False
        header, file = _read_header(path, _source(folder), precision)
    except (OSError, _Unfit):
        return False
    data = memoryview(file)
    return all(zlib.crc32(data[e["start"] : e["end"]]) == e["checksum"] for e in header["matrices"])


def _source(folder: Path) -> list[list[object]]:
    """What changes when the model's files do. Files in the Hugging Face cache are named by their contents."""
    rows = []
    for path in sorted(Path(folder).glob("model*.safetensors")):
        real = Path(os.path.realpath(path))
        stat = real.stat()
        rows.append([path.name, real.name, stat.st_size, stat.st_mtime_ns])
    return rows


def _layout(checkpoint: Checkpoint, precision: str) -> tuple[list[tuple], int]:  # type: ignore[type-arg]
    """Rows (slot, layer, array, dtype, start, bytes) and the size of the file; the header has room in front."""
    rows, at = [], _HEADER_ROOM
    for slot, layer, array in checkpoint.tensors:
        if slot in _LAYER or slot in _HEADS:
            dtype = precision if slot in _LAYER else "int8"  # heads lose most and are few
            size = packed_bytes(dtype, array.shape)
            rows.append((slot, layer, array, dtype, at, size))
            at += -(-size // _ALIGN) * _ALIGN
    return rows, at


def _packed(rows: list[tuple], threads: int) -> Iterator[tuple[tuple, np.ndarray]]:  # type: ignore[type-arg]
    """Each row and its packed matrix, in a buffer that the next one reuses."""
    from concurrent.futures import ThreadPoolExecutor

    largest = max(row[5] for row in rows)
    room = np.empty(largest + _ALIGN, np.uint8)
    room = room[-room.ctypes.data % _ALIGN :][:largest]
    with ThreadPoolExecutor(threads) as pool:
        for row in rows:
            array, dtype, out = row[2], row[3], room[: row[5]]
            if array.ctypes.data % array.itemsize or not array.flags.c_contiguous:
                array = array.copy()
            share = -(-array.shape[0] // (32 * threads)) * 32
            parts = [(first, min(first + share, array.shape[0])) for first in range(0, array.shape[0], share)]
            list(pool.map(lambda part, a=array, d=dtype, o=out: pack_rows(a, d, *part, o), parts))
            yield row, out


def _write(
    file: BinaryIO | mmap.mmap,
    source: object,
    checkpoint: Checkpoint,
    precision: str,
    threads: int,
    progress: Progress | None,
) -> None:
    """Pack into an empty file, the preamble last."""
    rows, size = _layout(checkpoint, precision)
    entries, done, total = [], 0, sum(row[5] for row in rows)
    for (slot, layer, _, dtype, start, count), data in _packed(rows, threads):
        file.seek(start)
        file.write(data.data)
        entries.append(
            {
                "slot": slot,
                "layer": layer,
                "dtype": dtype,
                "start": start,
                "end": start + count,
                "checksum": zlib.crc32(data),
                "ends": _ends(data.data),
            }
        )
        done += count
        if progress is not None:
            progress(done, total)
    if file.tell() < size:
        file.write(bytes(size - file.tell()))
    header = json.dumps({"precision": precision, "source": source, "matrices": entries}).encode()
    if _PREAMBLE.size + len(header) > rows[0][4]:
        raise OSError("the header of the packed weights has no room")
    file.seek(0)
    file.write(_PREAMBLE.pack(_MAGIC, FORMAT_VERSION, len(header), size, zlib.crc32(header)) + header)


def _ends(data: memoryview) -> int:
    """Checksum of the first and the last bytes: what a hole in the file would show in."""
    return zlib.crc32(data[-_ENDS:], zlib.crc32(data[:_ENDS]))


def _open(path: Path, source: object, checkpoint: Checkpoint, precision: str) -> PackedWeights:
    header, file = _read_header(path, source, precision)
    return _matrices(header, file, checkpoint, precision, path)


def _read_header(path: Path, source: object, precision: str) -> tuple[dict, mmap.mmap]:  # type: ignore[type-arg]
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < _PREAMBLE.size:
            raise _Unfit
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _header(mapped, source, precision), mapped


def _header(file: mmap.mmap, source: object, precision: str) -> dict:  # type: ignore[type-arg]
    """The header, checked as far as the ends of each matrix. Raises _Unfit."""
    magic, version, length, size, checksum = _PREAMBLE.unpack_from(file)
    raw = file[_PREAMBLE.size : _PREAMBLE.size + min(length, _HEADER_ROOM)]
    if (magic, version, size) != (_MAGIC, FORMAT_VERSION, len(file)) or zlib.crc32(raw) != checksum:
        raise _Unfit
    header = json.loads(raw)
    if header["precision"] != precision or header["source"] != source:
        raise _Unfit
    data = memoryview(file)
    if any(_ends(data[e["start"] : e["end"]]) != e["ends"] for e in header["matrices"]):
        raise _Unfit
    return header


def _matrices(
    header: dict,  # type: ignore[type-arg]
    file: mmap.mmap,
    checkpoint: Checkpoint,
    precision: str,
    path: Path | None,
) -> PackedWeights:
    """The matrices, if they lie where the shapes of the checkpoint put them. Raises _Unfit."""
    rows = [
        (slot, layer, dtype, start, start + n) for slot, layer, _, dtype, start, n in _layout(checkpoint, precision)[0]
    ]
    if [(e["slot"], e["layer"], e["dtype"], e["start"], e["end"]) for e in header["matrices"]] != rows:
        raise _Unfit
    whole = np.frombuffer(file, np.uint8)
    return PackedWeights({(slot, layer): (dtype, whole[start:end]) for slot, layer, dtype, start, end in rows}, path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a cache file; the system lets go of it when its holder ends, however that is."""
    import fcntl

    with open(path.with_suffix(".lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _create(
    path: Path, source: object, checkpoint: Checkpoint, precision: str, threads: int, progress: Progress | None
) -> PackedWeights:
    """Pack into the cache, unless another process has while this one waited. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path):
        with contextlib.suppress(FileNotFoundError, _Unfit):
            return _open(path, source, checkpoint, precision)
        temporary = path.with_suffix(".part")  # one name: what a killed process left is overwritten
        try:
            with open(temporary, "wb") as file:
                _write(file, source, checkpoint, precision, threads, progress)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        try:
            return _open(path, source, checkpoint, precision)
        except _Unfit:
            raise OSError("the packed weights do not read back as they were written") from None
