"""`qwen3tts voices`: the preset voices of a model, or of all models on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .. import hub, options
from ..errors import CheckpointError
from .console import Console

if TYPE_CHECKING:
    from ..config import ModelConfig

# What config.json does not say of the released voices: native language and character.
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


@click.command(cls=options.SettingsCommand)
@options.model
@options.as_json("A list of objects: voice, language, description, model.")
@options.quiet
def voices(model: str | None, as_json: bool, quiet: bool) -> None:
    """List the voices of models: of the one named with -m, else of every one on this machine.

    Each speaks all languages of its model; the language shown is its native one.

    \b
    Examples:
      qwen3tts voices
      qwen3tts voices -m 0.6b
      qwen3tts voices --json
    """
    console = Console(quiet)
    rows: list[dict[str, str | None]] = []
    for name in [model] if model is not None else [hub.EMBEDDED, *map(hub.short_name, hub.cached_repos())]:
        try:
            rows += _voices(name, console)
        except (CheckpointError, LookupError) as error:
            if model is not None:
                raise
            console.note(f"{name}: left out: {error}")
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    keys = ("voice", "language", "model", "description")
    widths = {key: max([len(key), *(len(row[key] or "-") for row in rows)]) for key in keys[:-1]}
    for row in [{key: key.upper() for key in keys}, *rows]:
        click.echo("  ".join((row[key] or "-").ljust(widths.get(key, 0)) for key in keys).rstrip())


def _voices(name: str, console: Console) -> list[dict[str, str | None]]:
    from ..config import load_config

    resolved = hub.resolve_model(name)
    config = load_config(resolved.path)
    if not config.speakers:
        console.note(f"{resolved.name}: no preset voices, it is a {config.model_type.replace('_', ' ')} model")
    return [
        dict(zip(("voice", "language", "description"), _described(config, voice), strict=True), model=resolved.name)
        for voice in config.speakers
    ]


def _described(config: ModelConfig, voice: str) -> tuple[str, str | None, str | None]:
    from ..languages import spoken_languages

    spoken = spoken_languages(config)
    if config.voice is not None:
        own = config.voice.default_language
        return voice, own or (spoken[0] if len(spoken) == 1 else None), config.voice.description
    language, description = _RELEASED.get(voice, (None, None))
    if dialect := config.dialects.get(voice):
        language = dialect
    elif language not in spoken:
        language = spoken[0] if len(spoken) == 1 else None
    return voice, language, description
