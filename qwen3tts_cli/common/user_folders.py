"""The user's folders, as the XDG Base Directory specification has them: where configuration, voices and caches are.

A relative path in HOME or in an XDG variable is ignored, as if it were not set. Where nothing names a home folder (a
container or service whose user has no entry), there is no such folder, and each function returns None.
"""

from __future__ import annotations

import os
from pathlib import Path

VOICE_SUFFIX = ".safetensors"
_NAME = "qwen3tts"


def home() -> Path | None:
    """The home folder: HOME, else that of the user's entry in the system's list of users."""
    found = os.environ.get("HOME", "")
    if not os.path.isabs(found):
        import pwd

        try:
            found = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return Path(found) if os.path.isabs(found) else None


def config_file() -> Path | None:
    """`qwen3tts/config.toml` in the configuration folder."""
    folder = _base("XDG_CONFIG_HOME", ".config")
    return None if folder is None else folder / _NAME / "config.toml"


def voices_folder() -> Path | None:
    """Where the kept voices are."""
    folder = _base("XDG_DATA_HOME", ".local/share")
    return None if folder is None else folder / _NAME / "voices"


def is_voice_file(text: str) -> bool:
    """Whether a text can only be meant as the path of a voice file: no voice may be called so."""
    return text.endswith(VOICE_SUFFIX) or "/" in text


def state_folder() -> Path | None:
    """Where the command remembers what it has said once."""
    folder = _base("XDG_STATE_HOME", ".local/state")
    return None if folder is None else folder / _NAME


def cache_folder() -> Path | None:
    """Where is kept what could be made again: packed weights, tables, measurements."""
    folder = _base("XDG_CACHE_HOME", ".cache")
    return None if folder is None else folder / _NAME


def huggingface_folder() -> Path | None:
    """What huggingface_hub takes for HF_HOME where that is not set."""
    folder = _base("XDG_CACHE_HOME", ".cache")
    return None if folder is None else folder / "huggingface"


def expanded(path: str) -> str | None:
    """A path with `~` and `~user` at its beginning replaced, as a shell does it; None where there is no such folder."""
    if path == "~" or path.startswith("~/"):
        folder = home()
        return None if folder is None else str(folder) + path[1:]
    found = os.path.expanduser(path)
    return None if found.startswith("~") else found


def _base(variable: str, default: str) -> Path | None:
    value = os.environ.get(variable, "")
    if os.path.isabs(value):
        return Path(value)
    folder = home()
    return None if folder is None else folder / default
