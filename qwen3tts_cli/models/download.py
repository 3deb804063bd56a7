"""Download a model from the Hugging Face Hub into its cache, through huggingface_hub.

The commit of `main` is read once, and all files are those of this commit. The large ones come first, each into a
partial file that the next run continues, and get their place in the cache only with the right SHA-256;
`snapshot_download` then does the small ones and the links. The reference `main` of the cache points at the commit once
all of it is there, so that a revision that was there before stays in use until then.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..common.atomic_write import move
from ..errors import DownloadError
from . import hub_cache

Report = Callable[[int, int], None]  # bytes there, bytes in all

_PATTERNS = [
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "vocab.json",
    "merges.txt",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "speech_tokenizer/*.json",
    "speech_tokenizer/*.safetensors",
    "LICENSE*",
]
_CHUNK_BYTES = 1 << 18  # huggingface_hub's 10 MB are what a cut connection would lose, and the steps of the progress
_RESTARTS = 3  # of one file, by a server that closes the connection early and cannot continue
_UNREACHABLE = ("ConnectError", "ConnectionError", "ProxyError", "NewConnectionError", "NameResolutionError")
_CUT = ("RemoteProtocolError", "ChunkedEncodingError", "ReadError", "IncompleteRead", "ProtocolError")


@dataclass(frozen=True)
class _LargeFile:
    name: str
    url: str
    sha256: str
    size: int
    blob: Path


def pull(repo: str, report: Report) -> Path:
    """Download what is missing of a repo `org/name`; returns the folder of its snapshot. Raises DownloadError."""
    cache = hub_cache.cache_folder()
    if cache is None:
        raise DownloadError(f"{repo}: there is no folder to download into; set HF_HOME to one")
    # Nothing but the files is asked for: without this the Hub is also queried for names of programs that call it.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
        from huggingface_hub import constants, utils
    except ImportError as error:
        raise DownloadError(f"huggingface_hub cannot be imported: {error}") from None
    if constants.HF_HUB_OFFLINE:
        raise DownloadError(f"{repo}: not downloaded, {hub_cache.offline_variable()} is set")
    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    constants.HF_HUB_ENABLE_HF_TRANSFER = False  # older versions: it cannot continue a file
    utils.logging.set_verbosity_error()
    utils.disable_progress_bars()
    try:
        info = huggingface_hub.HfApi().repo_info(repo, revision="main")
        names = [file.rfilename for file in info.siblings or ()]
        if "config.json" not in names:
            raise DownloadError(f"{repo}: not a Qwen3-TTS checkpoint, it has no config.json")
        _large_files(list(_describe(repo, info.sha, names)), report)
        folder = Path(
            huggingface_hub.snapshot_download(repo, revision=info.sha, allow_patterns=_PATTERNS, cache_dir=cache)
        )
        _check(repo, folder)
        _point_main_at(repo, info.sha)
    except DownloadError:
        raise
    except Exception as error:
        raise _explained(repo, error) from error
    return folder


def _describe(repo: str, commit: str, names: list[str]) -> Iterator[_LargeFile]:
    """What the Hub says of each large file, asked for by HEAD."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    for name in names:
        if not name.endswith(".safetensors") or not any(fnmatch.fnmatch(name, pattern) for pattern in _PATTERNS):
            continue
        url = hf_hub_url(repo, name, revision=commit)
        found = get_hf_file_metadata(url)
        # Only a SHA-256 tells whether the file came whole; without one it is left to snapshot_download.
        if found.size is not None and re.fullmatch(r"[0-9a-f]{64}", found.etag or ""):
            yield _LargeFile(name, url, found.etag, found.size, hub_cache.repo_folder(repo) / "blobs" / found.etag)


def _large_files(files: list[_LargeFile], report: Report) -> None:
    total, done = sum(file.size for file in files), 0
    missing = []
    for file in files:
        if file.blob.is_file() and hub_cache.file_digest(file.blob, file.sha256) == file.sha256:
            done += file.size
        else:
            missing.append(file)
    _check_space(missing)
    for file in missing:
        _fetch(file, lambda count, before=done: report(before + count, total))
        done += file.size


def _partial(file: _LargeFile) -> Path:
    return file.blob.with_name(f"{file.sha256}.qwen3tts.incomplete")


def _check_space(files: list[_LargeFile]) -> None:
    if not files:
        return
    folder = files[0].blob.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        needed = sum(file.size for file in files)
        needed -= sum(_partial(file).stat().st_size for file in files if _partial(file).exists())
    except OSError as error:
        raise DownloadError(f"{folder}: {error.strerror}") from None
    if needed > free:
        raise DownloadError(f"{folder}: {needed / 1e6:,.0f} MB are to come, {free / 1e6:,.0f} MB are free")


