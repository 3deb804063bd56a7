"""Any program that writes a WAV file, by the same clock: the reference package, other engines, this one as a whole."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError, UsageError
from .machine import maxrss_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = "The quick brown fox jumps over the lazy dog, and nobody in the village was very much surprised by it."


@dataclass(frozen=True)
class CommandRow:
    """One run of a command: from its start to its end, opening the model included. peak_rss_mb: of its largest process,
    in 10^6 bytes."""

    command: str
    wall_seconds: float
    audio_seconds: float
    rtf: float
    peak_rss_mb: float


def words_of(command: str) -> list[str]:
    """The words of a command, split as a shell does; it needs {out} and may have {text}. Raises UsageError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command: {error}") from None
    if not any("{out}" in word for word in words):
        raise UsageError("--command: needs {out}, the WAV file to write")
    return words


def run(command: str, text: str) -> CommandRow:
    """Run a command once. Raises InputError where it fails or writes no audio."""
    words = words_of(command)
    with tempfile.TemporaryDirectory(prefix="qwen3tts-") as folder:
        out = os.path.join(folder, "out.wav")
        filled = [word.replace("{text}", text).replace("{out}", out) for word in words]
        wall, peak = _run(filled)
        seconds = _seconds(out, words[0])
    return CommandRow(command, wall, seconds, wall / seconds, peak * 1e-6)


def _run(words: list[str]) -> tuple[float, float]:
    """Seconds of the clock and most bytes of memory of a process and those it waited for."""
    start = time.perf_counter()
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        raise InputError(f"{words[0]}: {error.strerror or error}") from None
    with _ended(process):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if process.returncode:
        raise InputError(f"{words[0]}: ended with exit code {process.returncode}")
    return wall, maxrss_bytes(usage)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the process and its children where the block is left early."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _seconds(path: str, name: str) -> float:
    import soundfile

    try:
        found = soundfile.info(path)
    except (OSError, RuntimeError):
        raise InputError(f"{name}: wrote no audio to {{out}}") from None
    if not found.frames:
        raise InputError(f"{name}: wrote audio of no length")
    return float(found.duration)


def table(rows: list[CommandRow], markdown: bool) -> list[str]:
    """The runs of one command, and their medians."""
    from statistics import median

    names = ("wall_seconds", "audio_seconds", "rtf", "peak_rss_mb")
    cells = [["run", "wall s", "audio s", "RTF", "RSS MB"]]
    cells += [[str(i + 1), *(f"{getattr(row, name):.3g}" for name in names)] for i, row in enumerate(rows)]
    cells.append(["median", *(f"{median(getattr(row, name) for row in rows):.3g}" for name in names)])
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        return [f"`{rows[0].command}`", "", lines[0], "|---" * len(cells[0]) + "|", *lines[1:]]
    return [rows[0].command, *("  ".join(cell.rjust(8) for cell in row) for row in cells)]
