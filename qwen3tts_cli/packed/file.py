"""Files of packed weights: a preamble, a JSON header, and pieces on 64-byte boundaries.

A file is written by who holds its lock, beside its place, and moved there whole: two processes do not disturb each
other, a killed one leaves nothing wrong. All of it is read and compared with its checksums once, after it was made;
then a stamp beside it holds what the file system says of it (size, times, inode). Opening a file that still is what
its stamp says checks the preamble, the header and the ends of each piece. One that was written to, copied or restored
since is read whole again. What does not pass is made anew.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from ..common.replace import Replacement
from .locate import stamp_of, temporary_of

Progress = Callable[[int, int], None]  # bytes done, bytes in all
Piece = tuple[str, int, str, int, Any]  # slot, layer, dtype, start, data: a contiguous array of bytes

FORMAT_VERSION = 3
HEADER_ROOM = 1 << 20
THREAD_NAME = "packed weights"  # begins the names of all threads that the writing of a file waits for

_MAGIC = b"Q3TPACK\0"
_PREAMBLE = struct.Struct("<8sIIQI")  # magic, version, bytes of the header, bytes of the file, checksum of the header
_ENDS = 512
_BLOCK = 8 << 20  # bytes written at a time: whole huge pages of 2 MB
_SYNC = 128 << 20  # bytes that are on their way to the disk at most, so that giving up does not take long


class Unfit(Exception):
    """A cache file that is not whole, or not of this source."""


def source_of(*files: Path) -> list[list[object]]:
    """What changes when the model's files do. Files in the Hugging Face cache are named by their contents."""
    rows: list[list[object]] = []
    for path in sorted(files):
        real = Path(os.path.realpath(path))
        stat = real.stat()
        rows.append([path.name, real.name, stat.st_size, stat.st_mtime_ns])
    return rows


def folder_of(path: Path) -> Path | None:
    """The folder of the model that a file was made of; None where it does not say so."""
    with contextlib.suppress(OSError, ValueError, Unfit, RecursionError), open(path, "rb") as file:
        folder = _header(file.read(HEADER_ROOM), os.fstat(file.fileno()).st_size).get("folder")
        return Path(folder) if isinstance(folder, str) and os.path.isabs(folder) else None
    return None


def verify(path: Path, facts: dict[str, Any], threads: int = 1) -> bool:
    """Whether a file is whole and its header says `facts`. Reads all of it, and stamps or unstamps it."""
    with contextlib.suppress(OSError):
        stamp_of(path).unlink(missing_ok=True)
    try:
        read(path, facts, threads)
    except (OSError, Unfit):
        return False
    return True


# ---------------------------------------------------------------- reading
def read(
    path: Path, facts: dict[str, Any], threads: int = 1, *, stamp: bool = True
) -> tuple[dict[str, Any], mmap.mmap]:
    """The header and the mapped file. stamp: leave one where it was read whole.

    Raises FileNotFoundError, OSError, and Unfit for what is to be made anew.
    """
    with open(path, "rb") as file:
        _confirm(path, file.fileno(), facts, threads, stamp)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    header = _header_of(mapped[:HEADER_ROOM], len(mapped), facts)
    data = memoryview(mapped)
    if any(_ends(data[e["start"] : e["end"]]) != e["ends"] for e in header["pieces"]):
        raise Unfit
    return header, mapped


def _confirm(
    path: Path, descriptor: int, facts: dict[str, Any], threads: int, stamp: bool, tick: Callable[[int], None] = int
) -> None:
    """See to it that a file is what its stamp says, or read it whole, and then leave a stamp. Raises Unfit."""
    stat = os.fstat(descriptor)
    if stat.st_size < _PREAMBLE.size:
        raise Unfit
    identity = f"{FORMAT_VERSION} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}\n"
    if _stamped(path) == identity:
        return
    _check_whole(descriptor, stat.st_size, facts, threads, tick)
    if stamp:
        with contextlib.suppress(OSError):  # without a stamp it is only read again
            stamp_of(path).write_text(identity, encoding="ascii")


