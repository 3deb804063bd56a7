"""Files of packed weights in the user's cache folder: a preamble, a JSON header, and pieces on 64-byte boundaries.

A file is written under a lock, beside its place, and moved there whole: two processes do not disturb each other, a
killed one leaves nothing wrong. All of it is read and compared with its checksums once, after it was made; then a stamp
beside it holds what the file system says of it (size, times, inode). Opening a file that still is what its stamp says
checks the preamble, the header and the ends of each piece. One that was written to, copied or restored since is read
whole again. What does not pass is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

_T = TypeVar("_T")
Progress = Callable[[int, int], None]  # bytes packed, bytes in all
Piece = tuple[str, int, str, int, Any]  # slot, layer, dtype, start, data: a contiguous array of bytes

KINDS = ("bf16", "int8", "int4", "codec")
FORMAT_VERSION = 2
HEADER_ROOM = 1 << 20

_MAGIC = b"Q3TPACK\0"
_PREAMBLE = struct.Struct("<8sIIQI")  # magic, version, bytes of the header, bytes of the file, checksum of the header
_ENDS = 512
_BLOCK = 8 << 20  # bytes written at a time: whole huge pages of 2 MB


class Unfit(Exception):
    """A cache file that is not whole, or not of this source."""


def cache_path(folder: Path, kind: str) -> Path | None:
    """Where the packed weights of the model in `folder` are, or would be; None where there is no cache folder."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):
        root = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(root):
        return None
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:24]
    return Path(root) / "qwen3tts" / "packed" / f"{name}-{kind}.q3t"


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


def remove(folder: Path, kind: str) -> int:
    """Delete the packed weights of the model in `folder`; returns the bytes that were freed. Raises OSError."""
    path = cache_path(folder, kind)
    if path is None or not path.exists():
        return 0
    with _locked(path):
        size = path.stat().st_size if path.exists() else 0
        path.unlink(missing_ok=True)
        _stamp(path).unlink(missing_ok=True)
    return size


def source_of(*files: Path) -> list[list[object]]:
    """What changes when the model's files do. Files in the Hugging Face cache are named by their contents."""
    rows: list[list[object]] = []
    for path in sorted(files):
        real = Path(os.path.realpath(path))
        stat = real.stat()
        rows.append([path.name, real.name, stat.st_size, stat.st_mtime_ns])
    return rows


def verify(path: Path, facts: dict[str, Any], threads: int = 1) -> bool:
    """Whether a file is whole and its header says `facts`. Reads all of it, and stamps or unstamps it."""
    with contextlib.suppress(OSError):
        _stamp(path).unlink(missing_ok=True)
    try:
        read(path, facts, threads)
    except (OSError, Unfit):
        return False
    return True


def in_memory(path: Path | None, error: OSError) -> str:
    """The warning where the cache is of no use."""
    return f"{path}: {error.strerror or error}; packed weights are kept in memory and made again next time"


# ---------------------------------------------------------------- reading
def read(path: Path, facts: dict[str, Any], threads: int = 1) -> tuple[dict[str, Any], mmap.mmap]:
    """The header and the mapped file. Raises FileNotFoundError, OSError, and Unfit for what is to be made anew."""
    with open(path, "rb") as file:
        stat = os.fstat(file.fileno())
        if stat.st_size < _PREAMBLE.size:
            raise Unfit
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    header = header_of(mapped, facts)
    identity = f"{FORMAT_VERSION} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}\n"
    if _stamped(path) != identity:
        if not _whole(header, mapped, threads):
            raise Unfit
        if hasattr(mmap, "MADV_DONTNEED"):  # what was only read to be checked need not stay in memory
            mapped.madvise(mmap.MADV_DONTNEED)
        with contextlib.suppress(OSError):  # without a stamp it is only read again
            _stamp(path).write_text(identity, encoding="ascii")
    return header, mapped


def header_of(file: mmap.mmap, facts: dict[str, Any]) -> dict[str, Any]:
    """The header, checked as far as the ends of each piece: "pieces", and the facts. Raises Unfit."""
    magic, version, length, size, checksum = _PREAMBLE.unpack_from(file)
    raw = file[_PREAMBLE.size : _PREAMBLE.size + min(length, HEADER_ROOM)]
    if (magic, version, size) != (_MAGIC, FORMAT_VERSION, len(file)) or zlib.crc32(raw) != checksum:
        raise Unfit
    header: dict[str, Any] = json.loads(raw)
    if any(header.get(name) != fact for name, fact in facts.items()):
        raise Unfit
    data = memoryview(file)
    if any(_ends(data[e["start"] : e["end"]]) != e["ends"] for e in header["pieces"]):
        raise Unfit
    return header


