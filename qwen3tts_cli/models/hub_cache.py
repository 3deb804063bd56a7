"""Resolve the name of a model to a folder on this machine: the embedded voice, the Hugging Face cache, or a path.

Nothing here uses the network. The layout of the cache (`models--org--name/{refs,snapshots,blobs}`) is read directly,
without the slow import of huggingface_hub.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common import user_folders
from ..common.suggest import nearest
from ..errors import ModelNotFoundError, UsageError

EMBEDDED = "pocket"
ALIASES = {
    "0.6b": "Qwen/Qwen3-TTS-12Hz-0.6B-CustomVoice",
    "1.7b": "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice",
    "0.6b-base": "Qwen/Qwen3-TTS-12Hz-0.6B-Base",
    "1.7b-base": "Qwen/Qwen3-TTS-12Hz-1.7B-Base",
    "1.7b-design": "Qwen/Qwen3-TTS-12Hz-1.7B-VoiceDesign",
}
REQUIRED_FILES = (
    "config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "speech_tokenizer/config.json",
    "speech_tokenizer/model.safetensors",
)
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_READ_BYTES = 1 << 20
_CODEC_TYPE = "qwen3_tts_tokenizer_12hz"


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this machine. path: its folder. name: the name to show. embedded: whether it is the embedded voice."""

    path: Path
    name: str
    embedded: bool


def embedded_path() -> Path:
    """The folder of the embedded voice."""
    return Path(__file__).parents[1] / "voices" / EMBEDDED


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


def repo_of(name: str) -> str | None:
    """The repository id of an alias (in any case) or of a repository id; None for any other name."""
    repo = ALIASES.get(name.lower())
    if repo is None and _REPO_ID.fullmatch(name) and "--" not in name and ".." not in name:
        repo = name
    return repo


def short_name(repo: str) -> str:
    """The alias of a repository, or its id if it has no alias."""
    return next((alias for alias, known in ALIASES.items() if known.lower() == repo.lower()), repo)


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
    if not any((folder / name).is_file() for name in _WEIGHTS):
        missing.append(_WEIGHTS[0])
    elif not (folder / _WEIGHTS[0]).is_file():
        missing += [name for name in _shards(folder / _WEIGHTS[1]) if not (folder / name).is_file()]
    return missing


def _shards(index: Path) -> list[str]:
    import json

    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return sorted({name for name in names if isinstance(name, str) and "/" not in name})
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return []  # opening the checkpoint reports the unreadable index


def is_path(name: str) -> bool:
    """Whether a name looks like a path: it begins with "." or "~", or has a "/" and is not a repository id."""
    return name.startswith((".", "~")) or ("/" in name and repo_of(name) is None)


def pull_hint(repo: str) -> str:
    """Return "get it with: COMMAND", for a message about a repository that is not on this machine."""
    return f"get it with: qwen3tts models pull {short_name(repo)}"


def resolve_model(model: str | os.PathLike[str] | None) -> ResolvedModel:
    """Resolve a model. A string is a name: `pocket`, an alias, or the id of a repository in the cache. A path object,
    such as pathlib.Path, is a folder. None is the embedded voice.

    Raises ModelNotFoundError, with the command that downloads the model or with a similar name, and UsageError for a
    value that is neither.
    """
    if model is None or (isinstance(model, str) and model.lower() == EMBEDDED):
        return ResolvedModel(embedded_path(), EMBEDDED, True)
    name = model if isinstance(model, str) else _folder_name(model)
    if not name or "\0" in name:
        raise UsageError("model: an empty name" if not name else "model: a name with a NUL character")
    if not isinstance(model, str):
        folder = Path(name)
        if folder.is_dir():
            if not any(os.path.lexists(folder / file) for file in (*REQUIRED_FILES, *_WEIGHTS)):
                raise ModelNotFoundError(f"model {name}: holds no model; name the folder that holds config.json")
            return ResolvedModel(folder, name, False)
        if folder.exists():
            raise UsageError(f"model {name}: is a file; name the folder that holds config.json")
        raise ModelNotFoundError(f"model {name}: no such folder")
    repo = repo_of(name)
    if repo is None or is_path(name):
        what = f"model {name}: not the name of a model" if is_path(name) else unknown_model_message(name)
        raise ModelNotFoundError(f"{what}; a folder is given as pathlib.Path")
    found = snapshot(repo)
    if found is None:
        where = "" if name.lower() in ALIASES else " (a folder is given as pathlib.Path)"
        raise ModelNotFoundError(f"model {name} is not on this machine{where}; {pull_hint(repo)}")
    if missing := missing_files(found):
        finish = pull_hint(repo).replace("get", "finish", 1)
        raise ModelNotFoundError(f"model {name} is not complete, {missing[0]} is missing; {finish}")
    return ResolvedModel(found, name.lower() if name.lower() in ALIASES else name, False)


def _folder_name(model: object) -> str:
    name = os.fspath(model) if isinstance(model, os.PathLike) else None
    if not isinstance(name, str):
        raise UsageError(f"model: found {type(model).__name__}, expected a name, or a pathlib.Path of a folder")
    return name


def unknown_model_message(name: str) -> str:
    """Return the message for an unknown name, with the most similar known name."""
    known = [EMBEDDED, *ALIASES]
    close = nearest(name.lower(), known)
    hint = f"did you mean {close}?" if close else f"known are {', '.join(known)}, repo ids and folders"
    return f"unknown model {name}, {hint}"


def cached_repos() -> list[str]:
    """Return the ids of the cached repositories: first those with an alias, then others with a speech tokenizer."""
    known = list(ALIASES.values())
    others = []
    cache = cache_folder()
    for folder in sorted(cache.glob("models--*--*") if cache is not None else ()):
        repo = folder.name[len("models--") :].replace("--", "/", 1)
        found = snapshot(repo) if repo not in known else None
        if found is not None and (found / "speech_tokenizer" / "config.json").is_file():
            others.append(repo)
    return [repo for repo in known if snapshot(repo) is not None] + others


def local_model_names() -> list[str]:
    """Return the names of the models on this machine, also incomplete ones: the embedded voice, then cached models."""
    return [EMBEDDED, *map(short_name, cached_repos())]


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
