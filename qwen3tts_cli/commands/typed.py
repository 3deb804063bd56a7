"""What a person types for a model or a voice: a name, or a path. Below the command line a string is a name only, and
paths are objects, which are made here."""

from __future__ import annotations

from pathlib import Path

from .. import hub, places
from ..errors import ModelNotFoundError


def model(text: str | None) -> str | Path | None:
    """The name of a model, or the folder of one: whatever exists under that path, or cannot be a name.

    Raises ModelNotFoundError for what is neither known, nor a folder, nor in the Hugging Face cache.
    """
    if not text or "\0" in text or text.lower() in (hub.EMBEDDED, *hub.ALIASES):
        return text
    path, repo = _path(text), hub.repo_of(text)
    if path.exists() or (repo is None and hub.is_path(text)):
        return path
    if repo is None:
        raise ModelNotFoundError(hub.unknown_model(text))
    if hub.snapshot(repo) is None:
        where = "neither as a folder nor in the cache"
        raise ModelNotFoundError(f"model {text} is not on this machine, {where}; {hub.pull_hint(repo)}")
    return text


def voice(text: str | None) -> str | Path | None:
    """The name of a voice, or the file of one: what has a folder or .safetensors in its name."""
    from ..voicestore import is_file_name

    return _path(text) if text is not None and is_file_name(text) else text


def _path(text: str) -> Path:
    return Path(places.expanded(text) or text)