def _fetch(file: _LargeFile, report: Callable[[int], None]) -> None:
    """Download one file, from where an earlier run stopped, and move it to its place when its digest is right."""
    import fcntl

    partial = _partial(file)
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with open(descriptor, "r+b") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(f"{file.name}: another download of it is running") from None
        _transfer(file, opened, report)
        opened.flush()
        if hub_cache.file_digest(partial, file.sha256) != file.sha256:
            partial.unlink()
            raise DownloadError(f"{file.name}: damaged on the way, its SHA-256 is not the one announced; pull again")
        os.fsync(opened.fileno())
        move(partial, file.blob)  # in the place of an earlier, damaged one, if there is one


def _point_main_at(repo: str, commit: str) -> None:
    """Let `main` of the cache mean a commit, as huggingface_hub writes it."""
    path = hub_cache.repo_folder(repo) / "refs" / "main"
    with contextlib.suppress(OSError):
        if path.read_bytes() == commit.encode("ascii"):
            return  # the cache may be one that cannot be written
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent.parent, prefix=".main-")
    try:
        with open(descriptor, "wb") as file:
            file.write(commit.encode("ascii"))
            os.fchmod(descriptor, 0o644)
            file.flush()
            os.fsync(descriptor)
        move(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _transfer(file: _LargeFile, opened: BinaryIO, report: Callable[[int], None]) -> None:
    """Append what is missing of a file; a connection that was cut is opened again as long as each brings something."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    counted = _Counted(file, opened, report)
    while (there := opened.seek(0, os.SEEK_END)) != file.size:
        if there > file.size:
            opened.truncate(0)
            continue
        try:
            http_get(
                file.url,
                counted,  # type: ignore[arg-type]
                resume_size=there,
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=file.name,
            )
        except DownloadError:
            raise
        except Exception as error:
            # A file that ended, but elsewhere than announced, cannot be continued.
            if "Consistency check failed" in str(error) or _status(error) == 416:
                opened.truncate(0)
            elif _class_names(error).intersection(_CUT) and opened.seek(0, os.SEEK_END) > there:
                continue
            raise _explained(file.name, error) from error


class _Counted:
    """The partial file as huggingface_hub writes it: reports how far it is, and stops a download without end."""

    def __init__(self, file: _LargeFile, opened: BinaryIO, report: Callable[[int], None]) -> None:
        self._file, self._opened, self._report, self._restarts = file, opened, report, 0
        self.seek, self.tell, self.flush = opened.seek, opened.tell, opened.flush

    def write(self, data: bytes) -> int:
        if self._opened.tell() + len(data) > self._file.size:
            self._opened.truncate(0)
            raise DownloadError(f"{self._file.name}: longer than the {self._file.size} bytes announced")
        count = self._opened.write(data)
        self._report(self._opened.tell())
        return count

    def truncate(self) -> int:
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise DownloadError(f"{self._file.name}: the server keeps closing the connection early")
        return self._opened.truncate()


def _check(repo: str, folder: Path) -> None:
    """Small files against their digests; a damaged one is removed, so that the next run fetches it again."""
    for name, wrong in hub_cache.damaged_files(folder):
        if wrong is not None:
            path = folder / name
            Path(os.path.realpath(path)).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise DownloadError(f"{repo}: {name}: {wrong}; pull again")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error of huggingface_hub, whichever client library it is built on."""
    for each in _chain(error):
        status = getattr(getattr(each, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _class_names(error: BaseException) -> set[str]:
    """Names of the classes of an error and its causes: those of each client library are much alike."""
    return {kind.__name__ for each in _chain(error) for kind in type(each).__mro__}


def _explained(repo: str, error: Exception) -> DownloadError:
    status, causes, names = _status(error), list(_chain(error)), _class_names(error)
    full = next(
        (each for each in causes if isinstance(each, OSError) and each.errno in (errno.ENOSPC, errno.EDQUOT)), None
    )
    if full is not None:
        reason = f"{full.strerror} in {hub_cache.cache_folder()}"
    elif status in (401, 403):
        token = "the token is not accepted" if os.environ.get("HF_TOKEN") else "it may need a token, in HF_TOKEN"
        reason = f"the Hub answered {status}: no access to it, or no such model; {token}"
    elif status == 404:
        reason = "the Hub answered 404: no such model or file"
    elif status is not None:
        reason = f"the Hub answered {status}, try again later"
    elif names.intersection(_UNREACHABLE):
        reason = "the Hub cannot be reached; is there a network?"
    elif any("Timeout" in name for name in names):
        reason = "the Hub does not answer in time; pull again to continue"
    elif names.intersection(_CUT):
        reason = "the connection was cut; pull again to continue"
    elif "Consistency check failed" in str(error):
        reason = "a file did not have the size announced; pull again"
    else:
        reason = str(error) or type(error).__name__
    return DownloadError(f"{repo}: {reason}")
