"""`qwen3tts models`: lists, downloads, checks and removes models."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click

from ...errors import CheckpointError, DownloadError, ModelNotFoundError, OutputError, UsageError
from ...models import hub_cache, local_models
from .. import names_and_paths, options
from ..console import Console
from .models_check.command import check
from .models_pack import damaged_packs, pack, remove_packed, tidy, unpack

_name = click.argument("name", shell_complete=options.completion.models)
_quiet = options.quiet


@click.group(no_args_is_help=False, invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """List, download, check and remove models.

    A model is an alias (0.6b, 1.7b: preset voices; 0.6b-base, 1.7b-base: cloning; 1.7b-design: described voices) or the
    id of a repository on the Hugging Face Hub. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE work as
    they do for huggingface_hub.

    \b
    Examples:
      qwen3tts models list
      qwen3tts models pull 0.6b
      qwen3tts models verify 0.6b
      qwen3tts models check 0.6b
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


@models.command("list")
@options.json_switch("Print a JSON list of objects: name, repo, state, bytes, packed, path.")
def list_models(as_json: bool) -> None:
    """List the models on this machine, and those that can be pulled.

    \b
    Examples:
      qwen3tts models list
      qwen3tts models list --json
    """
    rows = [_row(local_models.EMBEDDED, None, local_models.embedded_path())]
    for repo in dict.fromkeys([*local_models.ALIASES.values(), *local_models.cached_repos()]):
        rows.append(_row(local_models.short_name(repo), repo, hub_cache.snapshot(repo)))
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        size = f"{row['bytes'] / 1e9:.2f} GB" if row["bytes"] else "-"
        click.echo(f"{row['name']:{width}}  {row['state']:9}  {size:>8}  {row['path'] or row['repo']}")
        for kind, packed in row["packed"].items():
            click.echo(f"{'':{width}}  {kind:9}  {packed / 1e9:>5.2f} GB  packed weights")


def _row(name: str, repo: str | None, path: Path | None) -> dict[str, Any]:
    from ...packed.cache_paths import cached_sizes

    state = "not there" if path is None else "partial" if hub_cache.missing_files(path) else "ready"
    size = 0 if path is None else hub_cache.size_bytes(path)
    return {
        "name": name,
        "repo": repo,
        "state": state,
        "bytes": size,
        "packed": {} if path is None else cached_sizes(path),
        "path": None if path is None else str(path),
    }


def _repo(name: str) -> str:
    repo = local_models.repo_of(name)
    if name.lower() == local_models.EMBEDDED:
        raise UsageError(f"{name} is part of this package and can be neither pulled nor removed")
    if repo is None or local_models.is_path(name):
        if os.path.isdir(os.path.expanduser(name)):
            raise ModelNotFoundError(f"{name} is a folder outside the cache and can be neither pulled nor removed")
        expected = f"model {name}: expected an alias or the id of a repository"
        raise ModelNotFoundError(expected if local_models.is_path(name) else local_models.unknown_model_message(name))
    return repo


def _open(folder: Path, cache: bool = True) -> None:
    from ...models.checkpoint import open_checkpoint

    if hub_cache.is_codec_only(folder):
        from ...audio.codec import Codec

        with Codec(folder, str(folder), threads=1) as codec:
            codec.decoder  # noqa: B018  (the first use opens and checks it)
        return
    with open_checkpoint(folder, cache=cache) as checkpoint:
        checkpoint.tokenizer  # noqa: B018  (the first use reads and checks it)


@models.command()
@click.argument("name", shell_complete=options.completion.models_to_pull)
@_quiet
def pull(name: str, quiet: bool) -> None:
    """Download a model, check it, and print its folder.

    Only missing files are downloaded. An interrupted download continues where it stopped.

    \b
    Examples:
      qwen3tts models pull 0.6b
      HF_ENDPOINT=https://hub.example.com qwen3tts models pull 1.7b
      qwen3tts models pull my-org/my-finetune
    """
    from ...models.download import pull as download

    console, repo = Console(quiet), _repo(name)
    state, started = (0, 0, 0), 0.0

    def report(cached: int, total: int, received: int) -> None:
        nonlocal state, started
        started = started if state[2] else time.monotonic()
        state = cached, total, received

    def line() -> str:
        cached, total, received = state
        if not total:
            return f"{repo}: asking the Hub"
        speed = received / 1e6 / max(time.monotonic() - started, 0.1)
        return f"{repo}: {cached / 1e9:.2f} of {total / 1e9:.2f} GB, {100 * cached // total} %, {speed:.1f} MB/s"

    with console.progress(line):
        folder = download(repo, report)
    try:
        _open(folder)
    except CheckpointError as error:
        raise DownloadError(f"{repo}: downloaded, but it cannot be opened: {error}") from None
    console.note(f"{repo}: {hub_cache.size_bytes(folder) / 1e9:.2f} GB, checked")
    _note_revision(console, repo, folder)
    click.echo(folder)


