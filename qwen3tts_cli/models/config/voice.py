"""What a checkpoint says about speaking: generation_config.json (sampling) and voice.json (an embedded voice)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...common.json_fields import Section, read_object

_MAX_BYTES = 1 << 20
_MAX_TOP_K = 2**31 - 1
_MAX_CHARACTERS = 300


@dataclass(frozen=True)
class GenerationConfig:
    """How codes are chosen unless the caller says otherwise. top_k 0 and top_p 1 are off; max_new_tokens = N means at
    most N - 1 frames."""

    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    subtalker_dosample: bool
    subtalker_temperature: float
    subtalker_top_k: int
    subtalker_top_p: float
    max_new_tokens: int


@dataclass(frozen=True)
class VoiceManifest:
    """voice.json: what a voice declares about itself. A field that it leaves out is None; spell_out False, and
    max_characters (of one utterance) what the released models are stable with."""

    name: str
    description: str | None
    default_voice: str | None
    default_language: str | None
    text_mode: str | None
    max_characters: int
    allowed_characters: str | None
    spell_out: bool
    whole_numbers_as_digits_up_to: int | None


def load_generation_config(path: Path) -> GenerationConfig:
    """Read generation_config.json; what it leaves out, or the whole file, has the reference's defaults.

    A temperature of 0 is greedy. Raises CheckpointError.
    Source: qwen3_tts_model.py, Qwen3TTSModel._merge_generate_kwargs.
    """
    section = read_object(path, _MAX_BYTES) if os.path.lexists(path) else Section({}, path)
    temperature = section.number("temperature", 0, 100, 0.9)
    subtalker_temperature = section.number("subtalker_temperature", 0, 100, 0.9)
    return GenerationConfig(
        do_sample=section.boolean("do_sample", True) and temperature > 0,
        temperature=temperature,
        top_k=section.integer("top_k", 0, _MAX_TOP_K, 50),
        top_p=section.number("top_p", 1e-6, 1, 1.0),
        repetition_penalty=section.number("repetition_penalty", 0.01, 100, 1.05),
        subtalker_dosample=section.boolean("subtalker_dosample", True) and subtalker_temperature > 0,
        subtalker_temperature=subtalker_temperature,
        subtalker_top_k=section.integer("subtalker_top_k", 0, _MAX_TOP_K, 50),
        subtalker_top_p=section.number("subtalker_top_p", 1e-6, 1, 1.0),
        max_new_tokens=section.integer("max_new_tokens", 1, 1 << 20, 2048),
    )


def load_manifest(path: Path, speakers: dict[str, int], languages: dict[str, int]) -> VoiceManifest | None:
    """Read voice.json against the checkpoint's speakers and languages; None where there is no such file.

    Raises CheckpointError.
    """
    if not os.path.lexists(path):
        return None
    section = read_object(path, _MAX_BYTES)
    manifest = VoiceManifest(
        name=section.string("name", 64),
        description=section.string("description", 1000, None),
        default_voice=_lower(section.string("default_voice", 64, None)),
        default_language=_lower(section.string("default_language", 64, None)),
        text_mode=section.choice("text_mode", ("full", "streaming"), None),
        max_characters=section.integer("max_characters", 1, 100_000, _MAX_CHARACTERS),
        allowed_characters=section.string("allowed_characters", 10_000, None),
        spell_out=section.boolean("spell_out", False),
        whole_numbers_as_digits_up_to=section.integer("whole_numbers_as_digits_up_to", 0, 10**12, None),
    )
    if manifest.default_voice is not None and manifest.default_voice not in speakers:
        section.fail("default_voice", repr(manifest.default_voice), "a speaker of config.json")
    if manifest.default_language not in (None, "auto", *languages):
        section.fail("default_language", repr(manifest.default_language), "a language of config.json, or auto")
    return manifest


def _lower(name: str | None) -> str | None:
    return None if name is None else name.lower()