def _header(start: bytes, size: int) -> dict[str, Any]:
    """The header that begins a file of `size` bytes. Raises Unfit."""
    if len(start) < _PREAMBLE.size:
        raise Unfit
    magic, version, length, whole, checksum = _PREAMBLE.unpack_from(start)
    raw = start[_PREAMBLE.size : _PREAMBLE.size + min(length, HEADER_ROOM)]
    if (magic, version, whole) != (_MAGIC, FORMAT_VERSION, size) or zlib.crc32(raw) != checksum:
        raise Unfit
    header = json.loads(raw)
    if not isinstance(header, dict):
        raise Unfit
    return header


def _header_of(start: bytes, size: int, facts: dict[str, Any]) -> dict[str, Any]:
    header = _header(start, size)
    if any(header.get(name) != fact for name, fact in facts.items()):
        raise Unfit
    return header


def _ends(data: memoryview) -> int:
    """Checksum of the first and the last bytes: what a hole in the file would show in."""
    return zlib.crc32(data[-_ENDS:], zlib.crc32(data[:_ENDS]))


def _check_whole(descriptor: int, size: int, facts: dict[str, Any], threads: int, tick: Callable[[int], None]) -> None:
    """Compare every piece with its checksum. Raises Unfit. What is read does not become memory of the process."""
    from concurrent.futures import ThreadPoolExecutor

    header = _header_of(os.pread(descriptor, HEADER_ROOM, 0), size, facts)

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
            raise Unfit


def _stamped(path: Path) -> str:
    try:
        return stamp_of(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


# ---------------------------------------------------------------- writing
class _Blocks:
    """Writes a file from front to back, in blocks that begin at multiples of their size: where the file system can, the
    system then keeps it in huge pages, which are mapped at once."""

    def __init__(self, file: BinaryIO, tick: Callable[[int], None]) -> None:
        self._file, self._tick = file, tick
        self._block, self._used, self._start = memoryview(bytearray(_BLOCK)), 0, 0

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
        self._tick(self._start)
        self._file.write(self._block[: self._used])
        before, self._start, self._used = self._start, self._start + self._used, 0
        if before // _SYNC != self._start // _SYNC:
            self._file.flush()
            with contextlib.suppress(OSError):  # what does not come to be on the disk shows at the end
                os.fsync(self._file.fileno())


def write(
    file: BinaryIO, facts: dict[str, Any], pieces: Iterable[Piece], size: int, tick: Callable[[int], None]
) -> None:
    """Fill an empty file of `size` bytes, the preamble last. tick: called with bytes done before each block; what it
    raises ends the writing."""
    entries, blocks = [], _Blocks(file, tick)
    for slot, layer, dtype, start, data in pieces:
        blocks.put(start, data)
        entry: dict[str, Any] = {"slot": slot, "layer": layer, "dtype": dtype, "start": start, "end": start + len(data)}
        entries.append({**entry, "checksum": zlib.crc32(data), "ends": _ends(memoryview(data))})
    blocks.put(size, b"")
    blocks.flush()
    header = json.dumps({**facts, "pieces": entries}).encode()
    if _PREAMBLE.size + len(header) > HEADER_ROOM:
        raise OSError("the header of the packed weights has no room")
    file.seek(0)
    file.write(_PREAMBLE.pack(_MAGIC, FORMAT_VERSION, len(header), size, zlib.crc32(header)) + header)


def make(
    path: Path, facts: dict[str, Any], pieces: Iterable[Piece], size: int, tick: Callable[[int], None], threads: int = 1
) -> None:
    """Write a file under its lock, give it its name, and read it back. tick: as of `write`, also while it is read.

    Whatever ends this leaves no part of the file, but a kill, after which the next writer removes it. Raises OSError,
    and what `tick` raises.
    """
    try:
        with Replacement(path, temporary=temporary_of(path).name) as file:
            write(file, facts, pieces, size, tick)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk is told of without
        raise
    try:
        with open(path, "rb") as made:
            _confirm(path, made.fileno(), facts, threads, True, tick)
    except Unfit:
        path.unlink(missing_ok=True)
        raise OSError("the packed weights do not read back as they were written") from None
