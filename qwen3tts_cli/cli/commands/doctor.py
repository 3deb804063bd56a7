"""`qwen3tts doctor`: shows the machine, the kernels that the engine chooses on it, and what is missing."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from typing import Any

import click

from ... import __version__
from ...bench import advice
from ...bench.host import processor
from ...common import machine
from ...errors import Qwen3TTSError
from ...models import hub_cache, local_models
from ...output import player
from .. import options, settings


@click.command()
@options.json_switch("Print a JSON object instead of text.")
def doctor(as_json: bool) -> None:
    """Show what this machine has and what is missing.

    Shows the processor and the kernels chosen for it, memory, Python packages, settings and models.

    \b
    Examples:
      qwen3tts doctor
      qwen3tts doctor --json
    """
    facts = _facts()
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    shown = {**facts, "flags": " ".join(facts["flags"]) or "-", "kernels": _by_instruction_set(facts["kernels"])}
    for name, value in shown.items():
        lines = _lines(value)
        click.echo(f"{name:12}{lines[0] if lines else '-'}")
        for line in lines[1:]:
            click.echo(" " * 12 + line)


def _by_instruction_set(kernels: str | None) -> list[str]:
    """Lines for the text of engine.cpu.kernels_text: one for each instruction set, then one for the build."""
    if kernels is None:  # the engine cannot be loaded
        return []
    from ...engine.cpu import parse_kernels_text

    entries, build = parse_kernels_text(kernels)
    return [*(f"{isa}: {' '.join(names)}" for isa, names in entries.items()), f"built with: {build}"]


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        items = {key: ", ".join(item) if isinstance(item, list) else item for key, item in value.items()}
        return [f"{key}: {'-' if item in (None, '') else item}" for key, item in items.items()]
    if isinstance(value, list):
        return [
            " ".join(f"{item}" for item in each.values()) if isinstance(each, dict) else str(each) for each in value
        ]
    return ["-" if value is None else str(value)]


def _facts() -> dict[str, Any]:
    missing: list[str] = []
    cache = hub_cache.cache_folder()
    facts: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        **_engine(missing),
        "cores": _cores(),
        "memory_gb": _memory(),
        "packages": _packages(missing),
        "config": _config(missing),
        "cache": None if cache is None else str(cache),
        "offline": hub_cache.is_offline(),
        "models": _models(missing),
        "bench": advice.lines(),
    }
    return {
        **facts,
        "check": "qwen3tts models check: compares what this machine computes with recorded answers",
        "missing": missing,
    }


def _engine(missing: list[str]) -> dict[str, Any]:
    try:
        from ...engine.cpu import cpu_report

        return {**cpu_report(), "threads": machine.default_threads()}
    except (ImportError, OSError, Qwen3TTSError) as error:
        missing.append(f"the engine: {error}; build it with `make build`, or reinstall the package")
        return {"cpu": platform.machine(), "flags": [], "kernels": None, "threads": None}


def _cores() -> dict[str, float | None]:
    """The facts about the cores. usable: the cores that this process may use; all: the cores of the machine. limit: the
    CPU limit of this process's control group, in cores. stolen_percent: the share of the busy time since the machine
    started in which the host of a virtual machine ran other machines."""
    found: dict[str, float | None] = {"usable": machine.cores(), "all": os.cpu_count()}
    limit, times = machine.cgroup_limit(), machine.cpu_times()
    if limit is not None:
        found["limit"] = round(limit, 2)
    if times and times.busy:
        found["stolen_percent"] = round(100 * times.stolen / times.busy, 1)
    return found


def _memory() -> dict[str, float]:
    found = {}
    for key, name in (("all", "SC_PHYS_PAGES"), ("free", "SC_AVPHYS_PAGES")):
        try:
            found[key] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf(name) / 1e9, 1)
        except (ValueError, OSError):
            continue  # macOS does not report free memory
    return found


def _packages(missing: list[str]) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("numpy", "soundfile", "huggingface_hub", "regex", "sentencex", "unicode-rbnf", "sounddevice"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not there"
            if name != "sounddevice":
                missing.append(f"the Python package {name}: reinstall qwen3tts-cli")
    if reason := player.unavailable_reason():
        missing.append(f"playing: {reason}")
    if found["soundfile"] != "not there":
        found["libsndfile"] = _version_of(_libsndfile, missing, "audio formats other than WAV")
    return found


def _libsndfile() -> str:
    import soundfile

    return soundfile.__libsndfile_version__


def _version_of(version: Callable[[], str], missing: list[str], what: str) -> str:
    try:
        return version()
    except (ImportError, OSError) as error:
        missing.append(f"{what}: {error}")
        return "not there"


def _config(missing: list[str]) -> dict[str, Any]:
    try:
        keys = list(settings.load())
    except Qwen3TTSError as error:
        missing.append(f"a valid configuration file: {error}")
        keys = []
    file = settings.path()
    return {"path": None if file is None else str(file), "keys": keys}


def _models(missing: list[str]) -> list[dict[str, str]]:
    rows = [{"name": local_models.EMBEDDED, "state": "ready", "path": str(local_models.embedded_path())}]
    for repo in local_models.cached_repos():
        name, path = local_models.short_name(repo), hub_cache.snapshot(repo)
        lacks = hub_cache.missing_files(path) if path is not None else []
        if lacks:
            missing.append(f"{lacks[0]} of model {name}: qwen3tts models pull {name}")
        rows.append({"name": name, "state": "partial" if lacks else "ready", "path": str(path)})
    if len(rows) == 1:
        missing.append("the large models: qwen3tts models pull 0.6b")
    return rows
