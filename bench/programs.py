"""Measure any program that writes a WAV file, from the start of its process to its end, opening a model included.

    python bench/programs.py [--text TEXT] [--rounds N] [--json FILE] COMMAND

COMMAND is one argument, split into words as a shell does, but no shell runs it. In its words {text} becomes the text,
and {out} the name of the WAV file to write. Prints a Markdown table of the runs and of their medians.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import soundfile

from qwen3tts_cli.bench.machine import maxrss_bytes

TEXT = "The quick brown fox jumps over the lazy dog, and nobody in the village was very much surprised by it."


@dataclass(frozen=True)
class ProgramRun:
    """One run of a command, from its start to its end. peak_rss_mb: of its largest process, in 10^6 bytes."""

    command: str
    wall_seconds: float
    audio_seconds: float
    rtf: float
    peak_rss_mb: float


def split_words(command: str) -> list[str]:
    """The words of a command. Exits with a message where they cannot be split or none has {out}."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        sys.exit(f"{command}: {error}")
    if not any("{out}" in word for word in words):
        sys.exit(f"{command}: needs {{out}}, the WAV file to write")
    return words


def run_once(command: str, text: str) -> ProgramRun:
    """Run a command once. Exits with a message where it fails or writes no audio."""
    words = split_words(command)
    with tempfile.TemporaryDirectory(prefix="qwen3tts-") as folder:
        out = os.path.join(folder, "out.wav")
        wall, peak = _run([word.replace("{text}", text).replace("{out}", out) for word in words])
        seconds = _audio_seconds(out, words[0])
    return ProgramRun(command, wall, seconds, wall / seconds, peak * 1e-6)


def _run(words: list[str]) -> tuple[float, float]:
    """(seconds of the clock, largest resident set in bytes) of a process and of those it waited for."""
    start = time.perf_counter()
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.exit(f"{words[0]}: {error.strerror or error}")
    with _kill_at_error(process):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{words[0]}: ended with exit code {process.returncode}")
    return wall, maxrss_bytes(usage)


@contextlib.contextmanager
def _kill_at_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the process and its children where the block raises, as at an interrupt."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _audio_seconds(path: str, name: str) -> float:
    try:
        found = soundfile.info(path)
    except (OSError, RuntimeError):
        sys.exit(f"{name}: wrote no audio to {{out}}")
    if not found.frames:
        sys.exit(f"{name}: wrote an audio file without samples")
    return float(found.duration)


def markdown(runs: list[ProgramRun]) -> list[str]:
    """The runs of one command and their medians, as lines of a Markdown table."""
    names = ("wall_seconds", "audio_seconds", "rtf", "peak_rss_mb")
    cells = [["run", "wall s", "audio s", "RTF", "RSS MB"]]
    cells += [[str(i + 1), *(f"{getattr(row, name):.3g}" for name in names)] for i, row in enumerate(runs)]
    cells.append(["median", *(f"{median(getattr(row, name) for row in runs):.3g}" for name in names)])
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return [f"`{runs[0].command}`", "", lines[0], "|---" * len(cells[0]) + "|", *lines[1:]]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", help="the command with {text} and {out}, as one argument")
    parser.add_argument("--text", default=TEXT, help="what {text} is; default: a sentence")
    parser.add_argument("--rounds", type=int, default=5, help="number of runs; default: 5")
    parser.add_argument("--json", metavar="FILE", help="also write the runs as JSON")
    given = parser.parse_args(arguments)
    split_words(given.command)
    runs = []
    for number in range(max(1, given.rounds)):
        print(f"run {number + 1} of {given.rounds}", file=sys.stderr)
        runs.append(run_once(given.command, given.text))
    if given.json is not None:
        report = {"commands": [asdict(row) for row in runs]}
        Path(given.json).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print("\n".join(markdown(runs)))


if __name__ == "__main__":
    main(sys.argv[1:])
