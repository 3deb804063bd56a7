"""Completions that the shell shows for options and arguments. If a function raises an exception, there are none.

This module must not import NumPy or the engine, which takes long: the shell starts the command at every press of Tab.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

# click.shell_completion is imported inside the functions: every command imports this module, and few runs complete.
if TYPE_CHECKING:
    from click.shell_completion import BashComplete, CompletionItem

    Items = list[CompletionItem[Any]]
    _Complete = Callable[[click.Context, click.Parameter, str], Items]
_VOICE_FILE = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})\.safetensors")


def bash_protocol() -> type[BashComplete]:
    """A subclass of click's class for bash, which splits `--voice=an` into three words; "=" is removed from them."""
    from click.shell_completion import BashComplete

    class Bash(BashComplete):
        def get_completion_args(self) -> tuple[list[str], str]:
            args, incomplete = super().get_completion_args()
            pairs = zip(["", *args], args, strict=False)
            return [word for before, word in pairs if word != "=" or not before.startswith("--")], incomplete

    return Bash


def _without_errors(complete: _Complete) -> _Complete:
    @functools.wraps(complete)
    def completed(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
        with contextlib.suppress(Exception):
            return complete(context, parameter, incomplete)
        return []

    return completed


def _matching(names: Iterable[str], incomplete: str, otherwise: str | None = None) -> Items:
    """The names that begin with `incomplete`. If there is none, the shell completes the kind of path that `otherwise`
    names: "file" or "dir"; None: nothing."""
    from click.shell_completion import CompletionItem

    found = [CompletionItem(name) for name in dict.fromkeys(names) if name.lower().startswith(incomplete.lower())]
    return found if found or otherwise is None else [CompletionItem(incomplete, type=otherwise)]


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Paths of files, which the shell itself completes."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


@_without_errors
def models(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """The embedded voice, aliases and cached models; else folders."""
    return _matching(_model_names(), incomplete, "dir")


@_without_errors
def models_to_pull(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Aliases and cached models; their files may be missing."""
    from ..models import local_models

    return _matching([name for name in _model_names() if name != local_models.EMBEDDED], incomplete)


@_without_errors
def cached_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Models in the Hugging Face cache."""
    return _matching(_cached_names(), incomplete)


@_without_errors
def codecs(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Models and the repository of the codec alone; else folders."""
    return _matching([*_model_names(), "Qwen/Qwen3-TTS-Tokenizer-12Hz"], incomplete, "dir")


@_without_errors
def voices(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Kept voices, and presets of the model given by -m, else of all models on this machine; else files."""
    return _matching([*_presets(context.params.get("model")), *_kept_names(), "none"], incomplete, "file")


@_without_errors
def kept_voices(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Kept voices."""
    given = context.params.get(parameter.name or "") if parameter.nargs == -1 else None
    return _matching([name for name in _kept_names() if name not in (given or ())], incomplete)


@_without_errors
def shown_voices(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """The completions of `voices` without `none`."""
    return _matching([*_presets(context.params.get("model")), *_kept_names()], incomplete, "file")


@_without_errors
def languages(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Names and codes of languages."""
    from ..text.languages_and_voices import CODES

    return _matching(["auto", *CODES.values(), *CODES], incomplete)


def subtypes(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """The common subtypes of libsndfile."""
    return _matching(["PCM_16", "PCM_24", "PCM_32", "PCM_S8", "PCM_U8", "FLOAT", "DOUBLE", "ALAW", "ULAW"], incomplete)


def _model_names() -> list[str]:
    from ..models import local_models

    return [local_models.EMBEDDED, *local_models.ALIASES, *_cached_names()]


def _cached_names() -> list[str]:
    from ..models import local_models

    with contextlib.suppress(Exception):
        return [local_models.short_name(repo) for repo in local_models.cached_repos()]
    return []


def _presets(model: str | None) -> Iterator[str]:
    """Names of the voices of a model, or of every model on this machine."""
    from ..common import user_folders
    from ..common.json_fields import read_object
    from ..models import local_models
    from ..models.config.model import MAX_CONFIG_BYTES

    for name in [model] if model else [local_models.EMBEDDED, *_cached_names()]:
        with contextlib.suppress(Exception):
            folder = Path(user_folders.expand_home(name) or name)
            if name.lower() in (local_models.EMBEDDED, *local_models.ALIASES) or not folder.is_dir():
                folder = local_models.resolve_model(name).path
            config = read_object(folder / "config.json", MAX_CONFIG_BYTES)
            yield from map(str.lower, config.section("talker_config").section("spk_id").values)


def _kept_names() -> list[str]:
    """Names of the kept voices, taken from the names of their files; modules that read voices are not imported."""
    from ..common import user_folders

    with contextlib.suppress(Exception):
        found = (_VOICE_FILE.fullmatch(name) for name in os.listdir(user_folders.voices_folder() or os.devnull))
        return sorted(match[1] for match in found if match)
    return []
