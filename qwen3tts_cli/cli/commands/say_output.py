"""Choose and check the outputs of `say` and `codec decode`, before a model or a file is opened."""

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
from ...output import files as output_files
from ...output import formats
from ...output.distinct_files import check_outputs
from .. import names_and_paths

_OTHER_MODEL_FILES = ("generation_config.json", "model.safetensors.index.json", "voice.json")
# How aplay and ffplay name the subtypes of raw audio.
_RAW_NAMES = {"PCM_16": ("S16_LE", "s16le"), "ULAW": ("MU_LAW", "mulaw"), "ALAW": ("A_LAW", "alaw")}


class SayOutput:
    """The output of the audio of `say`.

    path: the file, `-` for stdout; None if audio is only played. audio: the format; None if `path` is None. plays:
    whether the audio device plays the audio. live: whether audio is written while it is generated.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        """given: the options of `say` by name. Raises UsageError, and OutputError if audio cannot be played."""
        self.path: str | None = given["output"]
        self.live: bool = given["stream"]
        self.plays: bool = given["play"]
        if self.plays:
            if reason := _why_not_played():
                raise OutputError(f"--play: {reason}")
        elif self.path is None:
            self._choose_without_output(given)
        if given["codes"] is not None and output_files.is_stdout(given["codes"]):
            raise UsageError(f"--codes {given['codes']}: needs a file of its own")
        check_outputs(_outputs(given, self.path), _inputs(given))
        self.rate: int = given["rate"]
        self.audio: formats.AudioFormat | None = None
        if self.path is not None:
            self.audio = audio_format(
                self.path,
                given["subtype"],
                given["raw"],
                given["audio_format"],
                given["default_format"],
                given["default_subtype"],
                given["rate"],
            )
        elif given["raw"] or given["audio_format"]:
            raise UsageError(f"{_format_option(given)} --play: nothing would be written, add -o")

    def _choose_without_output(self, given: dict[str, Any]) -> None:
        """Choose stdout as the output, or the audio device if stdout is a terminal."""
        if sys.stdout is None or not sys.stdout.isatty():
            self.path = "-"
        elif given["raw"] or given["audio_format"]:
            raise UsageError(f"{_format_option(given)}: audio is not written to a terminal, add -o FILE or pipe it")
        elif reason := _why_not_played():
            raise UsageError(f"audio is not written to a terminal and not played ({reason}), add -o FILE or pipe it")
        else:
            self.plays = True

    def player_hint(self) -> str | None:
        """A line that names programs to play raw audio from a pipe; None if the output is not raw audio in a pipe."""
        if self.audio is None or self.audio.container != "RAW" or not output_files.is_stdout(self.path or ""):
            return None
        if sys.stdout is None or not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            return None
        of_alsa, of_ffmpeg = _RAW_NAMES[self.audio.subtype]
        alsa = f"aplay -t raw -f {of_alsa} -r {self.rate} -c 1"
        ffmpeg = f"ffplay -f {of_ffmpeg} -ar {self.rate} -ch_layout mono -"
        return f"listen with: ... | {alsa}, or: ... | {ffmpeg}"

    def delay_note(self) -> str | None:
        """A note for a stream of Ogg Vorbis, whose first audio comes late; None for other outputs."""
        if not self.live or self.audio is None or (self.audio.container, self.audio.subtype) != ("OGG", "VORBIS"):
            return None
        return (
            "note: Ogg Vorbis is written in pages of some 3 s of audio, so playback begins late; Opus pages are short"
        )


def _why_not_played() -> str | None:
    from ...output import player

    return player.unavailable_reason()


def _format_option(given: dict[str, Any]) -> str:
    return "--raw" if given["raw"] else f"--audio-format {given['audio_format']}"


def audio_format(
    path: str,
    subtype: str | None,
    raw: bool = False,
    requested: str | None = None,
    default: str | None = None,
    default_subtype: str | None = None,
    rate: int = SAMPLE_RATE,
) -> formats.AudioFormat:
    """The format of an audio output.

    path: the output, `-` for stdout. rate: the sample rate in Hz. The other arguments: see formats.choose_format.

    Raises UsageError, also if the output is a terminal.
    """
    refuse_terminal(path, "audio")
    nameless = not os.path.splitext(path)[1] and (output_files.is_stdout(path) or output_files.is_special(path))
    return formats.choose_format(None if nameless else path, subtype, raw, rate, requested, default, default_subtype)


def refuse_terminal(path: str, what: str) -> None:
    """Raise UsageError if `path` is stdout and stdout is a terminal. what: names the binary data in the message."""
    if output_files.is_stdout(path) and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError(f"standard output: {what} is not written to a terminal, name a file or pipe it")


def model_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of the model or codec in a folder, as pairs (name, path) for check_outputs."""
    from ...models import hub_cache  # here, because `say --server` needs no model

    names = {*hub_cache.REQUIRED_FILES, *_OTHER_MODEL_FILES}
    with contextlib.suppress(OSError):
        names |= {name for name in os.listdir(folder) if name.startswith("model") and name.endswith(".safetensors")}
    return (("file of the model", folder / name) for name in sorted(names))


def _outputs(given: dict[str, Any], path: str | None) -> list[tuple[str, str | None]]:
    report = given["report"]
    table = given["timings"] and report not in ("-", "/dev/stderr")
    return [
        ("standard output" if path == "-" else "--output", path),
        ("--codes", given["codes"]),
        ("--json", "/dev/stderr" if report == "-" else report),
        ("--timings", "/dev/stderr" if table else None),
    ]


def _inputs(given: dict[str, Any]) -> Iterator[tuple[str, str | Path | None]]:
    yield ("standard input" if given["file"] == "-" else "--file"), given["file"]
    yield "--ref", given["ref"]
    if given["voice"] is not None:
        yield "--voice", voice_file(given["voice"])
    yield "configuration file", user_folders.config_file()
    if given["server"]:
        return  # the model is on another machine
    from ...models import local_models

    with contextlib.suppress(Qwen3TTSError):  # opening the model later reports a wrong name
        yield from model_files(local_models.resolve_model(names_and_paths.model(given["model"])).path)


def voice_file(voice: str) -> Path | None:
    """The path of a voice file or of a kept voice, which need not exist; None if there is no folder of kept voices."""
    if isinstance(meant := names_and_paths.voice(voice), Path):
        return meant
    folder = user_folders.voices_folder()
    return None if folder is None else folder / (voice.strip().lower() + user_folders.VOICE_SUFFIX)
