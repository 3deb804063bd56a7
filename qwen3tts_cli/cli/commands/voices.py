"""`qwen3tts voices`: lists voices, and manages files of kept voices. voices_make.py makes voices."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from ...errors import CheckpointError, Qwen3TTSError, UsageError
from ...models import local_models
from .. import names_and_paths, options
from ..console import Console
from . import voices_make
from .say_output import refuse_terminal

if TYPE_CHECKING:
    from ...models.config.model import ModelConfig


class _ListByDefault(click.Group):
    """A group of commands; if no command is given, `list` runs."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not args and context.resilient_parsing:  # the shell completes the name of a command
            return super().parse_args(context, args)
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(context, args)


@click.group(cls=_ListByDefault)
def voices() -> None:
    """List, make and keep voices. Without a command: list.

    Preset voices belong to a model. Kept voices are cloned from a recording or designed from a description; they are
    files in the XDG data folder, and base models speak with them.

    \b
    Examples:
      qwen3tts voices
      qwen3tts voices create anna --from anna.wav --text "What Anna says in it."
      qwen3tts say -m 0.6b-base -v anna "In her voice." -o anna-says.wav
    """


@voices.command("list", cls=options.SettingsCommand)
@options.setting(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=options.completion.models,
    help="List only the voices for this model. [default: all models on this machine]",
)
@options.json_switch("Print a JSON list of objects: voice, language, description, model, kind, dialect, languages.")
@options.quiet
def list_voices(model: str | None, as_json: bool, quiet: bool) -> None:
    """List preset voices and kept voices.

    Lists the preset voices of the model -m, or of all models on this machine.

    Each preset voice speaks all languages of its model; its native language is shown. With -m, only those
    kept voices are listed that the model can speak with.

    \b
    Examples:
      qwen3tts voices list
      qwen3tts voices list -m 0.6b
      qwen3tts voices list --json
    """
    console = Console(quiet)
    rows: list[dict[str, Any]] = []
    for name in [model] if model is not None else local_models.model_names():
        try:
            rows += model_rows(name, console, model is not None)
        except (CheckpointError, LookupError) as error:
            if model is not None:
                raise
            console.note(f"{name}: left out: {error}")
    if model is None:
        rows += _kept_rows(None, console)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    keys = ("voice", "language", "model", "description")
    widths = {key: max([len(key), *(len(row[key] or "-") for row in rows)]) for key in keys[:-1]}
    for row in [{key: key.upper() for key in keys}, *rows]:
        click.echo("  ".join((row[key] or "-").ljust(widths.get(key, 0)) for key in keys).rstrip())


def model_rows(name: str | None, console: Console, with_kept: bool) -> list[dict[str, Any]]:
    """Rows of the preset voices of a model, as `voices list --json` prints them. name: as the user typed it.

    with_kept: also of the kept voices that it speaks with. Raises CheckpointError, ModelNotFoundError.
    """
    from ...models.config.model import load_config
    from .voices_facts import preset_rows

    resolved = local_models.resolve_model(names_and_paths.model(name))
    config = load_config(resolved.path)
    if not config.speakers:
        console.note(f"{resolved.name}: has no preset voices, it is a {config.model_type.replace('_', ' ')} model")
    return preset_rows(config, resolved.name) + (_kept_rows(config, console) if with_kept else [])


def _kept_rows(config: ModelConfig | None, console: Console) -> list[dict[str, Any]]:
    """Rows of the kept voices. config: list only voices that this model can speak with; None: list all."""
    from ...cloning import voice_store

    rows = []
    for name, voice in voice_store.entries():
        if isinstance(voice, Qwen3TTSError):
            console.note(f"{name}: left out: {voice}")
        elif config is None or (config.model_type == "base" and voice.width == config.talker.hidden_size):
            description = " ".join((voice.description or voice.note).split())
            row = {"voice": name, "language": voice.language, "description": description or None, "model": voice.needs}
            rows.append(row | {"kind": "kept", "dialect": None, "languages": None})
    return rows


