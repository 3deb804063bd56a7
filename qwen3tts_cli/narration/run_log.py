"""The log of a run: what happened to segments, one JSON record a line.

Nothing is decided by it, so it may be lost, damaged or of a run with another model: a record names the segment that it
is about by its digest, which no other text, voice or model has. A line is `{"crc":"<8 hexadecimal digits>","record":`,
the record and `}`; the CRC-32 is that of the record's UTF-8 bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE = re.compile(rb'\{"crc":"([0-9a-f]{8})","record":(.*)\}\n', re.DOTALL)
_MAX_LINE_BYTES = 1 << 20
_TAIL_BYTES = 1 << 16


class RunLog:
    """An append-only file of records. A context manager; the caller holds the lock of the folder.

    >>> with RunLog.open(store.log_path) as log:
    ...     log.append({"segment": digest, "attempts": 2, "reason": "clipping"})
    ...     failed = [record for record in log.records() if "reason" in record]
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._is_torn = False

    @classmethod
    def open(cls, path: Path) -> RunLog:
        """Open or create a log. Cuts off a last line without end, left by a killed process. Raises OutputError."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise _failure(path, error) from None
        try:
            os.ftruncate(descriptor, _end_of_lines(descriptor))
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise _failure(path, error) from None
            raise
        return cls(path, descriptor)

    def close(self) -> None:
        """Close the file. May be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, record: dict[str, Any]) -> None:
        """Add a record of JSON values, without waiting for the disk.

        Raises OutputError (a full disk): the log is then as it was before, and later records may be added.
        """
        body = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        line = b'{"crc":"%08x","record":%b}\n' % (zlib.crc32(body), body)
        if self._is_torn:
            line = b"\n" + line
        try:
            end = os.fstat(self._descriptor).st_size
            try:
                written = 0
                while written < len(line):
                    written += os.write(self._descriptor, line[written:])
            except OSError:
                self._is_torn = True
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, end)
                    self._is_torn = False
                raise
        except OSError as error:
            raise _failure(self.path, error) from None
        self._is_torn = False

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records, oldest first, without damaged lines. Raises OutputError if the file cannot be read."""
        try:
            with open(os.dup(self._descriptor), "rb") as file:
                position = 0
                while True:
                    file.seek(position)  # the descriptors share their position
                    line = file.readline(_MAX_LINE_BYTES)
                    if not line:
                        return
                    position += len(line)
                    if (record := _parse(line)) is not None:
                        yield record
        except OSError as error:
            raise _failure(self.path, error) from None


def _parse(line: bytes) -> dict[str, Any] | None:
    match = _LINE.fullmatch(line)
    if match is None or zlib.crc32(match[2]) != int(match[1], 16):
        return None
    try:
        record = json.loads(match[2])
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _end_of_lines(descriptor: int) -> int:
    """The number of bytes up to the end of the last whole line."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _TAIL_BYTES)
        at = os.pread(descriptor, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _failure(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: {error.strerror or error}")
