"""Names of models and voices as a user types them: a name, or a path.

The Python API takes a string for a name and a pathlib.Path for a path; these functions tell them apart.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..common import user_folders
from ..errors import ModelNotFoundError, UsageError


def model(text: str | None) -> str | Path | None:
    """Return the model that the user typed, for the Python API: its name, or a Path if `text` is an existing path.

    Raises ModelNotFoundError if `text` is no known name, no existing path and no repository in the Hugging Face cache.
    """
    from ..models import hub_cache, local_models  # here, because `say --server` needs no model

    if not text or "\0" in text or text.lower() in (local_models.EMBEDDED, *local_models.ALIASES):
        return text
    path, repo = _path(text), local_models.repo_of(text)
    if os.path.exists(path):
        return path
    if local_models.is_path(text):
        raise ModelNotFoundError(f"model {text}: no such folder")
    if repo is None:
        raise ModelNotFoundError(local_models.unknown_model_message(text))
    if hub_cache.snapshot(repo) is None:
        where = "neither as a folder nor in the cache"
        raise ModelNotFoundError(f"model {text} is not on this machine, {where}; {local_models.pull_hint(repo)}")
    return text


def voice(text: str | None) -> str | Path | None:
    """Return the voice that the user typed, for the Python API: its name, or a Path if `text` has a "/" or ends in
    .safetensors.

    Raises UsageError for a file that does not exist.
    """
    if text is None or not user_folders.is_voice_file(text):
        return text
    path = _path(text)
    if not os.path.lexists(path):
        raise UsageError(f"voice {text}: no such file")
    return path


def _path(text: str) -> Path:
    return Path(user_folders.expand_home(text) or text)
