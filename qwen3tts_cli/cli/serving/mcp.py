"""`qwen3tts mcp`: a server of the Model Context Protocol on stdin and stdout, which lets an assistant speak."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ...errors import OutputError, UsageError
from ...models import local_models
from .. import names_and_paths, options
from ..console import Console

_VOICE_HELP = "The voice where a call names none: a preset voice, a kept voice, or a voice file."


@click.command(cls=options.SettingsCommand)
@click.option(
    "--out-dir",
    metavar="DIR",
    shell_complete=options.completion.files,
    help="The folder that `save` writes into, made if it is not there. [default: `save` is refused]",
)
@options.setting("-v", "--voice", metavar="NAME", shell_complete=options.completion.voices, help=_VOICE_HELP)
@options.setting(
    "-l",
    "--language",
    metavar="NAME",
    shell_complete=options.completion.languages,
    help="The language where a call names none. [default: the model's]",
)
@options.model
@options.engine
@options.no_cache
@options.quiet
def mcp(**given: Any) -> None:
    """Let an assistant speak: a server of the Model Context Protocol.

    The program of the assistant starts this command and writes to its stdin; it ends when stdin ends. The tools are
    speak (plays; without an audio device it writes a file), save (a file in --out-dir) and list_voices.

    \b
    Examples:
      qwen3tts mcp
      qwen3tts mcp -m 0.6b -v ryan --out-dir ~/speech
    """
    local_models.resolve_model(names_and_paths.model(given["model"]))  # its error comes before the assistant waits
    defaults = {"voice": names_and_paths.voice(given["voice"]), "language": given["language"]}
    folder = _folder(given["out_dir"])
    try:
        from .mcp_tools import SpeechTools, serve
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("qwen3tts_cli"):
            raise
        raise UsageError(f"mcp needs the package {error.name}: pip install 'qwen3tts-cli[mcp]'") from None
    tools = SpeechTools(given, defaults, folder, Console(given["quiet"]))
    try:
        serve(tools)
    finally:
        tools.close()


def _folder(text: str | None) -> Path | None:
    """The folder of --out-dir, made if it is not there. Raises OutputError."""
    if text is None:
        return None
    path = Path(os.path.expanduser(text))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"--out-dir {text}: {getattr(error, 'strerror', None) or error}") from None
    return path
