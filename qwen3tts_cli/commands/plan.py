"""Where the output of one `say` goes: decided, and refused, before a model or a file is opened."""

from __future__ import annotations

import os
import stat
import sys
from typing import Any

from .. import outputs, play, sinks
from ..errors import OutputError, UsageError

SAMPLE_RATE = 24000


class Plan:
    """path: the audio output, `-` for stdout, None where it is only played; audio: its format; plays; live."""

    def __init__(self, given: dict[str, Any]) -> None:
        _check_names(given)
        self.path: str | None = given["output"]
        self.live: bool = given["stream"]
        self.plays: bool = given["play"]
        if self.plays:
            if reason := play.why_not():
                raise OutputError(f"--play: {reason}")
        elif self.path is None:
            self._without_output(given["raw"])
        self.audio: sinks.AudioFormat | None = None
        if self.path is not None:
            self.audio = self._format(self.path, given["subtype"], given["raw"])
        elif given["raw"]:
            raise UsageError("--raw --play: nothing would be written, add -o")

    def _without_output(self, raw: bool) -> None:
        if sys.stdout is None or not sys.stdout.isatty():
            self.path = "-"
        elif raw:
            raise UsageError("raw audio is not written to a terminal, add -o FILE or pipe it")
        elif reason := play.why_not():
            raise UsageError(f"audio is not written to a terminal and not played ({reason}), add -o FILE or pipe it")
        else:
            self.plays = True

    def _format(self, path: str, subtype: str | None, raw: bool) -> sinks.AudioFormat:
        to_stdout = outputs.is_stdout(path)
        if to_stdout and sys.stdout is not None and sys.stdout.isatty():
            raise UsageError(f"-o {path}: audio is not written to a terminal, name a file or pipe it")
        special = outputs.is_special(path)
        nameless = to_stdout or (special and not os.path.splitext(path)[1])
        return sinks.choose_format(None if nameless else path, subtype, raw, SAMPLE_RATE)

    def player_hint(self) -> str | None:
        """How to listen to raw audio, where it goes into a pipe and nothing in it says what it is."""
        if self.audio is None or self.audio.container != "RAW" or not outputs.is_stdout(self.path or ""):
            return None
        if sys.stdout is None or not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            return None
        alsa = f"aplay -t raw -f S16_LE -r {SAMPLE_RATE} -c 1"
        ffmpeg = f"ffplay -f s16le -ar {SAMPLE_RATE} -ch_layout mono -"
        return f"listen with: ... | {alsa}, or: ... | {ffmpeg}"


def _check_names(given: dict[str, Any]) -> None:
    files: dict[str, str] = {}
    for option, key, dash in (("--output", "output", True), ("--codes", "codes", False), ("--json", "report", True)):
        path = given[key]
        if path is None:
            continue
        if not path or "\0" in path:
            raise UsageError(f"{option}: {'an empty name' if not path else 'a name with a NUL character'}")
        if outputs.is_stdout(path):
            if not dash:
                raise UsageError(f"{option} {path}: needs a file of its own")
        elif not outputs.is_special(path):
            real = os.path.realpath(path)
            if real in files:
                raise UsageError(f"{option} {path}: is also the file of {files[real]}")
            files[real] = option
