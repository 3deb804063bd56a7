"""What a person types for a model or a voice: a name, or a path. Below the command line a string is a name only, and
paths are objects, which are made here."""

from __future__ import annotations

import os
from pathlib import Path

from ..common import user_folders
from ..errors import ModelNotFoundError, UsageError
from ..models import hub_cache


def model(text: str | None) -> str | Path | None:
    """The name of a model, or the folder of one: whatever there is under that path.

    Raises ModelNotFoundError for what is neither known, nor a folder, nor in the Hugging Face cache.
    """
    if not text or "\0" in text or text.lower() in (hub_cache.EMBEDDED, *hub_cache.ALIASES):
        return text
    path, repo = _path(text), hub_cache.repo_of(text)
    if os.path.exists(path):
        return path
    if hub_cache.is_path(text):
        raise ModelNotFoundError(f"model {text}: no such folder")
    if repo is None:
        raise ModelNotFoundError(hub_cache.unknown_model_message(text))
    if hub_cache.snapshot(repo) is None:
        where = "neither as a folder nor in the cache"
        raise ModelNotFoundError(f"model {text} is not on this machine, {where}; {hub_cache.pull_hint(repo)}")
    return text


def voice(text: str | None) -> str | Path | None:
    """The name of a voice, or the file of one: what has a folder or .safetensors in its name.

    Raises UsageError for a file that is not there.
    """
    if text is None or not user_folders.is_voice_file(text):
        return text
    path = _path(text)
    if not os.path.lexists(path):
        raise UsageError(f"voice {text}: no such file")
    return path


def _path(text: str) -> Path:
    return Path(user_folders.expand_home(text) or text)
