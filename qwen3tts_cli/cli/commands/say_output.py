"""Where the outputs of a command go: decided, and refused, before a model or a file is opened."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...common import user_folders
from ...common.audio_constants import SAMPLE_RATE
from ...errors import OutputError, Qwen3TTSError, UsageError
from ...models import hub_cache
from ...output import files as output_files
from ...output import formats, player
from ...output.distinct_files import check_outputs
from .. import names_and_paths

_MODEL_FILES = (*hub_cache.REQUIRED_FILES, "generation_config.json", "model.safetensors.index.json", "voice.json")


class Plan:
    """path: the audio output, `-` for stdout, None where it is only played; audio: its format; plays; live."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.path: str | None = given["output"]
        self.live: bool = given["stream"]
        self.plays: bool = given["play"]
        if self.plays:
            if reason := player.why_not():
                raise OutputError(f"--play: {reason}")
        elif self.path is None:
            self._without_output(given)
        if given["codes"] is not None and output_files.is_stdout(given["codes"]):
            raise UsageError(f"--codes {given['codes']}: needs a file of its own")
        check_outputs(_written(given, self.path), _read(given))
        self.audio: formats.AudioFormat | None = None
        if self.path is not None:
            kinds = given["raw"], given["audio_format"], given["usual_format"], given["usual_subtype"]
            self.audio = audio_format(self.path, given["subtype"], *kinds)
        elif given["raw"] or given["audio_format"]:
            raise UsageError(f"{_kind(given)} --play: nothing would be written, add -o")

    def _without_output(self, given: dict[str, Any]) -> None:
        if sys.stdout is None or not sys.stdout.isatty():
            self.path = "-"
        elif given["raw"] or given["audio_format"]:
            raise UsageError(f"{_kind(given)}: audio is not written to a terminal, add -o FILE or pipe it")
        elif reason := player.why_not():
            raise UsageError(f"audio is not written to a terminal and not played ({reason}), add -o FILE or pipe it")
        else:
            self.plays = True

    def player_hint(self) -> str | None:
        """How to listen to raw audio, where it goes into a pipe and nothing in it says what it is."""
        if self.audio is None or self.audio.container != "RAW" or not output_files.is_stdout(self.path or ""):
            return None
        if sys.stdout is None or not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            return None
        alsa = f"aplay -t raw -f S16_LE -r {SAMPLE_RATE} -c 1"
        ffmpeg = f"ffplay -f s16le -ar {SAMPLE_RATE} -ch_layout mono -"
        return f"listen with: ... | {alsa}, or: ... | {ffmpeg}"

    def late_sound(self) -> str | None:
        """That the first sound of a stream comes late, where its format cannot do better."""
        if not self.live or self.audio is None or (self.audio.container, self.audio.subtype) != ("OGG", "VORBIS"):
            return None
        return "note: Ogg Vorbis is written in pages of some 3 s, the first sound comes after one; Opus has short pages"


def _kind(given: dict[str, Any]) -> str:
    return "--raw" if given["raw"] else f"--audio-format {given['audio_format']}"


def audio_format(
    path: str,
    subtype: str | None,
    raw: bool = False,
    named: str | None = None,
    usual: str | None = None,
    usual_subtype: str | None = None,
) -> formats.AudioFormat:
    """The format of an audio output, `-` being stdout; the rest as of sinks.choose_format. Raises UsageError."""
    refuse_terminal(path, "audio")
    nameless = not os.path.splitext(path)[1] and (output_files.is_stdout(path) or output_files.is_special(path))
    return formats.choose_format(None if nameless else path, subtype, raw, SAMPLE_RATE, named, usual, usual_subtype)


def refuse_terminal(path: str, what: str) -> None:
    """Raise UsageError where an output is a terminal, which is no place for binary data."""
    if output_files.is_stdout(path) and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError(f"standard output: {what} is not written to a terminal, name a file or pipe it")


def model_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a model or codec, as inputs of check_outputs."""
    names = {*_MODEL_FILES}
    with contextlib.suppress(OSError):
        names |= {name for name in os.listdir(folder) if name.startswith("model") and name.endswith(".safetensors")}
    return (("file of the model", folder / name) for name in sorted(names))


def _written(given: dict[str, Any], path: str | None) -> list[tuple[str, str | None]]:
    report = given["report"]
    table = given["timings"] and report not in ("-", "/dev/stderr")
    return [
        ("standard output" if path == "-" else "--output", path),
        ("--codes", given["codes"]),
        ("--json", "/dev/stderr" if report == "-" else report),
        ("--timings", "/dev/stderr" if table else None),
    ]


def _read(given: dict[str, Any]) -> Iterator[tuple[str, str | Path | None]]:
    yield ("standard input" if given["file"] == "-" else "--file"), given["file"]
    yield "--ref", given["ref"]
    if given["voice"] is not None:
        yield "--voice", _voice_file(given["voice"])
    yield "configuration file", user_folders.config_file()
    with contextlib.suppress(Qwen3TTSError):  # whoever opens the model says what is wrong with its name
        yield from model_files(hub_cache.resolve_model(names_and_paths.model(given["model"])).path)


def _voice_file(voice: str) -> Path | None:
    """The file that a voice comes from, if there is one."""
    if isinstance(meant := names_and_paths.voice(voice), Path):
        return meant
    folder = user_folders.voices_folder()
    return None if folder is None else folder / (voice.strip().lower() + user_folders.VOICE_SUFFIX)
