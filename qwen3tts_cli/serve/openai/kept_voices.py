"""The kept voices that a server offers: those in `--voices-dir`, where clients keep them, and the user's own."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from ...cloning import voice_store
from ...cloning.voice_file import read_voice, voice_bytes
from ...common import user_folders
from ...common.user_folders import VOICE_SUFFIX
from ...errors import OutputError, Qwen3TTSError, UsageError
from ..errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ...cloning.voice_file import Voice
    from ...models.config.model import ModelConfig


class KeptVoice(NamedTuple):
    """What lists say about a kept voice.

    id: its name in requests. name: the name that its maker gave it. width, groups: of its vector, and of its codes or
    None, which decide the models that speak with it. language: of the recording, or None. description: what it was
    designed from, or "". created: seconds since 1970. removable: whether clients may delete it.
    """

    id: str
    name: str
    width: int
    groups: int | None
    language: str | None
    description: str
    created: int
    removable: bool

    def fits(self, config: ModelConfig) -> bool:
        """Whether a model can speak with this voice."""
        right_size = config.model_type == "base" and self.width == config.talker.hidden_size
        return right_size and self.groups in (None, config.num_code_groups)


class KeptVoices:
    """See the module. All methods read or write files; any thread may call them.

    folder: of `--voices-dir`, or None. A voice there hides one of the same name in the user's folder.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        # what `facts` has found, by the path, size and time of the file
        self._read: dict[tuple[Path, int, int], KeptVoice | None] = {}

    def _folders(self) -> Iterator[Path]:
        for folder in (self.folder, user_folders.voices_folder()):
            if folder is not None:
                yield folder

    def find(self, name: str) -> Voice | None:
        """The voice that is kept under this name, in any case; None if there is none. Raises InputError for a damaged
        file, with the name of the voice only."""
        for folder in self._folders():
            if (path := voice_store.path_in(folder, name)) is not None:
                return replace(_read_named(path), name=_name_of(path))
        return None

    def names(self) -> list[str]:
        """The names of all kept voices."""
        return list(self._paths())

    def _paths(self) -> dict[str, Path]:
        """The path of each kept voice by its name."""
        found: dict[str, Path] = {}
        for folder in self._folders():
            with contextlib.suppress(Qwen3TTSError):  # a folder that cannot be read offers no voices
                for name in voice_store.names_in(folder):
                    if (path := voice_store.path_in(folder, name)) is not None:
                        found.setdefault(name, path)
        return found

    def facts(self) -> list[KeptVoice]:
        """What lists say about each voice whose file is valid."""
        read, voices = {}, []
        for path in self._paths().values():
            with contextlib.suppress(OSError):  # deleted meanwhile
                status = os.stat(path)
                key = path, status.st_size, status.st_mtime_ns
                read[key] = self._read[key] if key in self._read else self._facts_of(path, int(status.st_mtime))
                if read[key] is not None:
                    voices.append(read[key])
        self._read = read
        return voices

    def _facts_of(self, path: Path, created: int) -> KeptVoice | None:
        try:
            voice = read_voice(path)
        except Qwen3TTSError:
            return None
        groups = None if voice.codes is None else voice.codes.shape[1]
        removable = path.parent == self.folder
        return KeptVoice(
            _name_of(path), voice.name or _name_of(path), voice.width, groups, voice.language, voice.description,
            created, removable,
        )  # fmt: skip

    def check_free(self, name: str) -> str:
        """The name under which a client may keep a voice that it calls `name`: in lower case, with - for spaces.

        Raises ApiError if clients may keep none, if the name cannot be used, or if it is taken in `--voices-dir`.
        """
        folder = self.check_writable()
        try:
            key = voice_store.check_name("-".join(name.split()))
        except UsageError as error:
            raise _refusal(HTTPStatus.BAD_REQUEST, str(error), "invalid_value") from None
        if os.path.lexists(folder / (key + VOICE_SUFFIX)):
            raise _taken(key)
        return key

    def keep(self, voice: Voice, key: str) -> KeptVoice:
        """Keep a voice in `--voices-dir` as `key`, which `check_free` has returned. Raises ApiError if the name is
        taken meanwhile, OutputError if the file cannot be written."""
        path = self.check_writable() / (key + VOICE_SUFFIX)
        try:
            voice_store.write(path, voice_bytes(voice), replace=False)
            created = int(os.stat(path).st_mtime)
        except UsageError:
            raise _taken(key) from None
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{path}: {error.strerror or error}") from None
        found = self._facts_of(path, created)
        if found is None:
            raise OutputError(f"{path}: was changed while it was written")
        return found

    def remove(self, name: str) -> str:
        """Delete a voice in `--voices-dir`. Returns its id. Raises ApiError if clients may keep none, or if there is no
        such voice; OutputError if it cannot be deleted."""
        path = voice_store.path_in(self.check_writable(), name)
        if path is None:
            elsewhere = self._paths().get(name.strip().lower())
            if elsewhere is not None:
                text = f"voice {elsewhere.name.removesuffix(VOICE_SUFFIX)}: the server's own, only its user deletes it"
                raise _refusal(HTTPStatus.FORBIDDEN, text, "voice_not_yours", "voice_id")
            raise _refusal(HTTPStatus.NOT_FOUND, "voice: no voice of this name is kept", "voice_not_found", "voice_id")
        try:
            path.unlink()
        except FileNotFoundError:
            raise _refusal(HTTPStatus.NOT_FOUND, "voice: is deleted already", "voice_not_found", "voice_id") from None
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from None
        return _name_of(path)

    def check_writable(self) -> Path:
        """The folder in which clients may keep voices. Raises ApiError if there is none."""
        if self.folder is None:
            text = "this server keeps no voices of clients: it was started without --voices-dir"
            raise ApiError(HTTPStatus.FORBIDDEN, text, code="voices_not_kept", retry=False)
        return self.folder


def _name_of(path: Path) -> str:
    return path.name.removesuffix(VOICE_SUFFIX)


def _read_named(path: Path) -> Voice:
    """Read a voice file. Raises InputError, whose message has the name of the voice in place of the path."""
    try:
        return read_voice(path)
    except Qwen3TTSError as error:
        raise type(error)(str(error).replace(str(path), f"voice {_name_of(path)}")) from None


def _taken(key: str) -> ApiError:
    return _refusal(HTTPStatus.CONFLICT, f"name: a voice {key} is kept already; choose another name", "voice_exists")


def _refusal(status: int, text: str, code: str, param: str = "name") -> ApiError:
    return ApiError(status, text, code=code, param=param, retry=False)
