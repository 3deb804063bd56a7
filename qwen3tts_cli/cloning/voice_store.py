"""The kept voices: files NAME.safetensors in the folder `qwen3tts/voices` of the XDG data folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..common import user_folders
from ..common.atomic_write import write_whole
from ..common.json_fields import short_repr
from ..common.suggest import did_you_mean
from ..common.user_folders import VOICE_SUFFIX
from ..errors import InputError, OutputError, Qwen3TTSError, UsageError
from .voice_file import Voice, read_voice, voice_bytes

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
# names that `say -v` gives another meaning: the presets of the released models, and its keywords
PRESETS = ("serena", "vivian", "uncle_fu", "ryan", "aiden", "ono_anna", "sohee", "eric", "dylan", "slt")
_WORDS = ("none", "auto", "default")


def check_name(name: str) -> str:
    """The name of a kept voice in lower case. Raises UsageError if no voice may have it."""
    key = _key(name)
    if not _NAME.fullmatch(key):
        rule = "1 to 64 of a-z, 0-9, - and _, the first a letter or digit"
        raise UsageError(f"voice name {short_repr(name)}: expected {rule}")
    if key in PRESETS or key in _WORDS:
        what = "a preset of a model" if key in PRESETS else "a word that say -v takes"
        raise UsageError(f"voice name {short_repr(name)}: taken, it is {what}; choose another")
    return key


def path_of(name: str) -> Path:
    """The path of a kept voice, which need not exist.

    Raises UsageError if no voice may have that name, OutputError if there is no folder for voices.
    """
    key, folder = check_name(name), user_folders.voices_folder()
    if folder is None:
        raise OutputError("there is no folder for voices: neither XDG_DATA_HOME nor HOME names one")
    return folder / (key + VOICE_SUFFIX)


def names() -> list[str]:
    """The names of the kept voices, sorted. Raises InputError for a folder that cannot be read."""
    folder = user_folders.voices_folder()
    return [] if folder is None else names_in(folder)


def names_in(folder: Path) -> list[str]:
    """The names of the voices that are kept in a folder, sorted; see `names`."""
    try:
        found = [path.name.removesuffix(VOICE_SUFFIX) for path in folder.iterdir() if path.name.endswith(VOICE_SUFFIX)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        # In a container HOME may be a folder that this user may not enter: it holds no voices of this user.
        if isinstance(error, PermissionError) and not os.path.exists(folder):
            return []
        raise InputError(f"{folder}: {error.strerror}") from None
    return sorted(name for name in found if _NAME.fullmatch(name))


def entries() -> Iterator[tuple[str, Voice | Qwen3TTSError]]:
    """The name of each kept voice, with the voice or the error of its file."""
    for name in names():
        try:
            yield name, load(name)
        except Qwen3TTSError as error:
            yield name, error


def load(name: str) -> Voice:
    """Load a kept voice; the name of its file becomes its name. Raises UsageError if there is no such voice, InputError
    for an invalid file."""
    path = existing_path(name)
    return _with_name(read_voice(path), path.name.removesuffix(VOICE_SUFFIX))


def find(name: str) -> Voice | None:
    """Load a kept voice, or return None if no voice of that name is kept. Raises InputError for an invalid file."""
    key, folder = _key(name), user_folders.voices_folder()
    kept = folder is not None and _NAME.fullmatch(key) and os.path.lexists(folder / (key + VOICE_SUFFIX))
    return load(key) if kept else None


def path_in(folder: Path, name: str) -> Path | None:
    """The path of a voice that is kept in any folder, or None if there is none of that name. name: of any case."""
    key = _key(name)
    path = folder / (key + VOICE_SUFFIX)
    free = _NAME.fullmatch(key) and key not in PRESETS and key not in _WORDS
    return path if free and os.path.lexists(path) else None


def save(voice: Voice, *, replace: bool = False) -> Path:
    """Keep a voice under its name. Returns the path of its file, which is written completely or not at all.

    replace: whether to replace a kept voice of that name. Raises UsageError, OutputError.
    """
    path = path_of(voice.name)
    write(path, voice_bytes(_with_name(voice, check_name(voice.name))), replace=replace)
    return path


def remove(name: str) -> None:
    """Delete a kept voice, even if its file is invalid. Raises UsageError, OutputError."""
    path = existing_path(name)
    try:
        path.unlink()
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from None


def rename(old: str, new: str) -> None:
    """Give a kept voice another name. Raises UsageError, InputError, OutputError."""
    path, key = existing_path(old), check_name(new)
    if path == path_of(key):
        raise UsageError(f"voice {short_repr(key)}: has that name already")
    if os.path.lexists(path_of(key)):
        raise UsageError(
            f"voice {short_repr(key)}: kept already; choose another name, or first: qwen3tts voices rm {key}"
        )
    save(_with_name(read_voice(path), key))
    remove(old)


def export(name: str, to: str, *, replace: bool = False) -> Path:
    """Copy a kept voice to a file, or into a folder. Raises UsageError, InputError, OutputError."""
    voice = load(name)
    path = Path(to)
    if path.is_dir():
        path = path / (voice.name + VOICE_SUFFIX)
    write(path, voice_bytes(voice), replace=replace)
    return path


def import_file(path: str, name: str | None = None, *, replace: bool = False) -> Voice:
    """Check a voice file and keep the voice, under its own name or under `name`.

    Raises UsageError, InputError, OutputError.
    """
    voice = read_voice(path)
    voice = _with_name(voice, check_name(voice.name if name is None else name))
    save(voice, replace=replace)
    return voice


def write(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file completely or not at all. Raises UsageError if it exists and `replace` is False, OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: {error.strerror or error}") from None
    try:
        write_whole(path, data, new=not replace)
    except FileExistsError:
        raise UsageError(f"{path}: exists already (--force replaces it)") from None
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from None


def existing_path(name: str) -> Path:
    """The path of a kept voice. Raises UsageError if there is none."""
    if _key(name) in PRESETS:
        raise UsageError(f"voice name {short_repr(name)}: a preset of a model, not a kept voice")
    key, folder = check_name(name), user_folders.voices_folder()
    if folder is None or not os.path.lexists(folder / (key + VOICE_SUFFIX)):
        raise UsageError(f"no voice {short_repr(name)} is kept{did_you_mean(name, names())}; see: qwen3tts voices list")
    return folder / (key + VOICE_SUFFIX)


def _key(name: object) -> str:
    if not isinstance(name, str):
        raise UsageError(f"voice name: found {type(name).__name__}, expected a text")
    return name.strip().lower()


def _with_name(voice: Voice, name: str) -> Voice:
    from dataclasses import replace

    return replace(voice, name=name)