@models.command()
@_name
def path(name: str) -> None:
    """Print the folder of a model on this machine.

    \b
    Examples:
      qwen3tts models path 0.6b
      ls "$(qwen3tts models path pocket)"
    """
    click.echo(local_models.resolve_model(names_and_paths.model(name)).path)


@models.command()
@click.argument("name", shell_complete=options.completion.cached_models)
@click.option("-y", "--yes", is_flag=True, help="Remove without asking.")
@_quiet
def rm(name: str, yes: bool, quiet: bool) -> None:
    """Remove a model and its packed weights.

    The model is removed from the Hugging Face cache.

    \b
    Examples:
      qwen3tts models rm 0.6b
      qwen3tts models rm -y 1.7b-base
    """
    repo = _repo(name)
    folder = hub_cache.repo_folder(repo)
    if folder is None or not folder.is_dir():
        if freed := remove_packed(folder):
            Console(quiet).note(f"{repo}: removed {freed / 1e9:.2f} GB of packed weights")
            return
        raise ModelNotFoundError(f"model {name} is not on this machine: no {folder or 'cache folder'}")
    size = hub_cache.size_bytes(folder / "blobs")
    if not yes and sys.stdin is not None and sys.stdin.isatty():
        click.confirm(f"Remove {repo}, {size / 1e9:.2f} GB, from {folder}?", abort=True, err=True)
    size += remove_packed(folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: {error.strerror}") from None
    shutil.rmtree(folder.parent / ".locks" / folder.name, ignore_errors=True)
    Console(quiet).note(f"{repo}: removed {size / 1e9:.2f} GB")


@models.command()
@click.argument("name", required=False, shell_complete=options.completion.models)
@_quiet
@click.pass_context
def verify(context: click.Context, name: str | None, quiet: bool) -> None:
    """Check the files of a model; without NAME, of all models.

    Checks the hash of every file and of the packed weights, and opens the model. Exit code 1 where something is
    wrong. `models pull` downloads damaged files again.

    \b
    Examples:
      qwen3tts models verify
      qwen3tts models verify 0.6b
    """
    names = [name] if name is not None else local_models.model_names()
    good = [_verify(each, quiet) for each in names]
    if not all(good):
        context.exit(1)


def _verify(name: str, quiet: bool) -> bool:
    folder = _folder(name)
    wrong = []
    with Console(quiet).progress(lambda: f"{name}: hashing"):
        for file, problem in hub_cache.damaged_files(folder):
            if problem is not None:
                wrong.append(f"{file}: {problem}")
        if not wrong:
            try:
                _open(folder, cache=False)
            except CheckpointError as error:
                wrong.append(str(error))
        wrong += damaged_packs(folder)
    for problem in wrong:
        click.echo(f"error: {name}: {problem}", err=True)
    if not quiet:
        click.echo(f"{name}: {'damaged' if wrong else 'ok'}")
    if not wrong and (repo := local_models.repo_of(name)) is not None:
        _note_revision(Console(quiet), repo, folder)
    return not wrong


def _note_revision(console: Console, repo: str, folder: Path) -> None:
    """Print a note if a released model is not the revision that this version was checked with. It is used anyway."""
    from ...models.released import revision_note

    if line := revision_note(repo, folder):
        console.note(f"note: {line}")


models.add_command(check)
models.add_command(pack)
models.add_command(unpack)
models.add_command(tidy)


def _folder(name: str) -> Path:
    """The folder of a model, which may lack files."""
    repo = local_models.repo_of(name)
    found = hub_cache.snapshot(repo) if repo is not None and not Path(name).is_dir() else None
    return found or local_models.resolve_model(names_and_paths.model(name)).path
