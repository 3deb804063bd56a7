"""Check that the files are the published ones, byte for byte."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import user_folders
from ..common.atomic_write import write_whole
from ..common.json_fields import read_object
from ..errors import CheckpointError
from ..models import hub_cache
from .result import FAILED, NOT_APPLICABLE, Result, judged
from .subject import WEIGHTS

if TYPE_CHECKING:
    from .subject import Subject

CHECK = "files"
_END_BYTES = 1 << 20
_MAX_BYTES = 1 << 20
_NEEDED = (*hub_cache.REQUIRED_FILES, WEIGHTS[0])


def check_files(subject: Subject, fast: bool = False) -> Result:
    """Compare sizes and SHA-256 digests with the published ones.

    fast: compare the sizes, and the hashes of the first and the last MiB that a full check recorded in the cache folder
    when all of the file was right.
    """
    release = None if subject.known is None else subject.answers.releases.get(subject.known)
    if release is None:
        found = {} if fast else _digests(subject)
        return Result(
            CHECK, NOT_APPLICABLE, "not the files of a released model; nothing was recorded of it", {"sha256": found}
        )
    ends, problems, missing, unproven = _EndHashes(), [], [], []
    for name, (size, digest) in release.files.items():
        path = subject.folder / name
        try:
            found_size = path.stat().st_size
            if found_size != size:
                problems.append(f"{name}: {found_size} bytes, published are {size}")
            elif digest is None:
                unproven.append(name)
            elif fast:
                known = ends.hash_of(digest)
                if known is None:
                    unproven.append(name)
                elif known != end_hash(path):
                    problems.append(f"{name}: its first or last MiB has changed since the full check")
            elif subject.digest(name) != digest:
                problems.append(f"{name}: sha256 {subject.digest(name)[:16]}.., published is {digest[:16]}..")
            else:
                ends.record(digest, end_hash(path))
        except FileNotFoundError:
            (problems if name in _NEEDED else missing).append(f"{name}: missing")
        except OSError as error:
            problems.append(f"{name}: {error.strerror or error}")
    ends.save()
    return _result(subject, release, problems, missing, unproven, fast)


def _result(
    subject: Subject, release: Any, problems: list[str], missing: list[str], unproven: list[str], fast: bool
) -> Result:
    where = f", {release.repository} at {release.revision[:8]}" if release.repository else ""
    notes = [f"{name}" for name in missing]
    if unproven:
        why = "no full check has recorded their hashes" if fast else "their digest is not known"
        notes.append(f"{len(unproven)} files by size alone: {why}")
    good = f"{subject.known}{where}: {len(release.files) - len(missing)} files" + "".join(f"; {each}" for each in notes)
    measured = {
        "model": subject.known,
        "repository": release.repository,
        "revision": release.revision,
        "sha256": {} if fast else _digests(subject),
    }
    if problems and release.revision and release.is_newer(subject.folder):
        revisions = f"this is revision {subject.folder.name[:8]}, published were the files of {release.revision[:8]}"
        problems[0] += f"; {revisions}"
    result = judged(CHECK, problems, good, measured)
    if result.status == FAILED and subject.assumed:
        why = f"not the published files of {subject.known}: {result.why}"
        return Result(CHECK, NOT_APPLICABLE, why, result.measured)
    return result


def _digests(subject: Subject) -> dict[str, str]:
    """The SHA-256 digests of config.json and the weights, as far as the files can be read."""
    for name in ("config.json", *WEIGHTS):
        with contextlib.suppress(OSError):
            subject.digest(name)
    return dict(subject.digests)


def end_hash(path: Path) -> str:
    """The SHA-256 of the first and the last MiB of a file. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        digest.update(file.read(_END_BYTES))
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - _END_BYTES, 0))
        digest.update(file.read(_END_BYTES))
    return digest.hexdigest()


class _EndHashes:
    """checked-files.json in the cache folder: SHA-256 of a whole file -> end_hash of the same file."""

    def __init__(self) -> None:
        folder = user_folders.cache_folder()
        self._path = None if folder is None else folder / "checked-files.json"
        self._known: dict[str, Any] = {}
        self._changed = False
        if self._path is not None and self._path.is_file():
            with contextlib.suppress(CheckpointError):  # a damaged file is written again
                self._known = read_object(self._path, _MAX_BYTES).values

    def hash_of(self, digest: str) -> str | None:
        return self._known.get(digest)

    def record(self, digest: str, ends: str) -> None:
        self._changed |= self._known.get(digest) != ends
        self._known[digest] = ends

    def save(self) -> None:
        if self._path is not None and self._changed:
            with contextlib.suppress(OSError):  # the next fast check compares sizes alone, and says so
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self._path, json.dumps(self._known, indent=1).encode("ascii"))