@voices.command()
@click.argument("name", shell_complete=options.completion.shown_voices)
@options.json_switch("Print a JSON object instead of text.")
def show(name: str, as_json: bool) -> None:
    """Show facts about a voice.

    NAME is a kept voice, a preset voice, or a voice file.

    \b
    Examples:
      qwen3tts voices show anna
      qwen3tts voices show ./anna.safetensors --json
    """
    from .voices_facts import facts_of

    facts = facts_of(name)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for key, value in facts.items():
        value = ", ".join(value) if isinstance(value, list) else value
        text = "-" if value is None or value == "" else " ".join(str(value).split())
        click.echo(f"{key:12}{text}")


@voices.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=options.completion.kept_voices)
def remove(names: tuple[str, ...]) -> None:
    """Delete kept voices.

    \b
    Example:
      qwen3tts voices rm anna
    """
    from ...cloning import voice_store

    for name in names:
        voice_store.remove(name)


@voices.command()
@click.argument("old", shell_complete=options.completion.kept_voices)
@click.argument("new")
def rename(old: str, new: str) -> None:
    """Give a kept voice another name. The same seed gives the same audio as before.

    \b
    Example:
      qwen3tts voices rename anna anna-2
    """
    from ...cloning import voice_store

    voice_store.rename(old, new)


@voices.command()
@click.argument("name", shell_complete=options.completion.kept_voices)
@click.argument("file", shell_complete=options.completion.files)
@voices_make.force
@options.quiet
def export(name: str, file: str, force: bool, quiet: bool) -> None:
    """Copy a kept voice to a file, or into a folder; - is stdout.

    \b
    Example:
      qwen3tts voices export anna anna.safetensors
    """
    from ...cloning import voice_store
    from ...output import files as output_files
    from ...output.distinct_files import check_outputs

    kept = voice_store.existing_path(name)
    path = os.path.join(file, kept.name) if os.path.isdir(file) else file
    refuse_terminal(path, "a voice")
    check_outputs([("FILE", path)], [("voice", kept)])
    in_place = output_files.is_stdout(path) or output_files.is_special(path)
    if in_place or os.path.islink(path):  # a link is kept: its target is replaced
        _write_in_place(name, path, force or in_place)
    else:
        voice_store.export(name, path, replace=force)
    Console(quiet, path).note("standard output" if output_files.is_stdout(path) else path)


def _write_in_place(name: str, path: str, replace: bool) -> None:
    """Write a kept voice, as `say -o` writes audio, to stdout, a device or a FIFO, or through a link."""
    from ...cloning import voice_store
    from ...cloning.voice_file import voice_bytes
    from ...output import files as output_files

    data = voice_bytes(voice_store.load(name))
    if not replace and os.path.exists(path):
        raise UsageError(f"{path}: exists already (--force replaces it)")
    with output_files.write_output(path) as output:
        output.write(data)


@voices.command("import")
@click.argument("file", shell_complete=options.completion.files)
@click.argument("name", required=False)
@voices_make.force
@options.quiet
def import_voice(file: str, name: str | None, force: bool, quiet: bool) -> None:
    """Check a voice file and keep it.

    The name of the voice is NAME, or else the name in the file.

    \b
    Example:
      qwen3tts voices import anna.safetensors
    """
    from ...cloning import voice_store
    from ...cloning.voice_file import read_voice
    from ...output.distinct_files import check_outputs
    from .voices_facts import speak_hint

    check_outputs([("voice", voice_store.path_of(name or read_voice(file).name))], [("FILE", file)])
    voice = voice_store.import_file(file, name, replace=force)
    Console(quiet).note(f"{voice.name}: kept; {speak_hint(voice)}")


for _command in (voices_make.create, voices_make.design, voices_make.preview):
    voices.add_command(_command)