def _ends(data: memoryview) -> int:
    """Checksum of the first and the last bytes: what a hole in the file would show in."""
    return zlib.crc32(data[-_ENDS:], zlib.crc32(data[:_ENDS]))


def _whole(header: dict[str, Any], file: mmap.mmap, threads: int) -> bool:
    """Whether every piece has its checksum."""
    from concurrent.futures import ThreadPoolExecutor

    data = memoryview(file)
    with ThreadPoolExecutor(threads) as pool:
        return all(pool.map(lambda e: zlib.crc32(data[e["start"] : e["end"]]) == e["checksum"], header["pieces"]))


def _stamp(path: Path) -> Path:
    return path.with_suffix(".ok")


def _stamped(path: Path) -> str:
    try:
        return _stamp(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


# ---------------------------------------------------------------- writing
@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a cache file; the system lets go of it when its holder ends, however that is."""
    import fcntl

    with open(path.with_suffix(".lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class _Blocks:
    """Writes a file from front to back, in blocks that begin at multiples of their size: where the file system can, the
    system then keeps it in huge pages, which are mapped at once."""

    def __init__(self, file: BinaryIO | mmap.mmap) -> None:
        self._file, self._block, self._used, self._start = file, memoryview(bytearray(_BLOCK)), 0, 0

    def put(self, start: int, data: Any) -> None:
        """`data` at `start`, which is no less than where the last one ended; 0 between."""
        gap = start - self._start - self._used
        for part in (memoryview(bytes(gap)), memoryview(data)):
            while len(part):
                count = min(len(part), _BLOCK - self._used)
                self._block[self._used : self._used + count] = part[:count]
                self._used, part = self._used + count, part[count:]
                if self._used == _BLOCK:
                    self.flush()

    def flush(self) -> None:
        """Write what there is."""
        self._file.write(self._block[: self._used])
        self._start, self._used = self._start + self._used, 0


def write(
    file: BinaryIO | mmap.mmap,
    facts: dict[str, Any],
    pieces: Iterable[Piece],
    size: int,
    total: int,
    progress: Progress | None,
) -> None:
    """Fill an empty file of `size` bytes, the preamble last. total: bytes of all pieces, for `progress`."""
    entries, done, blocks = [], 0, _Blocks(file)
    for slot, layer, dtype, start, data in pieces:
        count = len(data)
        blocks.put(start, data)
        entry: dict[str, Any] = {"slot": slot, "layer": layer, "dtype": dtype, "start": start, "end": start + count}
        entries.append({**entry, "checksum": zlib.crc32(data), "ends": _ends(memoryview(data))})
        done += count
        if progress is not None:
            progress(done, total)
    blocks.put(size, b"")
    blocks.flush()
    header = json.dumps({**facts, "pieces": entries}).encode()
    if _PREAMBLE.size + len(header) > HEADER_ROOM:
        raise OSError("the header of the packed weights has no room")
    file.seek(0)
    file.write(_PREAMBLE.pack(_MAGIC, FORMAT_VERSION, len(header), size, zlib.crc32(header)) + header)


def obtain(
    path: Path,
    facts: dict[str, Any],
    fill: Callable[[BinaryIO], None],
    take: Callable[[dict[str, Any], mmap.mmap], _T],
    threads: int,
) -> _T:
    """What `take` makes of the header and the mapped file. Where it raises Unfit, or there is no such file, `fill`
    writes one, unless another process has while this one waited. Raises OSError."""
    with contextlib.suppress(FileNotFoundError, Unfit):
        return take(*read(path, facts, threads))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path):
        with contextlib.suppress(FileNotFoundError, Unfit):
            return take(*read(path, facts, threads))
        temporary = path.with_suffix(".part")  # one name: what a killed process left is overwritten
        try:
            with open(temporary, "wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        try:
            return take(*read(path, facts, threads))
        except Unfit:
            raise OSError("the packed weights do not read back as they were written") from None
