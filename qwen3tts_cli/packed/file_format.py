"""The format of a packed file, and reading, checking and creating one.

A file has a preamble, a JSON header, and pieces at multiples of 64 bytes. The process that holds the file's lock writes
it under a temporary name and renames it when it is complete, so that a killed process leaves no wrong file.

A new file is read back and compared with its checksums once. Then a stamp, a small file beside it, records its size,
times and inode. Opening a file that agrees with its stamp checks only the preamble, the header and the ends of each
piece. A file that was written to, copied or restored later is read whole again. A file that fails is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..common.atomic_write import Replacement
from .cache_paths import partial_path, stamp_path

Progress = Callable[[int, int], None]  # bytes done, bytes in all

FORMAT_VERSION = 3
HEADER_ROOM = 1 << 20  # bytes in front of the first piece
THREAD_NAME = "packed weights"  # the names of all threads that take part in writing a file begin with this

_MAGIC = b"Q3TPACK\0"
_PREAMBLE = struct.Struct("<8sIIQI")  # magic, version, bytes of the header, bytes of the file, checksum of the header
_END_BYTES = 512
_BLOCK = 8 << 20  # bytes written at a time: a multiple of a huge page
_SYNC = 128 << 20  # fsync is called after so many bytes, so that an interrupted writer does not wait long for the disk


class Piece(NamedTuple):
    """A part of a packed file with its own checksum.

    slot, layer: which tensor the data belongs to. dtype: the packed format, as the header names it. start: the offset
    in the file in bytes, a multiple of 64. data: a contiguous array of bytes.
    """

    slot: str
    layer: int
    dtype: str
    start: int
    data: Any


class StalePackedFile(Exception):
    """A packed file that is damaged or was made from other files of the checkpoint; it is to be made again."""


def source_facts(*files: Path) -> list[list[object]]:
    """For each file of a checkpoint: [name, name after links, size, time of change], for the header of a packed file.

    A changed file changes these values. Files in the Hugging Face cache are links to files whose names are digests.
    Raises OSError.
    """
    rows: list[list[object]] = []
    for path in sorted(files):
        real = Path(os.path.realpath(path))
        stat = real.stat()
        rows.append([path.name, real.name, stat.st_size, stat.st_mtime_ns])
    return rows


def header_field(path: Path, name: str) -> object:
    """A field of the header of a packed file; None if the file or the field does not exist."""
    with contextlib.suppress(OSError, ValueError, StalePackedFile, RecursionError), open(path, "rb") as file:
        return _header(file.read(HEADER_ROOM), os.fstat(file.fileno()).st_size).get(name)
    return None


def checkpoint_folder(path: Path) -> Path | None:
    """The folder of the checkpoint that a packed file was made from; None if its header does not name one."""
    folder = header_field(path, "folder")
    return Path(folder) if isinstance(folder, str) and os.path.isabs(folder) else None


def verify(path: Path, facts: dict[str, Any], threads: int = 1) -> bool:
    """Whether a packed file is intact and its header contains `facts`. Reads the whole file and renews its stamp."""
    with contextlib.suppress(OSError):
        stamp_path(path).unlink(missing_ok=True)
    try:
        read(path, facts, threads)
    except (OSError, StalePackedFile):
        return False
    return True


# ---------------------------------------------------------------- reading
def read(
    path: Path, facts: dict[str, Any], threads: int = 1, *, stamp: bool = True
) -> tuple[dict[str, Any], mmap.mmap]:
    """Check and map a packed file. Returns (header, mapping).

    facts: fields that the header must have. threads: how many threads read a file whose stamp is missing or differs.
    stamp: whether to write a stamp after such a reading.
    Raises FileNotFoundError, OSError, and StalePackedFile for a file that must be made again.
    """
    with open(path, "rb") as file:
        _check_stamp(path, file.fileno(), facts, threads, stamp)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    header = _expected_header(mapped[:HEADER_ROOM], len(mapped), facts)
    data = memoryview(mapped)
    if any(_ends_checksum(data[e["start"] : e["end"]]) != e["ends"] for e in header["pieces"]):
        raise StalePackedFile
    return header, mapped


def _check_stamp(
    path: Path, descriptor: int, facts: dict[str, Any], threads: int, stamp: bool, tick: Callable[[int], None] = int
) -> None:
    """Compare a file with its stamp; if they differ, read the file whole and write a stamp. Raises StalePackedFile.

    facts, threads, stamp: see `read`. tick: called with the size of the file before each block is read; an exception
    that it raises ends the reading.
    """
    stat = os.fstat(descriptor)
    if stat.st_size < _PREAMBLE.size:
        raise StalePackedFile
    identity = f"{FORMAT_VERSION} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}\n"
    if _read_stamp(path) == identity:
        return
    _check_whole(descriptor, stat.st_size, facts, threads, tick)
    if stamp:
        with contextlib.suppress(OSError):  # without a stamp the next opening reads the file whole again
            stamp_path(path).write_text(identity, encoding="ascii")


def _header(start: bytes, size: int) -> dict[str, Any]:
    """The header in the first bytes of a file of `size` bytes. Raises StalePackedFile."""
    if len(start) < _PREAMBLE.size:
        raise StalePackedFile
    magic, version, length, whole, checksum = _PREAMBLE.unpack_from(start)
    raw = start[_PREAMBLE.size : _PREAMBLE.size + min(length, HEADER_ROOM)]
    if (magic, version, whole) != (_MAGIC, FORMAT_VERSION, size) or zlib.crc32(raw) != checksum:
        raise StalePackedFile
    header = json.loads(raw)
    if not isinstance(header, dict):
        raise StalePackedFile
    return header


def _expected_header(start: bytes, size: int, facts: dict[str, Any]) -> dict[str, Any]:
    """The header, if it contains `facts`. Raises StalePackedFile."""
    header = _header(start, size)
    if any(header.get(name) != fact for name, fact in facts.items()):
        raise StalePackedFile
    return header


def _ends_checksum(data: memoryview) -> int:
    """Checksum of the first and the last bytes of a piece, which finds a piece that was not written to the disk."""
    return zlib.crc32(data[-_END_BYTES:], zlib.crc32(data[:_END_BYTES]))


def _check_whole(descriptor: int, size: int, facts: dict[str, Any], threads: int, tick: Callable[[int], None]) -> None:
    """Compare every piece with its checksum; read with pread, which maps no memory. Raises StalePackedFile."""
    from concurrent.futures import ThreadPoolExecutor

    header = _expected_header(os.pread(descriptor, HEADER_ROOM, 0), size, facts)

    def good(entry: dict[str, Any]) -> bool:
        at, checksum = entry["start"], 0
        while at < entry["end"]:
            tick(size)
            data = os.pread(descriptor, min(_BLOCK, entry["end"] - at), at)
            if not data:
                return False
            at, checksum = at + len(data), zlib.crc32(data, checksum)
        return bool(checksum == entry["checksum"])

    with ThreadPoolExecutor(threads, THREAD_NAME) as pool:
        if not all(pool.map(good, header["pieces"])):
            raise StalePackedFile


def _read_stamp(path: Path) -> str:
    try:
        return stamp_path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


# ---------------------------------------------------------------- writing
class _Blocks:
    """Writes a file from front to back in aligned blocks of whole huge pages.

    A file system that supports huge pages then keeps the file in them, so that mapping it takes few page faults.
    """

    def __init__(self, file: BinaryIO, tick: Callable[[int], None]) -> None:
        self._file, self._tick = file, tick
        self._block, self._used, self._start = memoryview(bytearray(_BLOCK)), 0, 0

    def put(self, start: int, data: Any) -> None:
        """Write `data` at byte `start` of the file, at or after the end of the previous data; fill the gap with 0."""
        gap = start - self._start - self._used
        for part in (memoryview(bytes(gap)), memoryview(data)):
            while len(part):
                count = min(len(part), _BLOCK - self._used)
                self._block[self._used : self._used + count] = part[:count]
                self._used, part = self._used + count, part[count:]
                if self._used == _BLOCK:
                    self.flush()

    def flush(self) -> None:
        """Write the filled part of the block."""
        self._tick(self._start)
        self._file.write(self._block[: self._used])
        before, self._start, self._used = self._start, self._start + self._used, 0
        if before // _SYNC != self._start // _SYNC:
            self._file.flush()
            with contextlib.suppress(OSError):  # a disk error is found later: the complete file is read back
                os.fsync(self._file.fileno())


def fill_file(
    file: BinaryIO, facts: dict[str, Any], pieces: Iterable[Piece], size: int, tick: Callable[[int], None]
) -> None:
    """Write a packed file of `size` bytes into an empty file, the preamble last.

    tick: called with the number of bytes written, before each block; an exception that it raises ends the writing.
    Raises OSError.
    """
    entries, blocks = [], _Blocks(file, tick)
    for slot, layer, dtype, start, data in pieces:
        blocks.put(start, data)
        entry: dict[str, Any] = {"slot": slot, "layer": layer, "dtype": dtype, "start": start, "end": start + len(data)}
        entries.append({**entry, "checksum": zlib.crc32(data), "ends": _ends_checksum(memoryview(data))})
    blocks.put(size, b"")
    blocks.flush()
    header = json.dumps({**facts, "digest": _digest(entries), "pieces": entries}).encode()
    if _PREAMBLE.size + len(header) > HEADER_ROOM:
        raise OSError("the header of the packed weights is too long")
    file.seek(0)
    file.write(_PREAMBLE.pack(_MAGIC, FORMAT_VERSION, len(header), size, zlib.crc32(header)) + header)


def _digest(entries: Iterable[dict[str, Any]]) -> str:
    """Hexadecimal digits that two files share if all their pieces are equal, whatever folder they were made from."""
    names = ("slot", "layer", "dtype", "checksum")
    return hashlib.sha256(json.dumps([[entry[name] for name in names] for entry in entries]).encode()).hexdigest()[:16]


def create_file(
    path: Path, facts: dict[str, Any], pieces: Iterable[Piece], size: int, tick: Callable[[int], None], threads: int = 1
) -> None:
    """Write a packed file under a temporary name, rename it, and read it back. The caller holds the file's lock.

    tick: see fill_file; it is called also while the file is read back. An exception or a signal leaves no partial file.
    SIGKILL leaves one, which the next writer replaces. Raises OSError, and what `tick` raises.
    """
    try:
        with Replacement(path, temporary=partial_path(path).name) as file:
            fill_file(file, facts, pieces, size, tick)
    except OSError as error:
        error.filename = error.filename or str(path)  # the error for a full disk has no file name
        raise
    try:
        with open(path, "rb") as written:
            _check_stamp(path, written.fileno(), facts, threads, True, tick)
    except StalePackedFile:
        path.unlink(missing_ok=True)
        raise OSError("the packed weights do not read back as they were written") from None
