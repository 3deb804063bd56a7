"""Download a model from the Hugging Face Hub into its cache, with the public interface of huggingface_hub.

The commit that `main` names is read once, and every file comes from this commit. Each file is written to a partial
file, which the next run continues: huggingface_hub itself deletes the partial file of an interrupted download. The file
gets its name in the cache when its digest is the announced one. `snapshot_download` then creates the links. Last, the
reference `main` of the cache is set to the commit; an earlier revision stays in use until then.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common.atomic_write import move, write_whole
from ..errors import DownloadError
from . import hub_cache

Report = Callable[[int, int, int], None]  # bytes in the cache, bytes of the model, bytes received in this run

_PATTERNS = (
    *("config.json", "generation_config.json", "tokenizer_config.json", "preprocessor_config.json"),
    *("vocab.json", "merges.txt", "speech_tokenizer/*.json", "speech_tokenizer/*.safetensors", "LICENSE*"),
    *("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"),
)
_CHUNK_BYTES = 1 << 18
_ATTEMPTS = 5  # requests in a row that bring no new byte
_PAUSE_SECONDS = 1
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@dataclass(frozen=True)
class _File:
    name: str
    size: int
    digest: str  # hexadecimal: the SHA-256 of a file in Git LFS, the SHA-1 of the git blob of any other file
    url: str
    blob: Path  # the path of the complete file in the cache

    @property
    def partial(self) -> Path:
        return self.blob.with_name(f"{self.digest}.qwen3tts.incomplete")

    def is_cached(self) -> bool:
        return self.blob.is_file() and hub_cache.file_digest(self.blob, self.digest) == self.digest


class _TransferError(Exception):
    """A failure of the network; the request may be repeated."""


def pull(repo: str, report: Report) -> Path:
    """Download the missing files of a repo `org/name`. Returns the folder of its snapshot. Raises DownloadError."""
    folder = hub_cache.repo_folder(repo)
    if folder is None:
        raise DownloadError(f"{repo}: there is no folder to download into; set HF_HOME to one")
    if hub_cache.is_offline():
        raise DownloadError(f"{repo}: not downloaded, {hub_cache.offline_variable()} is set")
    # Without this setting huggingface_hub makes one more request: for a list of programs, one of which it names
    # to the Hub as its caller.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import snapshot_download, utils
    except ImportError as error:
        raise DownloadError(f"huggingface_hub cannot be imported: {error}") from None
    utils.logging.set_verbosity_error()
    utils.disable_progress_bars()
    otherwise = "the Hub cannot be reached ({}); is there a network?"
    try:
        commit, files = _listing(repo, folder / "blobs")
        otherwise = "the transfer failed ({}); pull again to continue"
        _fetch_all(files, report)
        names = [file.name for file in files]
        snapshot = Path(snapshot_download(repo, revision=commit, allow_patterns=names, cache_dir=folder.parent))
        if missing := [name for name in names if not (snapshot / name).is_file()]:
            raise DownloadError(f"{missing[0]} is missing after the download; pull again")
        _set_main(folder / "refs" / "main", commit)
    except Exception as error:
        raise DownloadError(f"{repo}: {_reason(error, otherwise)}") from error
    return snapshot


def _listing(repo: str, blobs: Path) -> tuple[str, list[_File]]:
    """The commit that `main` names, and its files that match _PATTERNS."""
    from huggingface_hub import HfApi, constants, hf_hub_url

    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT  # by default model_info waits without a limit
    info = HfApi().model_info(repo, revision="main", files_metadata=True, timeout=timeout)
    files = []
    for each in info.siblings or ():
        if any(fnmatch.fnmatch(each.rfilename, pattern) for pattern in _PATTERNS):
            digest = (each.lfs.sha256 if each.lfs else each.blob_id) or ""
            if each.size is None or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", digest):
                raise DownloadError(f"the Hub announces no size and digest of {each.rfilename}")
            url = hf_hub_url(repo, each.rfilename, revision=info.sha)
            files.append(_File(each.rfilename, each.size, digest, url, blobs / digest))
    if info.sha is None or "config.json" not in [file.name for file in files]:
        raise DownloadError("not a Qwen3-TTS checkpoint, it has no config.json")
    return info.sha, files


def _fetch_all(files: list[_File], report: Report) -> None:
    total, cached, received, missing = sum(file.size for file in files), 0, 0, []
    for file in files:
        if file.is_cached():
            cached += file.size
            report(cached, total, received)
        else:
            missing.append(file)
    if missing:
        _check_space(missing)
    for file in missing:
        for position, count in _fetch(file):
            received += count
            report(cached + position, total, received)
        cached += file.size


def _check_space(files: list[_File]) -> None:
    folder = files[0].blob.parent
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    needed = sum(file.size - (file.partial.stat().st_size if file.partial.exists() else 0) for file in files)
    if needed > free:
        raise DownloadError(f"{needed / 1e6:,.0f} MB are to come, {free / 1e6:,.0f} MB are free in {folder}")


def _fetch(file: _File) -> Iterator[tuple[int, int]]:
    """Download one file, from where an earlier run stopped, and give it its name in the cache.

    Yields after each write the position in the file, in bytes, and the number of bytes written.
    """
    import fcntl

    descriptor = os.open(file.partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with open(descriptor, "r+b") as partial:
        try:
            fcntl.flock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(f"{file.name}: another download of it is running") from None
        failures, size = 0, partial.seek(0, os.SEEK_END)
        if size > file.size:
            size = partial.truncate(0)
        while size != file.size:
            reason = "the server closed it"
            try:
                for position, data in _received(file, size):
                    partial.seek(position)
                    partial.write(data)
                    yield position + len(data), len(data)
            except _TransferError as error:
                reason = str(error)
            before, size = size, partial.seek(0, os.SEEK_END)
            failures = 0 if size > before else failures + 1
            if failures == _ATTEMPTS:
                raise DownloadError(f"{file.name}: the connection was cut ({reason}); pull again to continue")
            if size != file.size:
                time.sleep(_PAUSE_SECONDS)
        partial.flush()
        if hub_cache.file_digest(file.partial, file.digest) != file.digest:
            file.partial.unlink()
            raise DownloadError(f"{file.name}: damaged on the way, its digest is not the one announced; pull again")
        os.fsync(descriptor)
        move(file.partial, file.blob)  # replaces a damaged file in one step


def _received(file: _File, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield (position, bytes) of a file, from byte `start` on, or from byte 0 if the server ignores the range.

    Raises _TransferError if the network fails, and DownloadError if the server refuses or sends another size.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers

    headers = {**build_hf_headers(), "Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    client, options = get_session(), {"headers": headers, "timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT}
    try:
        is_httpx = callable(client.stream)  # before huggingface_hub 1.0 the client is a requests.Session
        if is_httpx:
            opening = client.stream("GET", file.url, follow_redirects=True, **options)
        else:
            opening = client.get(file.url, stream=True, **options)
        with opening as response:
            if response.status_code >= 400:
                raise DownloadError(f"{file.name}: {_refusal(response.status_code)}")
            position = start if response.status_code == 206 else 0
            to_come = str(file.size - position)
            if response.headers.get("Content-Length", to_come) != to_come:
                raise DownloadError(f"{file.name}: its size is not the {file.size} bytes announced")
            for data in (response.iter_bytes if is_httpx else response.iter_content)(_CHUNK_BYTES):
                if position + len(data) > file.size:
                    raise DownloadError(f"{file.name}: longer than the {file.size} bytes announced")
                yield position, data
                position += len(data)
    except DownloadError:
        raise
    except Exception as error:  # requests, httpx and httpx2 have no common class of errors
        raise _TransferError(_first_cause(error)) from error


def _set_main(path: Path, commit: str) -> None:
    """Write the reference `main` of the cache in the format of huggingface_hub, unless it names the commit already."""
    if not path.is_file() or path.read_bytes() != commit.encode("ascii"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, commit.encode("ascii"))


def _reason(error: Exception, otherwise: str) -> str:
    """One line that explains an error. otherwise: the line for any other error than a refusal or a disk error; {}
    stands for its cause."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    for each in _causes(error):
        if isinstance(each, (DownloadError, HFValidationError)):
            return str(each)
        if isinstance(each, HfHubHTTPError) and each.response is not None:
            return _refusal(each.response.status_code)
        if isinstance(each, OSError) and (each.errno in _DISK_ERRORS or (each.errno and each.filename)):
            return f"{each.filename or hub_cache.cache_folder()}: {each.strerror}"
    return otherwise.format(_first_cause(error))


def _refusal(status: int) -> str:
    from huggingface_hub import get_token

    if status in (401, 403):
        token = "the token is not accepted" if get_token() else "it may need a token, in HF_TOKEN"
        return f"the Hub answered {status}: no access to it, or no such model; {token}"
    return f"the Hub answered {status}{': no such model or file' if status == 404 else ', try again later'}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_cause(error: BaseException) -> str:
    """The first line of the message of the innermost error."""
    *_, first = _causes(error)
    return (getattr(first, "strerror", None) or str(first) or type(first).__name__).splitlines()[0]
