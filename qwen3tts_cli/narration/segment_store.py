"""The folder of segments: what a run has spoken so far, kept until the output is complete.

Each segment is one FLAC file of 24 bits, mono, 24 kHz, named by the hash of what made it. A file that has its name is
complete: it is written under a temporary name, flushed to the disk and then renamed. Which segments are done is decided
by these files alone. Beside them lie `run.json`, `log.jsonl` (see run_log.py) and the lock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.atomic_write import sync_folder, write_whole
from ..common.audio_constants import SAMPLE_RATE
from ..errors import InputError, OutputError, UsageError
from ..packed.cache_lock import Lock, try_lock

if TYPE_CHECKING:
    import numpy as np

RUN_NAME = "run.json"
LOG_NAME = "log.jsonl"
_LOCK_NAME = "run.lock"
_RUN_FORMAT, _RUN_VERSION = "qwen3tts segments", 1
_MAX_RUN_BYTES = 64 << 20
_FULL_SCALE = 1 << 23
_DIGEST = re.compile(r"[0-9a-f]{16,128}")
_SEGMENT = re.compile(r"[0-9a-f]{16,128}\.flac")
_TEMPORARY = re.compile(r"\.qwen3tts-[0-9a-f]{16}\.part")  # the names of common/atomic_write.py
_STREAMINFO_MD5 = slice(26, 42)  # of a FLAC file: "fLaC", 4 bytes of block header, 18 bytes before the MD5


class SegmentStore:
    """A locked folder of segments. A context manager; leaving it releases the lock and removes nothing.

    Any thread of the process that opened it may use it. Every method raises OutputError that names the folder if the
    folder is removed or replaced while it is open, or if the system cannot read or write it.

    >>> with SegmentStore.open(Path("book.opus.segments"), keep=False) as store:
    ...     if not store.has(digest):
    ...         store.write(digest, samples)
    ...     samples = store.read(digest)
    ...     store.remove_all()
    """

    def __init__(self, folder: Path, lock: Lock, keep: bool) -> None:
        self.folder, self.keep = folder, keep
        self._lock = lock
        self._lock_file = _identity(folder / _LOCK_NAME)
        self._sizes: dict[str, int] = {}  # of the segments that were written or read whole in this run

    @classmethod
    def open(cls, folder: Path, *, keep: bool) -> SegmentStore:
        """Create the folder if it does not exist, lock it, and remove temporary files that a killed process left.

        The folder above must exist. keep: whether `remove_all` leaves everything.
        Raises UsageError if another process has the folder open, OutputError if it cannot be created or locked.
        """
        try:
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                sync_folder(os.fspath(folder.absolute().parent))
            if not folder.is_dir():
                raise OutputError(f"{folder}: is not a folder, so it cannot hold segments")
            lock = try_lock(folder / _LOCK_NAME)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{folder}: no folder of segments can be made here ({_reason(error)})") from None
        if lock is None:
            raise UsageError(f"{folder}: another process {_holder(folder)}uses these segments; wait until it has ended")
        try:
            with contextlib.suppress(OSError):  # a full disk: the pid is only for the message
                (folder / _LOCK_NAME).write_text(f"{os.getpid()}\n", encoding="ascii")
            store = cls(folder, lock, keep)
            store._remove(_TEMPORARY)
            return store
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Release the lock. May be called again."""
        self._lock.release()

    def __enter__(self) -> SegmentStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log_path(self) -> Path:
        """The path of the log of the run, see run_log.py."""
        return self.folder / LOG_NAME

    def path(self, digest: str) -> Path:
        """The path of the file of a segment. digest: 16 to 128 hexadecimal digits. Raises UsageError for another."""
        if not _DIGEST.fullmatch(digest):
            raise UsageError(f"digest {digest!r}: expected 16 to 128 hexadecimal digits")
        return self.folder / f"{digest}.flac"

    def write(self, digest: str, samples: np.ndarray) -> None:
        """Store a segment. When this returns, it survives a kill and a power cut.

        digest: see `path`. samples: float32 of shape (n,), n > 0, full scale 1, 24 kHz; stored as the integers
        clip(round(x * 2^23), -2^23, 2^23 - 1), ties to even.
        Raises InputError for samples that are empty or not finite, OutputError; an older file then stays as it was.
        """
        data = _encode(digest, samples)
        path = self.path(digest)
        self._check_folder()
        try:
            write_whole(path, data)
        except OSError as error:
            self._check_folder()
            raise OutputError(f"{path}: {_reason(error)}; what was spoken so far is kept") from None
        self._sizes[digest] = len(data)

    def read(self, digest: str) -> np.ndarray | None:
        """The samples of a segment: float32 of shape (n,), multiples of 2^-23; None if there is no good file.

        A truncated or damaged file is removed.
        """
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            self._check_folder()
            self._sizes.pop(digest, None)
            return None
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({_reason(error)})") from None
        integers = _decode(data)
        if integers is None:
            self._sizes.pop(digest, None)
            self._unlink(path)
            return None
        self._sizes[digest] = len(data)
        return integers.astype("f4") / _FULL_SCALE

    def has(self, digest: str) -> bool:
        """Whether the segment need not be spoken. The first call for a segment reads its file whole, as `read` does."""
        path = self.path(digest)
        with contextlib.suppress(OSError):  # `read` says what is wrong
            if digest in self._sizes and path.stat().st_size == self._sizes[digest]:
                return True
        return self.read(digest) is not None

    def is_empty(self) -> bool:
        """Whether the folder has no file of a segment."""
        return not self._names(_SEGMENT)

    def read_run(self) -> dict[str, Any] | None:
        """What `write_run` stored last, or None. Raises UsageError if the file is damaged or of another version."""
        path = self.folder / RUN_NAME
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_RUN_BYTES + 1)
        except FileNotFoundError:
            self._check_folder()
            return None
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({_reason(error)})") from None
        try:
            found = json.loads(data) if len(data) <= _MAX_RUN_BYTES else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or found.get("format") != _RUN_FORMAT:
            raise UsageError(f"{path}: is damaged; delete it to begin anew")
        if found.get("version") != _RUN_VERSION:
            version = str(found.get("version"))[:40]
            raise UsageError(f"{path}: has version {version!r}, expected {_RUN_VERSION}; delete it to begin anew")
        if not isinstance(found.get("run"), dict):
            raise UsageError(f"{path}: is damaged; delete it to begin anew")
        return found["run"]

    def write_run(self, run: dict[str, Any]) -> None:
        """Store the facts of the run that are decided once: JSON values. Atomic and durable. Raises OutputError."""
        record = {"format": _RUN_FORMAT, "version": _RUN_VERSION, "run": run}
        data = (json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
        path = self.folder / RUN_NAME
        self._check_folder()
        try:
            write_whole(path, data)
        except OSError as error:
            self._check_folder()
            raise OutputError(f"{path}: {_reason(error)}") from None

    def remove_all(self) -> None:
        """Remove what the store wrote, and the folder if nothing else is in it. Does nothing if `keep`. Ends its use.

        run.json goes last: a run that is killed on the way goes on with the same seed.
        """
        if self.keep:
            return
        self._check_folder()
        self._remove(_SEGMENT, _TEMPORARY)
        for name in (LOG_NAME, RUN_NAME, _LOCK_NAME):
            self._unlink(self.folder / name)
        with contextlib.suppress(OSError):  # files of others are in it
            self.folder.rmdir()
        self._sizes.clear()
        self.close()

    def _remove(self, *patterns: re.Pattern[str]) -> None:
        for name in self._names(*patterns):
            self._unlink(self.folder / name)

    def _names(self, *patterns: re.Pattern[str]) -> list[str]:
        try:
            with os.scandir(self.folder) as entries:
                return [entry.name for entry in entries if any(each.fullmatch(entry.name) for each in patterns)]
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be read ({_reason(error)})") from None

    def _unlink(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be removed ({_reason(error)})") from None

    def _check_folder(self) -> None:
        # A folder that was removed and made again may be locked by another process.
        if self._lock_file is None or _identity(self.folder / _LOCK_NAME) != self._lock_file:
            raise OutputError(f"{self.folder}: the folder of segments was removed or replaced while it was in use")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _holder(folder: Path) -> str:
    try:
        pid = (folder / _LOCK_NAME).read_text(encoding="ascii")[:20].strip()
    except (OSError, ValueError):
        return ""
    return f"(pid {pid}) " if pid.isdecimal() else ""


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the disk"
    return error.strerror or type(error).__name__


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise OutputError(f"segments need libsndfile, which cannot be loaded ({error})") from None
    return soundfile


def _encode(digest: str, samples: np.ndarray) -> bytes:
    import numpy as np

    if samples.size == 0 or not np.isfinite(samples).all():
        raise InputError(f"segment {digest[:12]}: {'samples that are not finite' if samples.size else 'no samples'}")
    # The product is exact in float64, so np.rint is the only rounding. libsndfile takes the upper 24 bits of 32.
    scaled = np.rint(np.asarray(samples, np.float64) * _FULL_SCALE)
    integers = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int32) << 8
    file = io.BytesIO()
    _soundfile().write(file, integers, SAMPLE_RATE, format="FLAC", subtype="PCM_24")
    return file.getvalue()


def _decode(data: bytes) -> np.ndarray | None:
    """The integers of a FLAC file, int32 of shape (n,); None unless all of it is as `_encode` wrote it."""
    soundfile = _soundfile()
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if (file.format, file.subtype, file.channels, file.samplerate) != ("FLAC", "PCM_24", 1, SAMPLE_RATE):
                return None
            count = file.frames
            integers = file.read(dtype="int32") >> 8
    except (soundfile.SoundFileError, ValueError, MemoryError):
        return None
    # libsndfile neither compares the MD5 of the samples nor promises an error at an early end.
    little = integers.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    if len(integers) != count or hashlib.md5(little, usedforsecurity=False).digest() != data[_STREAMINFO_MD5]:
        return None
    return integers
