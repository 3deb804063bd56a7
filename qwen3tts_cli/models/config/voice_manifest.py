"""voice.json: the voice manifest, in which a checkpoint made for one voice describes that voice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ...common.json_fields import read_object
from .codec import MAX_CONFIG_BYTES

_MAX_CHARACTERS = 300


class VoiceManifest(NamedTuple):
    """The fields of voice.json. A missing field is None, except spell_out (False) and max_characters (300).

    default_voice, default_language: keys of the checkpoint's speakers and languages, or "auto". text_mode: "full" or
    "streaming". max_characters: the limit for one utterance. allowed_characters: the characters that the voice can
    read; all others are replaced. spell_out: whether numbers, symbols and abbreviations are written as words.
    whole_numbers_as_digits_up_to: whole numbers up to this one stay digits.
    """

    name: str
    description: str | None
    default_voice: str | None
    default_language: str | None
    text_mode: str | None
    max_characters: int
    allowed_characters: str | None
    spell_out: bool
    whole_numbers_as_digits_up_to: int | None


def load_voice_manifest(path: Path, speakers: dict[str, int], languages: dict[str, int]) -> VoiceManifest | None:
    """Read voice.json and check it against the checkpoint's speakers and languages; None if the file does not exist.

    Raises CheckpointError.
    """
    if not os.path.lexists(path):
        return None
    section = read_object(path, MAX_CONFIG_BYTES)
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
