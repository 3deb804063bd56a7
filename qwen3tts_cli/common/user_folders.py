"""The user's folders after the XDG Base Directory specification: configuration, kept voices, state and caches.

A relative path in HOME or in an XDG variable is ignored, as if the variable were not set. If no home folder is known
(in a container or service whose user has no entry), the folders do not exist, and every function returns None.
"""

from __future__ import annotations

import os
from pathlib import Path

VOICE_SUFFIX = ".safetensors"
_NAME = "qwen3tts"


def home_folder() -> Path | None:
    """The folder that HOME names, or else the home folder in the system's user database."""
    found = os.environ.get("HOME", "")
    if not os.path.isabs(found):
        import pwd

        try:
            found = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return Path(found) if os.path.isabs(found) else None


def config_file() -> Path | None:
    """The settings file: `qwen3tts/config.toml` in XDG_CONFIG_HOME."""
    folder = _base_folder("XDG_CONFIG_HOME", ".config")
    return None if folder is None else folder / _NAME / "config.toml"


def voices_folder() -> Path | None:
    """The folder of the kept voices: `qwen3tts/voices` in XDG_DATA_HOME."""
    folder = _base_folder("XDG_DATA_HOME", ".local/share")
    return None if folder is None else folder / _NAME / "voices"


def is_voice_file(text: str) -> bool:
    """Whether `text` must be the path of a voice file, because no voice can have this name."""
    return text.endswith(VOICE_SUFFIX) or "/" in text


def state_folder() -> Path | None:
    """The folder where the command records which hints it has printed: `qwen3tts` in XDG_STATE_HOME."""
    folder = _base_folder("XDG_STATE_HOME", ".local/state")
    return None if folder is None else folder / _NAME


def cache_folder() -> Path | None:
    """The folder of files that can be made again (packed files, merge tables, measurements): `qwen3tts` in
    XDG_CACHE_HOME."""
    folder = _base_folder("XDG_CACHE_HOME", ".cache")
    return None if folder is None else folder / _NAME


def huggingface_folder() -> Path | None:
    """The folder that huggingface_hub uses if HF_HOME is not set."""
    folder = _base_folder("XDG_CACHE_HOME", ".cache")
    return None if folder is None else folder / "huggingface"


def expand_home(path: str) -> str | None:
    """Replace `~` or `~user` at the beginning of a path, as a shell does. Returns None if that folder is unknown."""
    if path == "~" or path.startswith("~/"):
        folder = home_folder()
        return None if folder is None else str(folder) + path[1:]
    found = os.path.expanduser(path)
    return None if found.startswith("~") else found


def _base_folder(variable: str, default: str) -> Path | None:
    value = os.environ.get(variable, "")
    if os.path.isabs(value):
        return Path(value)
    folder = home_folder()
    return None if folder is None else folder / default
