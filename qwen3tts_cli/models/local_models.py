"""The names of models: resolve a name or a path to the folder of a model on this machine, and list the models.

A name is `pocket` (the embedded voice), an alias, or the id of a repository in the Hugging Face cache. This module uses
no network.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from ..common.suggest import nearest
from ..errors import ModelNotFoundError, UsageError
from . import hub_cache

EMBEDDED = "pocket"
ALIASES = {
    "0.6b": "Qwen/Qwen3-TTS-12Hz-0.6B-CustomVoice",
    "1.7b": "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice",
    "0.6b-base": "Qwen/Qwen3-TTS-12Hz-0.6B-Base",
    "1.7b-base": "Qwen/Qwen3-TTS-12Hz-1.7B-Base",
    "1.7b-design": "Qwen/Qwen3-TTS-12Hz-1.7B-VoiceDesign",
}
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class ResolvedModel(NamedTuple):
    """A model on this machine. path: its folder. name: the name to show. embedded: whether it is the embedded voice."""

    path: Path
    name: str
    embedded: bool


def embedded_path() -> Path:
    """The folder of the embedded voice."""
    return Path(__file__).parents[1] / "voices" / EMBEDDED


def repo_of(name: str) -> str | None:
    """The repository id of an alias (in any case) or of a repository id; None for any other name."""
    repo = ALIASES.get(name.lower())
    if repo is None and _REPO_ID.fullmatch(name) and "--" not in name and ".." not in name:
        repo = name
    return repo


def short_name(repo: str) -> str:
    """The alias of a repository, or its id if it has no alias."""
    return next((alias for alias, known in ALIASES.items() if known.lower() == repo.lower()), repo)


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
            if not any(os.path.lexists(folder / file) for file in (*hub_cache.REQUIRED_FILES, *hub_cache.WEIGHT_FILES)):
                raise ModelNotFoundError(f"model {name}: holds no model; name the folder that holds config.json")
            return ResolvedModel(folder, name, False)
        if folder.exists():
            raise UsageError(f"model {name}: is a file; name the folder that holds config.json")
        raise ModelNotFoundError(f"model {name}: no such folder")
    repo = repo_of(name)
    if repo is None or is_path(name):
        what = f"model {name}: not the name of a model" if is_path(name) else unknown_model_message(name)
        raise ModelNotFoundError(f"{what}; a folder is given as pathlib.Path")
    found = hub_cache.snapshot(repo)
    if found is None:
        where = "" if name.lower() in ALIASES else " (a folder is given as pathlib.Path)"
        raise ModelNotFoundError(f"model {name} is not on this machine{where}; {pull_hint(repo)}")
    if missing := hub_cache.missing_files(found):
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
    cache = hub_cache.cache_folder()
    for folder in sorted(cache.glob("models--*--*") if cache is not None else ()):
        repo = folder.name[len("models--") :].replace("--", "/", 1)
        found = hub_cache.snapshot(repo) if repo not in known else None
        if found is not None and (found / "speech_tokenizer" / "config.json").is_file():
            others.append(repo)
    return [repo for repo in known if hub_cache.snapshot(repo) is not None] + others


def model_names() -> list[str]:
    """Return the names of the models on this machine, also incomplete ones: the embedded voice, then cached models."""
    return [EMBEDDED, *map(short_name, cached_repos())]
