"""Cloning: makes a voice of a recording. A voice has the speaker vector and, with a transcript, the recording's codes.

Source: qwen3_tts_model.py, create_voice_clone_prompt.
"""

from __future__ import annotations

import math
import os
import warnings
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ..common.json_fields import short_repr
from ..errors import CheckpointError, InputError, UsageError
from ..text.languages_and_voices import resolve_language

# Modules that only recordings and voice files need are imported in functions, so that a preset voice starts sooner.
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
DESIGN_MODEL = "1.7b-design"
# A design model speaks this text once, and the audio is cloned: it is long enough and has every sound of English.
CALIBRATION_TEXT = (
    "The quick brown fox jumps over the lazy dog, while she measures the joy of a thousand voices. "
    "Did you hear the church bells ring at noon? I thought so; every good day should begin with them."
)


def check_can_clone(config: ModelConfig, model: str, what: str) -> None:
    """Raise UsageError unless the model can clone voices. what: the request, which begins the message."""
    if config.model_type != "base":
        raise UsageError(f"{what}: {model} cannot clone a voice; {CLONING_MODELS} can (-m)")


def check_on_warning(on_warning: object) -> None:
    """Raise UsageError unless `on_warning` is callable or None."""
    if on_warning is not None and not callable(on_warning):
        raise UsageError(f"on_warning: found {type(on_warning).__name__}, expected a function of one text, or None")


def check_can_design(config: ModelConfig, model: str, what: str) -> None:
    """Raise UsageError unless the model makes voices from descriptions. what: the request, which begins the message."""
    if config.model_type != "voice_design":
        raise UsageError(f"{what}: {model} cannot make a voice from a description; {DESIGN_MODEL} can (-m)")


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
    """Clone the voice of a recording. The encoders are opened for this call, and closed after it or with `within`.

    audio: a path, (samples, rate), or a Recording. transcript: the text that the recording says; None makes a voice of
    the speaker vector alone. model: the model's name. threads: how many threads compute. language: the language of the
    recording. name, description, note: stored in the voice.
    on_warning: called with one line for each property of the recording that makes a worse voice; None: a UserWarning.
    Raises UsageError for a model that cannot clone, or a text that a voice file cannot hold; InputError for a recording
    that cannot be used; CheckpointError for missing or damaged encoders; EngineError.
    Source: qwen3_tts_model.py, create_voice_clone_prompt.
    """
    from ..audio.recording import transcript_warning
    from .voice_file import MAX_FRAMES, Voice, as_text, check_texts

    config = checkpoint.config
    check_can_clone(config, model, "clone")
    check_on_warning(on_warning)
    check_texts(name=name, transcript=transcript, language=language, description=description, note=note)
    if transcript is not None and not transcript.strip():
        raise UsageError("transcript: empty; leave it out to clone from the speaker vector alone")
    spoken = None if language is None else resolve_language(config, language)
    check_texts(language=spoken)  # a checkpoint may give its languages any names
    recording = _recording(audio)
    frames = math.ceil(len(recording.samples) / config.codec.samples_per_frame)
    if transcript is not None and frames > MAX_FRAMES:
        raise InputError(f"{recording.name}: {frames} frames, a voice continues at most {MAX_FRAMES}")
    mismatch = transcript_warning(transcript, recording.seconds) if transcript else None
    warn = partial(warnings.warn, stacklevel=3) if on_warning is None else on_warning
    for line in (*recording.warnings, *([mismatch] if mismatch else [])):
        warn(line)
    return Voice(
        name=name,
        embedding=_speaker_vector(checkpoint, recording, threads, within),
        codes=None if transcript is None else _reference_codes(checkpoint, recording, threads, within),
        transcript=None if transcript is None else transcript.strip(),
        language=spoken,
        model=as_text(_public_name(checkpoint.config.path, model)),
        description=description,
        note=note,
        seconds=round(recording.seconds, 3),
        sha256=recording.sha256,
    )


def _public_name(folder: Path, model: str) -> str:
    """The name of a model for the voice file, which must not contain the path of the model's folder."""
    from ..models import hub_cache, local_models

    repo = local_models.repo_of(model)
    return (
        model if repo is not None and hub_cache.snapshot(repo) == folder else os.path.basename(os.path.abspath(folder))
    )


def _recording(audio: Audio) -> Recording:
    from ..audio.recording import Recording, load_recording

    if isinstance(audio, Recording):
        return audio
    if isinstance(audio, (tuple, os.PathLike)):
        return load_recording(audio)
    found = short_repr(audio) if isinstance(audio, str) else type(audio).__name__
    expected = "a pathlib.Path of its file, (samples, rate), or what load_recording returns"
    raise UsageError(f"recording: found {found}, expected {expected}")


def _speaker_vector(checkpoint: Checkpoint, recording: Recording, threads: int, within: Lifetime) -> np.ndarray:
    """The speaker vector of a recording: float32 of shape (hidden,). Raises CheckpointError, EngineError."""
    from ..engine.speaker_encoder import SpeakerEncoder
    from ..models.config.encoders import load_speaker_config
    from ..models.encoder_tensor_specs import collect_speaker

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


def _reference_codes(checkpoint: Checkpoint, recording: Recording, threads: int, within: Lifetime) -> np.ndarray:
    """The codes of a recording: int32 of shape (frames, code groups). Raises CheckpointError, EngineError."""
    from ..engine.codec_encoder import CodecEncoder
    from ..models.config.encoders import load_encoder_config
    from ..models.encoder_tensor_specs import collect_encoder

    path, groups = checkpoint.config.path / "speech_tokenizer", checkpoint.config.num_code_groups
    config = load_encoder_config(path / "config.json")
    if config.num_quantizers != groups or config.samples_per_frame != checkpoint.config.codec.samples_per_frame:
        found = f"found {config.num_quantizers} codes for {config.samples_per_frame} samples"
        expected = f"{groups} for {checkpoint.config.codec.samples_per_frame}, as the model has"
        raise CheckpointError(f"{path / 'config.json'}: encoder_valid_num_quantizers: {found}, expected {expected}")
    with CodecEncoder(path, config, collect_encoder(config, checkpoint.codec_weights), threads=threads) as encoder:
        within.adopt(encoder.lifetime)
        return encoder.encode(recording.samples)
