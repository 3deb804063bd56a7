"""Facts about kept voices, voice files and preset voices, and the command line that speaks with a voice."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from ...common.json_fields import short_repr
from ...common.suggest import did_you_mean
from ...errors import CheckpointError, ModelNotFoundError, UsageError
from ...models import local_models
from .. import names_and_paths

if TYPE_CHECKING:
    from ...cloning.voice_file import Voice
    from ...models.config.model import ModelConfig

# Native language and description of the released voices, which config.json does not have.
# Source: README of github.com/QwenLM/Qwen3-TTS, "Custom Voice Generate".
_RELEASED = {
    "vivian": ("chinese", "Bright, slightly edgy young female voice"),
    "serena": ("chinese", "Warm, gentle young female voice"),
    "uncle_fu": ("chinese", "Seasoned male voice with a low, mellow timbre"),
    "dylan": ("chinese", "Youthful Beijing male voice with a clear, natural timbre"),
    "eric": ("chinese", "Lively Chengdu male voice with a slightly husky brightness"),
    "ryan": ("english", "Dynamic male voice with strong rhythmic drive"),
    "aiden": ("english", "Sunny American male voice with a clear midrange"),
    "ono_anna": ("japanese", "Playful Japanese female voice with a light, nimble timbre"),
    "sohee": ("korean", "Warm Korean female voice with rich emotion"),
}


def facts_of(name: str) -> dict[str, Any]:
    """The facts about a voice that `voices show` prints, as JSON values. name: the voice as the user typed it.

    Raises UsageError, InputError, ModelNotFoundError.
    """
    voice = _kept_voice(name)
    if voice is None:
        facts = _preset_row(name)
        return {"name": facts.pop("voice"), **facts}
    return {
        "name": voice.name,
        "kind": "kept" if isinstance(names_and_paths.voice(name), str) else "file",
        "model": voice.needs,
        "made_with": voice.model,
        "language": voice.language,
        "frames": 0 if voice.codes is None else len(voice.codes),
        "transcript": voice.transcript,
        "description": voice.description,
        "note": voice.note,
        "seconds": voice.seconds,
        "sha256": voice.sha256,
    }


def model_for(name: str) -> str:
    """The name of a model that speaks with a voice. name: the voice as the user typed it. Raises as facts_of does."""
    voice = _kept_voice(name)
    if voice is None:
        return _preset_row(name)["model"]
    if (model := _known_model(voice)) is None:
        raise UsageError(f"voice {voice.name}: it needs {voice.needs}; name that model with -m")
    return model


def speak_hint(voice: Voice, model: str | None = None) -> str:
    """The command line that speaks with a kept voice. model: the model as the user typed it; None: the model that the
    voice was made with."""
    model = model or _known_model(voice)
    if model is None:
        return f"it needs {voice.needs} (say -m)"
    return shlex.join(["qwen3tts", "say", "-m", model, "-v", voice.name, "Hello."])


def preset_rows(config: ModelConfig, model: str) -> list[dict[str, Any]]:
    """For each preset voice of a model a row: a dict of JSON values by column. model: the model's name."""
    from ...text.languages_and_voices import spoken_languages

    languages = ["auto", *spoken_languages(config)]
    rows = []
    for voice in config.speakers:
        language, description = _language_and_description(config, voice)
        row = {"voice": voice, "language": language, "description": description, "model": model, "kind": "preset"}
        rows.append({**row, "dialect": config.dialects.get(voice), "languages": languages})
    return rows


def _language_and_description(config: ModelConfig, voice: str) -> tuple[str | None, str | None]:
    from ...text.languages_and_voices import spoken_languages

    spoken = spoken_languages(config)
    if config.voice is not None:
        own = config.voice.default_language
        return own or (spoken[0] if len(spoken) == 1 else None), config.voice.description
    language, description = _RELEASED.get(voice, (None, None))
    if dialect := config.dialects.get(voice):
        language = dialect
    elif language not in spoken:
        language = spoken[0] if len(spoken) == 1 else None
    return language, description


def _kept_voice(name: str) -> Voice | None:
    """The kept voice or the voice file that `name` names; None if no voice of that name is kept."""
    from ...cloning import voice_store
    from ...cloning.voice_file import read_voice

    meant = names_and_paths.voice(name)
    return voice_store.find(name) if isinstance(meant, str) else read_voice(meant)


def _known_model(voice: Voice) -> str | None:
    """The name of the model that a voice was made with; None if the model was a folder or is unknown."""
    from ...cloning.voice_file import BASE_MODELS

    if voice.model:
        return voice.model if local_models.repo_of(voice.model) is not None else None
    return BASE_MODELS.get(voice.width)


def _preset_row(name: str) -> dict[str, Any]:
    """The row of a preset voice, from the first model on this machine that has it."""
    from ...cloning import voice_store
    from ...models.config.model import load_config
    from ...text.languages_and_voices import PRESET_VOICE_MODELS

    key = name.strip().lower()
    for model in local_models.model_names():
        try:
            config = load_config(local_models.resolve_model(model).path)
        except (CheckpointError, ModelNotFoundError):
            continue  # `voices list` reports the error of this model
        for row in preset_rows(config, model):
            if row["voice"] == key:
                return row
    if key in voice_store.PRESETS:
        hint = local_models.pull_hint(local_models.ALIASES["0.6b"])
        raise ModelNotFoundError(
            f"voice {key} is a preset of {PRESET_VOICE_MODELS}, and neither is on this machine; {hint}"
        )
    close = did_you_mean(name, [*voice_store.names(), *voice_store.PRESETS])
    raise UsageError(f"no voice {short_repr(name)} is kept{close}; see: qwen3tts voices list")
