"""Resolve the voice, recording, instruction and voice description of a request for a model."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from ..common.json_fields import short_repr
from ..common.suggest import did_you_mean
from ..errors import UsageError
from ..text.languages_and_voices import PRESET_VOICE_MODELS
from .clone import check_can_clone, check_can_design, check_on_warning

if TYPE_CHECKING:
    from ..models.config.model import ModelConfig
    from .clone import Audio, OnWarning
    from .voice_file import Voice

_CACHED_CLONES = 16


class Cloner(Protocol):
    """The part of Synthesizer that this module uses."""

    name: str
    on_warning: OnWarning

    @property
    def config(self) -> ModelConfig: ...
    def clone(self, audio: Audio, text: str | None = None, *, on_warning: OnWarning = None) -> Voice: ...


def resolve_voice(
    synthesizer: Cloner,
    voice: str | os.PathLike[str] | Voice | None,
    audio: Audio | None,
    text: str | None,
    on_warning: OnWarning = None,
) -> Voice | None:
    """The kept or cloned voice that a request asks for; None for a preset voice or the model's own voice.

    voice: the name of a preset or kept voice, a path object of a voice file, or a Voice; a string is never a path.
    audio: a recording to clone instead. text: the text that the recording says. on_warning: see Synthesizer.clone.
    Raises UsageError if the model cannot speak with the voice; the message names a model that can. Also raises as
    read_voice and Synthesizer.clone do.
    """
    config, model = synthesizer.config, synthesizer.name
    if audio is not None:
        check_can_clone(config, model, "reference recording")
        if voice is not None:
            raise UsageError("voice: leave out either the voice or the reference recording")
        return synthesizer.clone(audio, text, on_warning=on_warning)
    if text is not None:
        raise UsageError("reference text: there is no reference recording that it could be of")
    preset = voice is None or (isinstance(voice, str) and voice.strip().lower() in config.speakers)
    if preset and config.model_type != "base":
        return None
    from . import voice_store
    from .voice_file import Voice, read_voice

    asked = voice
    if preset or isinstance(voice, str):
        voice = None if preset else _named_voice(voice)
    elif isinstance(voice, os.PathLike):
        voice = read_voice(voice)
    elif not isinstance(voice, Voice):
        found = type(voice).__name__
        raise UsageError(f"voice: found {found}, expected a name, a Voice, or a pathlib.Path of a voice file")
    if voice is not None:
        voice.check_fits(config, model)
    elif config.model_type == "base" and asked is not None:
        close = did_you_mean(asked, voice_store.names())
        instead = f"{model} speaks with kept voices and recordings (--ref), {PRESET_VOICE_MODELS} have presets"
        raise UsageError(f"no voice {short_repr(asked)} is kept{close}; {instead}")
    elif config.model_type == "base":
        needs = "it needs a recording (--ref) or a kept voice (-v)"
        raise UsageError(f"{model} has no voice of its own: {needs}; {PRESET_VOICE_MODELS} have presets")
    return voice


def _named_voice(name: str) -> Voice | None:
    from ..common import user_folders
    from . import voice_store

    if user_folders.is_voice_file(name):
        raise UsageError(f"voice {short_repr(name)}: not the name of a voice; a voice file is given as pathlib.Path")
    return voice_store.find(name)


def resolve_instruct(config: ModelConfig, model: str, instruct: str | None, design: str | None) -> str | None:
    """The instruction for the model, or None. A voice description (`design`) is the instruction of a design model.

    Raises UsageError for a description together with `instruct`, or with a model that cannot make a voice from it.
    """
    if design is None:
        return instruct or None
    check_can_design(config, model, "design")
    if instruct:
        raise UsageError("instruct: a designed voice has one description; put it into design")
    return design or None


class CloneCache:
    """A cache of cloned voices, so that the same recording is encoded once for many requests.

    It holds the 16 voices that were used last.
    """

    def __init__(self, synthesizer: Cloner) -> None:
        self._synthesizer = synthesizer
        self._entries: OrderedDict[tuple[object, ...], tuple[Audio, Voice, list[str], list[OnWarning]]] = OrderedDict()

    def voice(self, audio: Audio, text: str | None, on_warning: OnWarning) -> Voice:
        """Clone a recording; see Synthesizer.clone. The same object or path with the same transcript is cloned once.

        on_warning: each function receives the warnings of a recording once.
        """
        check_on_warning(on_warning)
        if isinstance(audio, tuple):
            which: tuple[object, ...] = tuple(part if isinstance(part, (int, float)) else id(part) for part in audio)
        else:
            which = (os.fspath(audio) if isinstance(audio, os.PathLike) else id(audio),)
        key = (*which, text)
        if key not in self._entries:
            lines: list[str] = []
            # The entry refers to the recording, so that no other object can get its id.
            self._entries[key] = audio, self._synthesizer.clone(audio, text, on_warning=lines.append), lines, []
            if len(self._entries) > _CACHED_CLONES:
                self._entries.popitem(last=False)
        self._entries.move_to_end(key)
        _, voice, lines, receivers = self._entries[key]
        if on_warning not in receivers:
            receivers.append(on_warning)
            for line in lines:
                (on_warning or self._synthesizer.on_warning or warnings.warn)(line)
        return voice
