"""Measure the time from the start of `say --stream --raw` to its first byte, and the peak memory; prints medians.

    python bench/startup.py [--runs N] [--first | --server] [MODEL[:PRECISION] ...]     default: the embedded voice

Without --first, a run that is not counted packs the weights and fills the page cache. With --first, every run has an
empty cache folder, as the first run on a machine has, and the files of the model in the page cache; one more run, which
speaks 4 s, measures the time until the packed weights are written. With --server, `qwen3tts serve` has opened the model
and spoken once, and `say --server` is measured, as raw audio and as WAV; its peak memory is that of the client.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from qwen3tts_cli.cli import names_and_paths
from qwen3tts_cli.models import hub_cache, local_models

TEXT = "Hello from two cores, and good morning."
_READ_BYTES = 16 << 20


def say(*options: str) -> list[str]:
    return [sys.executable, "-m", "qwen3tts_cli", "say", "--stream", "-q", "--seed", "1", *options]


def command(model: str) -> list[str]:
    name, _, precision = model.partition(":")
    chosen = ["-m", name] + (["--precision", precision] if precision else [])
    return [*say("--raw"), *chosen, TEXT]


@contextlib.contextmanager
def empty_cache() -> Iterator[dict[str, str]]:
    """Environment variables with an empty cache folder, on the file system of the real one, and the same models."""
    real = os.environ.get("XDG_CACHE_HOME", "")
    place = Path(real) if os.path.isabs(real) else Path.home() / ".cache"
    place.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="qwen3tts-first-run-", dir=place)
    try:
        yield {**os.environ, "HF_HUB_CACHE": str(hub_cache.cache_folder()), "XDG_CACHE_HOME": folder}
    finally:
        shutil.rmtree(folder)


def warm_pages(model: str) -> None:
    """Read the files of a model, so that they are in the page cache."""
    for path in local_models.resolve_model(names_and_paths.model(model.partition(":")[0])).path.rglob("*"):
        if path.is_file():
            with open(path, "rb", buffering=0) as file:
                while file.read(_READ_BYTES):
                    pass


@contextlib.contextmanager
def warm_server(model: str) -> Iterator[str]:
    """The address of a `qwen3tts serve` that has spoken once."""
    name, _, precision = model.partition(":")
    chosen = ["-m", name] + (["--precision", precision] if precision else [])
    with tempfile.TemporaryDirectory(prefix="qwen3tts-") as folder:
        address = f"unix:{folder}/socket"
        arguments = [sys.executable, "-m", "qwen3tts_cli", "serve", "--unix", address.removeprefix("unix:"), *chosen]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                if not any(line.startswith("ready: ") for line in iter(process.stderr.readline, "")):
                    sys.exit(f"no server from {' '.join(arguments)}")
                whole_run([*say("--server", address), TEXT])
                yield address
            finally:
                process.kill()


def first_byte_ms(arguments: list[str], environment: dict[str, str] | None = None) -> float:
    """Milliseconds until the first byte is in the pipe; then kills the process."""
    start = time.perf_counter()
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        got = os.read(process.stdout.fileno(), 1)
        elapsed = time.perf_counter() - start
        process.kill()
    if not got:
        sys.exit(f"no audio from {' '.join(arguments)}")
    return 1000 * elapsed


def whole_run(arguments: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """(seconds of a run to its end, its largest resident set in MiB, mapped pages included)."""
    start = time.perf_counter()
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit code {process.returncode} from {' '.join(arguments)}")
    return time.perf_counter() - start, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)


def first_run(model: str, runs: int) -> str:
    """Measure the first run of a model; returns a line."""
    arguments = command(model)
    warm_pages(model)
    times = []
    for _ in range(runs):
        with empty_cache() as environment:
            times.append(first_byte_ms(arguments, environment))
    with empty_cache() as environment:
        seconds, peak = whole_run(long(arguments), environment)
    return f"{summary(times)}, peak {peak:.0f} MB, {seconds:.1f} s to the end of the writing"


def later_run(model: str, runs: int) -> str:
    """Measure runs with packed weights; returns a line."""
    arguments = command(model)
    whole_run(long(arguments))
    times = [first_byte_ms(arguments) for _ in range(runs)]
    return f"{summary(times)}, peak {whole_run(long(arguments))[1]:.0f} MB"


def with_server(model: str, runs: int) -> str:
    """Measure runs of `say --server`; returns a line."""
    parts = []
    with warm_server(model) as address:
        for name, options in (("raw", ["--raw"]), ("WAV", [])):
            arguments = [*say("--server", address, *options), TEXT]
            times = [first_byte_ms(arguments) for _ in range(runs)]
            parts.append(f"{name} {summary(times)}, peak {whole_run(long(arguments))[1]:.0f} MB")
    return "; ".join(parts)


def long(arguments: list[str]) -> list[str]:
    """The arguments for a run that speaks 4 s."""
    return [*arguments[:-1], "--max-frames", "50", "--retries", "0", TEXT]


def summary(times: list[float]) -> str:
    """The median, least and largest of times in ms."""
    return f"first byte {statistics.median(times):.0f} ms ({min(times):.0f} .. {max(times):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["pocket"])
    parser.add_argument("--runs", type=int, default=10)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--first", action="store_true", help="runs with an empty cache folder")
    kinds.add_argument("--server", action="store_true", help="runs of say --server")
    given = parser.parse_args()
    for model in given.models:
        measure = first_run if given.first else with_server if given.server else later_run
        print(f"{model}: {measure(model, given.runs)}", flush=True)


if __name__ == "__main__":
    main()
