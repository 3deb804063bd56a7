"""Resolve the names of languages and voices that a user gives to the names in a checkpoint's config."""

from __future__ import annotations

import re

from ..common.json_fields import short_repr
from ..common.suggest import did_you_mean
from ..errors import UsageError
from ..models.config.model import ModelConfig

CODES = {
    "zh": "chinese",
    "en": "english",
    "de": "german",
    "it": "italian",
    "pt": "portuguese",
    "es": "spanish",
    "ja": "japanese",
    "ko": "korean",
    "fr": "french",
    "ru": "russian",
}
# three-letter codes of ISO 639-2 and 639-3, with which some locale names begin
_LONG_CODES = {
    "zho": "zh", "chi": "zh", "cmn": "zh", "eng": "en", "deu": "de", "ger": "de", "ita": "it", "por": "pt",
    "spa": "es", "jpn": "ja", "kor": "ko", "fra": "fr", "fre": "fr", "rus": "ru",
}  # fmt: skip
# en-US, zh-Hans-CN, es-419, en_US.UTF-8, de_DE@euro
_LOCALE = r"([a-z]{2,3})(?:[-_][a-z0-9]{1,8})*(?:\.[a-z0-9-]+)?(?:@[a-z0-9=]+)?"
_NO_LANGUAGE = r"(?:c|posix)(?:\.[a-z0-9-]+)?"
PRESET_VOICE_MODELS = "0.6b and 1.7b"


def spoken_languages(config: ModelConfig) -> list[str]:
    """Return the languages that a user can choose; dialects are chosen by a voice. Source: qwen3_tts_model.py."""
    return [name for name in config.languages if "dialect" not in name]


def language_name(name: str) -> str:
    """Return the lower-case English name of a language code or locale name (en_US.UTF-8); other names in lower case."""
    key = name.strip().lower()
    return CODES.get(_code(key), key)


def _code(key: str) -> str:
    """Return the two-letter code for a language code of two or three letters or a locale name; else `key` unchanged."""
    locale = re.fullmatch(_LOCALE, key)
    code = locale[1] if locale else key
    return _LONG_CODES.get(code, code)


def resolve_language(config: ModelConfig, name: str | None) -> str:
    """Return the key of config.languages, or "auto", for a language name, code or locale name in any case.

    name: None means the voice manifest's default_language, else the model's only language, else "auto". Raises
    UsageError for an unknown language and for a dialect.
    """
    spoken = spoken_languages(config)
    if name is None:
        if config.voice is not None and config.voice.default_language is not None:
            return config.voice.default_language
        return spoken[0] if len(spoken) == 1 else "auto"
    key = name.strip().lower()
    if key == "auto" or key in spoken:
        return key
    full = language_name(key)
    for found in (full, _code(key)):
        if found in spoken:
            return found
    known = ", ".join(["auto", *spoken])
    if key in config.languages:
        speakers = [speaker for speaker, dialect in config.dialects.items() if dialect == key]
        hint = f"use the voice {' or '.join(speakers)}" if speakers else "no voice of this model has it"
        raise UsageError(f"language {short_repr(name)} is a dialect: {hint}; languages: {known}")
    if full in CODES.values():
        raise UsageError(f"language {short_repr(name)}: this model has {known}; {PRESET_VOICE_MODELS} speak {full}")
    if re.fullmatch(_NO_LANGUAGE, key):
        raise UsageError(f"language {short_repr(name)}: this locale names no language; known: {known}")
    codes = [code for code, language in CODES.items() if language in spoken]
    raise UsageError(
        f"unknown language {short_repr(name)}{did_you_mean(key, ['auto', *spoken, *codes])}; known: {known}"
    )


def resolve_speaker(config: ModelConfig, name: str | None) -> str | None:
    """Return the key of config.speakers for the name of a preset voice in any case.

    name: None means the voice manifest's default_voice, else the first speaker. Returns None for "none" and for a model
    without speakers: the prompt then has no speaker row. Raises UsageError for an unknown voice.
    """
    if name is None:
        if config.voice is not None and config.voice.default_voice is not None:
            return config.voice.default_voice
        return next(iter(config.speakers), None)
    key = name.strip().lower()
    if key in config.speakers:
        return key
    if key in ("", "none"):
        return None
    if not config.speakers:
        reasons = {
            "base": "a base model clones voices",
            "voice_design": "a voice_design model takes a description instead (instruct)",
        }
        reason = reasons.get(config.model_type, "this model has none")
        raise UsageError(f"voice {short_repr(name)}: {reason}; models with preset voices: {PRESET_VOICE_MODELS}")
    known = ", ".join(config.speakers)
    raise UsageError(f"unknown voice {short_repr(name)}{did_you_mean(key, config.speakers)}; known: {known}")
