"""The models in the Hugging Face cache: where they are, which files are missing or damaged. Uses no network.

The layout of the cache (`models--org--name/{refs,snapshots,blobs}`) is read directly, without the slow import of
huggingface_hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..common import user_folders

REQUIRED_FILES = (
    "config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "speech_tokenizer/config.json",
    "speech_tokenizer/model.safetensors",
)
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
_READ_BYTES = 1 << 20
_CODEC_TYPE = "qwen3_tts_tokenizer_12hz"


def is_offline() -> bool:
    """Whether the Hub must not be contacted: `offline_variable()` is 1, on, yes or true, as in huggingface_hub."""
    return os.environ.get(offline_variable(), "").upper() in ("1", "ON", "YES", "TRUE")


def offline_variable() -> str:
    """The name of the variable that forbids contacting the Hub: HF_HUB_OFFLINE, or TRANSFORMERS_OFFLINE if the first
    is empty."""
    return "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"


def cache_folder() -> Path | None:
    """The Hugging Face cache: HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub.

    None if no variable is set and no home folder is known.
    """
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if not cache:
        home = os.environ.get("HF_HOME", user_folders.huggingface_folder())
        cache = None if home is None else os.path.join(home, "hub")
    found = None if cache is None else user_folders.expand_home(cache)
    return None if found is None else Path(os.path.expandvars(found))


def repo_folder(repo: str) -> Path | None:
    """The folder of a repository `org/name` in the cache, which may not exist. None if no cache folder is known."""
    cache = cache_folder()
    return None if cache is None else cache / f"models--{repo.replace('/', '--')}"


def snapshot(repo: str) -> Path | None:
    """The cached folder of revision `main` of a repository, or of its only revision; None if there is none.

    The folder may lack files, see `missing_files`.
    """
    folder = repo_folder(repo)
    if folder is None:
        return None
    try:
        commit = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        commit = ""
    if re.fullmatch(r"[0-9a-f]{40}", commit) and (folder / "snapshots" / commit).is_dir():
        return folder / "snapshots" / commit
    snapshots = [path for path in (folder / "snapshots").glob("*") if path.is_dir()]
    return snapshots[0] if len(snapshots) == 1 else None


def is_superseded(folder: Path) -> bool:
    """Whether a folder is an old revision in a Hugging Face cache: the cache also has a newer `main`."""
    snapshots = folder.parent
    if snapshots.name != "snapshots" or not snapshots.parent.name.startswith("models--"):
        return False
    try:
        commit = (snapshots.parent / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return bool(re.fullmatch(r"[0-9a-f]{40}", commit)) and commit != folder.name and (snapshots / commit).is_dir()


def is_codec_only(folder: Path) -> bool:
    """Whether a folder holds a codec without a language model, like the stand-alone tokenizer repository."""
    import json

    try:
        with open(folder / "config.json", "rb") as file:
            return json.loads(file.read(_READ_BYTES)).get("model_type") == _CODEC_TYPE
    except (OSError, ValueError, AttributeError, RecursionError):
        return False  # opening the folder reports the error


def missing_files(folder: Path) -> list[str]:
    """Return the names of the files that `folder` lacks to be opened as a checkpoint or as a stand-alone codec."""
    required = REQUIRED_FILES[:1] if is_codec_only(folder) else REQUIRED_FILES
    missing = [name for name in required if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in WEIGHT_FILES):
        missing.append(WEIGHT_FILES[0])
    elif not (folder / WEIGHT_FILES[0]).is_file():
        missing += [name for name in _shards(folder / WEIGHT_FILES[1]) if not (folder / name).is_file()]
    return missing


def _shards(index: Path) -> list[str]:
    import json

    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return sorted({name for name in names if isinstance(name, str) and "/" not in name})
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return []  # opening the checkpoint reports the unreadable index


def size_bytes(folder: Path) -> int:
    """Return the size of all files in a folder, in bytes; symbolic links are followed."""
    total = 0
    for base, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.stat(os.path.join(base, file)).st_size
            except OSError:
                continue  # a dangling link
    return total


def file_digest(path: Path, recorded: str) -> str | None:
    """Hash a file with the function that made `recorded`, the name of its blob; None if `recorded` is not a digest.

    64 hexadecimal digits are the SHA-256 of a file in Git LFS, 40 the SHA-1 of a Git blob. Raises OSError.
    """
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", recorded):
        return None
    import hashlib  # here, because the import is slow

    large = len(recorded) == 64
    digest = hashlib.sha256() if large else hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as file:
        if not large:
            digest.update(b"blob %d\0" % os.fstat(file.fileno()).st_size)
        while data := file.read(_READ_BYTES):
            digest.update(data)
    return digest.hexdigest()


def damaged_files(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Hash every file of a snapshot and compare it with the name of its blob. Yields (file name, error or None)."""
    for base, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            path = Path(base, file)
            name = path.relative_to(folder).as_posix()
            try:
                # A cache without links stores plain files, whose digest is not recorded.
                recorded = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
                digest = file_digest(path, recorded)
            except OSError as error:
                yield name, error.strerror or str(error)
                continue
            yield name, None if digest in (None, recorded) else f"its digest is {digest}, not {recorded}"
    for name in missing_files(folder):
        yield name, "missing"
