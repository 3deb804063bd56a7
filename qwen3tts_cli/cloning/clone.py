"""From a recording to a voice: the speaker vector, and where there is a transcript the codes that continue it.

Source: qwen3_tts_model.py, create_voice_clone_prompt.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..common.json_fields import shown
from ..common.suggest import did_you_mean
from ..errors import CheckpointError, InputError, UsageError
from ..text.languages import PRESET_VOICE_MODELS, resolve_language

# What only a recording or a kept voice needs is imported where it is used: presets speak sooner without it.
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from ..audio.recording import Recording
    from ..common.lifetime import Lifetime
    from ..models.checkpoint import Checkpoint
    from ..models.config.model import ModelConfig
    from .voice_file import Voice

    Audio: TypeAlias = os.PathLike[str] | tuple[np.ndarray, int] | Recording
    OnWarning: TypeAlias = Callable[[str], None] | None

CLONING_MODELS = "0.6b-base and 1.7b-base"
DESIGNING_MODEL = "1.7b-design"
_KEPT_CLONES = 16  # recordings of a series whose voices are remembered


class Cloner(Protocol):
    """What asked_voice needs of a Synthesizer."""

    name: str
    on_warning: OnWarning

    @property
    def config(self) -> ModelConfig: ...
    def clone(self, audio: Audio, text: str | None = None, *, on_warning: OnWarning = None) -> Voice: ...


def check_clones(config: ModelConfig, model: str, what: str) -> None:
    """Raise UsageError unless the model clones voices; `what` is what was asked for."""
    if config.model_type != "base":
        raise UsageError(f"{what}: {model} cannot clone a voice; {CLONING_MODELS} can (-m)")


def check_on_warning(on_warning: object) -> None:
    """Raise UsageError for what cannot be called with a warning."""
    if on_warning is not None and not callable(on_warning):
        raise UsageError(f"on_warning: found {type(on_warning).__name__}, expected a function of one text, or None")


def check_designs(config: ModelConfig, model: str, what: str) -> None:
    """Raise UsageError unless the model makes voices from a description; `what` is what was asked for."""
    if config.model_type != "voice_design":
        raise UsageError(f"{what}: {model} cannot make a voice from a description; {DESIGNING_MODEL} can (-m)")


def asked_voice(
    synthesizer: Cloner,
    voice: str | os.PathLike[str] | Voice | None,
    audio: Audio | None,
    text: str | None,
    on_warning: OnWarning = None,
) -> Voice | None:
    """The kept or cloned voice that a request means; None for a preset or a voice of the model's own.

    A string is a name and never a path. Raises UsageError where the model cannot speak with it, naming one that can.
    """
    config, model = synthesizer.config, synthesizer.name
    if audio is not None:
        check_clones(config, model, "reference recording")
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
        raise UsageError(f"no voice {shown(asked)} is kept{close}; {instead}")
    elif config.model_type == "base":
        needs = "it needs a recording (--ref) or a kept voice (-v)"
        raise UsageError(f"{model} has no voice of its own: {needs}; {PRESET_VOICE_MODELS} have presets")
    return voice


class Clones:
    """The voices of the reference recordings of many requests: each recording is encoded once."""

    def __init__(self, synthesizer: Cloner) -> None:
        self._synthesizer = synthesizer
        self._made: OrderedDict[tuple[object, ...], tuple[Audio, Voice, list[str], list[OnWarning]]] = OrderedDict()

    def voice(self, audio: Audio, text: str | None, on_warning: OnWarning) -> Voice:
        """As Synthesizer.clone; the same object or path with the same transcript gives the same voice again.

        on_warning: is told of each recording once.
        """
        check_on_warning(on_warning)
        if isinstance(audio, tuple):
            which: tuple[object, ...] = tuple(part if isinstance(part, (int, float)) else id(part) for part in audio)
        else:
            which = (os.fspath(audio) if isinstance(audio, os.PathLike) else id(audio),)
        key = (*which, text)
        if key not in self._made:
            lines: list[str] = []
            # The recording is kept too: its id is not given to another object then.
            self._made[key] = audio, self._synthesizer.clone(audio, text, on_warning=lines.append), lines, []
            if len(self._made) > _KEPT_CLONES:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        _, voice, lines, told = self._made[key]
        if on_warning not in told:
            told.append(on_warning)
            for line in lines:
                (on_warning or self._synthesizer.on_warning or warnings.warn)(line)
        return voice


def _named_voice(name: str) -> Voice | None:
    from ..common import places
    from . import voice_store

    if places.is_voice_file(name):
        raise UsageError(f"voice {shown(name)}: not the name of a voice; a voice file is given as pathlib.Path")
    return voice_store.find(name)


def asked_instruct(config: ModelConfig, model: str, instruct: str | None, design: str | None) -> str | None:
    """What tells the model how to speak: the description of a voice is an instruction to the model that makes voices.

    Raises UsageError for a model that makes none.
    """
    if design is None:
        return instruct or None
    check_designs(config, model, "design")
    if instruct:
        raise UsageError("instruct: a designed voice has one description; put it into design")
    return design or None


def clone(
    checkpoint: Checkpoint,
    audio: Audio,
    transcript: str | None,
    *,
    model: str,
    threads: int,
    within: Lifetime,
    name: str = "clone",
    language: str | None = None,
    description: str = "",
    note: str = "",
    on_warning: OnWarning = None,
) -> Voice:
    """The voice of a recording. transcript: what it says, None for the speaker vector alone. language: what it speaks.

    name, description, note: kept with it. The encoders are opened for this and closed after it, or with `within`.
    on_warning: called with each line on what may spoil the voice; None: a UserWarning. Raises UsageError for a model
    that cannot clone and for a text that a voice cannot be kept with, InputError for a recording that cannot be used,
    CheckpointError for encoders that are missing or damaged.
    """
    from ..audio.recording import transcript_warning
    from .voice_file import MAX_FRAMES, Voice, as_text, check_texts

    config = checkpoint.config
    check_clones(config, model, "clone")
    check_on_warning(on_warning)
    check_texts(name=name, transcript=transcript, language=language, description=description, note=note)
    if transcript is not None and not transcript.strip():
        raise UsageError("transcript: empty; leave it out to clone from the speaker vector alone")
    spoken = None if language is None else resolve_language(config, language)
    check_texts(language=spoken)  # a checkpoint may call its languages anything
    recording = _recording(audio)
    frames = math.ceil(len(recording.samples) / config.codec.samples_per_frame)
    if transcript is not None and frames > MAX_FRAMES:
        raise InputError(f"{recording.name}: {frames} frames, a voice continues at most {MAX_FRAMES}")
    unfit = transcript_warning(transcript, recording.seconds) if transcript else None
    warn = partial(warnings.warn, stacklevel=3) if on_warning is None else on_warning
    for line in (*recording.warnings, *([unfit] if unfit else [])):
        warn(line)
    return Voice(
        name=name,
        embedding=_embedding(checkpoint, recording, threads, within),
        codes=None if transcript is None else _codes(checkpoint, recording, threads, within),
        transcript=None if transcript is None else transcript.strip(),
        language=spoken,
        model=as_text(_kept_model(checkpoint.config.path, model)),
        description=description,
        note=note,
        seconds=round(recording.seconds, 3),
        sha256=recording.sha256,
    )


def _kept_model(folder: Path, model: str) -> str:
    """The name of a model, but not where on this machine its folder lies."""
    from ..models import hub_cache

    repo = hub_cache.repo_of(model)
    return (
        model if repo is not None and hub_cache.snapshot(repo) == folder else os.path.basename(os.path.abspath(folder))
    )


def _recording(audio: Audio) -> Recording:
    from ..audio.recording import Recording, load_recording

    if isinstance(audio, Recording):
        return audio
    if isinstance(audio, (tuple, os.PathLike)):
        return load_recording(audio)
    found = shown(audio) if isinstance(audio, str) else type(audio).__name__
    expected = "a pathlib.Path of its file, (samples, rate), or what load_recording returns"
    raise UsageError(f"recording: found {found}, expected {expected}")


def _embedding(checkpoint: Checkpoint, recording: Recording, threads: int, within: Lifetime) -> np.ndarray:
    """float32 (hidden,)"""
    from ..engine.speaker_encoder import SpeakerEncoder
    from ..models.config.encoders import load_speaker_config
    from ..models.encoder_tensors import collect_speaker

    path, width = checkpoint.config.path, checkpoint.config.talker.hidden_size
    config = load_speaker_config(path)
    if config is None:
        raise CheckpointError(f"{path / 'config.json'}: speaker_encoder_config: found nothing, expected an object")
    if config.embedding != width:
        expected = f"hidden_size of talker_config = {width}"
        raise CheckpointError(f"{path / 'config.json'}: enc_dim: found {config.embedding}, expected {expected}")
    tensors = collect_speaker(config, checkpoint.files[0])
    with SpeakerEncoder(path, config, tensors, threads=threads) as encoder:
        within.adopt(encoder.lifetime)
        return encoder.embed(recording.samples)


def _codes(checkpoint: Checkpoint, recording: Recording, threads: int, within: Lifetime) -> np.ndarray:
    """int32 (frames, code groups)"""
    from ..engine.codec_encoder import CodecEncoder
    from ..models.config.encoders import load_encoder_config
    from ..models.encoder_tensors import collect_encoder

    path, groups = checkpoint.config.path / "speech_tokenizer", checkpoint.config.num_code_groups
    config = load_encoder_config(path / "config.json")
    if config.num_quantizers != groups or config.samples_per_frame != checkpoint.config.codec.samples_per_frame:
        found = f"found {config.num_quantizers} codes for {config.samples_per_frame} samples"
        expected = f"{groups} for {checkpoint.config.codec.samples_per_frame}, as the model has"
        raise CheckpointError(f"{path / 'config.json'}: encoder_valid_num_quantizers: {found}, expected {expected}")
    with CodecEncoder(path, config, collect_encoder(config, checkpoint.codec_weights), threads=threads) as encoder:
        within.adopt(encoder.lifetime)
        return encoder.encode(recording.samples)
