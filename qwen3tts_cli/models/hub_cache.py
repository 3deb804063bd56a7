"""Which models there are on this machine: the embedded voice, the Hugging Face cache, folders. No network.

The cache is read as it lies on disk (`models--org--name/{refs,snapshots,blobs}`), so that speaking never waits for
the import of huggingface_hub.
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
    """A model on this machine: its folder, the name to show, and whether it is the one in this package."""

    path: Path
    name: str
    embedded: bool


def embedded_path() -> Path:
    """Folder of the embedded voice."""
    return Path(__file__).parents[1] / "voices" / EMBEDDED


def is_offline() -> bool:
    """Whether the Hub must not be asked, as huggingface_hub reads it: a variable is set to 1, on, yes or true."""
    return os.environ.get(offline_variable(), "").upper() in ("1", "ON", "YES", "TRUE")


def offline_variable() -> str:
    """The variable that says whether the Hub may be asked: HF_HUB_OFFLINE, where it is empty that of transformers."""
    return "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"


def cache_folder() -> Path | None:
    """The Hugging Face cache: HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub.

    None where none of these, nor a home folder, is known.
    """
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if not cache:
        home = os.environ.get("HF_HOME", user_folders.huggingface_folder())
        cache = None if home is None else os.path.join(home, "hub")
    found = None if cache is None else user_folders.expand_home(cache)
    return None if found is None else Path(os.path.expandvars(found))


def repo_folder(repo: str) -> Path | None:
    """Folder in the cache of a repo `org/name`; None where there is no cache."""
    cache = cache_folder()
    return None if cache is None else cache / f"models--{repo.replace('/', '--')}"


def repo_of(name: str) -> str | None:
    """The repo id that an alias (case-insensitive) or repo id means, else None."""
    repo = ALIASES.get(name.lower())
    if repo is None and _REPO_ID.fullmatch(name) and "--" not in name and ".." not in name:
        repo = name
    return repo


def short_name(repo: str) -> str:
    """The alias of a repo where it has one, else its id."""
    return next((alias for alias, known in ALIASES.items() if known.lower() == repo.lower()), repo)


def snapshot(repo: str) -> Path | None:
    """Folder of the cached `main` of a repo (or of its only snapshot), whole or not; None where there is none."""
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
    """Whether a folder is an old revision in a Hugging Face cache: `main` of its repo is another one that is there."""
    snapshots = folder.parent
    if snapshots.name != "snapshots" or not snapshots.parent.name.startswith("models--"):
        return False
    try:
        commit = (snapshots.parent / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return bool(re.fullmatch(r"[0-9a-f]{40}", commit)) and commit != folder.name and (snapshots / commit).is_dir()


def is_codec_only(folder: Path) -> bool:
    """Whether a folder is the stand-alone tokenizer repository: the codec without a language model."""
    import json

    try:
        with open(folder / "config.json", "rb") as file:
            return json.loads(file.read(_READ_BYTES)).get("model_type") == _CODEC_TYPE
    except (OSError, ValueError, AttributeError, RecursionError):
        return False  # whoever opens the folder says what is wrong with it


def missing_files(folder: Path) -> list[str]:
    """Files without which a checkpoint, or a codec alone, cannot be opened, and that `folder` lacks."""
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
        return []  # an index that cannot be read is named when the checkpoint is opened


def is_path(name: str) -> bool:
    """Whether a name looks like a path, and not like a repo id."""
    return name.startswith((".", "~")) or ("/" in name and repo_of(name) is None)


def pull_hint(repo: str) -> str:
    """The command that downloads a repo."""
    return f"get it with: qwen3tts models pull {short_name(repo)}"


def resolve_model(model: str | os.PathLike[str] | None) -> ResolvedModel:
    """The model that a name means: None or `pocket`, an alias, or a repo id in the cache. A folder is given as a path
    object, such as pathlib.Path: a string never names one.

    Raises ModelNotFoundError with the command that downloads it, or with the name that may have been meant, and
    UsageError for what is no model.
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
    """The message for a name that is no model, with the one that may have been meant."""
    known = [EMBEDDED, *ALIASES]
    close = nearest(name.lower(), known)
    hint = f"did you mean {close}?" if close else f"known are {', '.join(known)}, repo ids and folders"
    return f"unknown model {name}, {hint}"


def cached_repos() -> list[str]:
    """Repo ids of this family in the cache: the aliases' first, then any other that has a speech tokenizer."""
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
    """Names of the models on this machine, whole or not: the embedded voice, then what is in the cache."""
    return [EMBEDDED, *map(short_name, cached_repos())]


def size_bytes(folder: Path) -> int:
    """Bytes of all files of a folder, links followed."""
    total = 0
    for base, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.stat(os.path.join(base, file)).st_size
            except OSError:
                continue  # a link whose blob is gone
    return total


def file_digest(path: Path, recorded: str) -> str | None:
    """The digest of a file in the manner of `recorded`, the name of its blob; None where that is no known digest.

    64 hexadecimal digits are the SHA-256 of a large file, 40 the SHA-1 that git gives a blob.
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
    """Re-hash every file of a snapshot against the name of its blob: pairs of name and what is wrong, if anything."""
    for base, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            path = Path(base, file)
            name = path.relative_to(folder).as_posix()
            try:
                # A file that is no link lies in a cache without links: its digest is not recorded anywhere.
                recorded = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
                digest = file_digest(path, recorded)
            except OSError as error:
                yield name, error.strerror or str(error)
                continue
            yield name, None if digest in (None, recorded) else f"its digest is {digest}, not {recorded}"
    for name in missing_files(folder):
        yield name, "missing"
