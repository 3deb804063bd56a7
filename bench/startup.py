"""Time from the start of a process to the first byte of `say --stream --raw`, and its peak memory: medians.

    python bench/startup.py [--runs N] [MODEL[:PRECISION] ...]     default: the embedded voice

The first run of each warms the page cache, and packs weights where there are none; it is not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

TEXT = "Hello from two cores, and good morning."


def command(model: str) -> list[str]:
    name, _, precision = model.partition(":")
    chosen = ["-m", name] + (["--precision", precision] if precision else [])
    return [sys.executable, "-m", "qwen3tts_cli", "say", "--stream", "--raw", "-q", "--seed", "1", *chosen, TEXT]


def first_byte_ms(arguments: list[str]) -> float:
    """Milliseconds until the first byte is in the pipe; the process is then ended."""
    start = time.perf_counter()
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        got = os.read(process.stdout.fileno(), 1)
        elapsed = time.perf_counter() - start
        process.kill()
    if not got:
        sys.exit(f"no audio from {' '.join(arguments)}")
    return 1000 * elapsed


def peak_mb(arguments: list[str]) -> float:
    """Most memory that was resident while the whole text was spoken, mapped pages counted, in MB."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit code {process.returncode} from {' '.join(arguments)}")
    return usage.ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["pocket"])
    parser.add_argument("--runs", type=int, default=10)
    given = parser.parse_args()
    for model in given.models:
        arguments = command(model)
        first_byte_ms(arguments)
        times = sorted(first_byte_ms(arguments) for _ in range(given.runs))
        peak = peak_mb([*arguments[:-1], "--max-frames", "50", "--retries", "0", TEXT])
        median = statistics.median(times)
        print(
            f"{model}: first byte {median:.0f} ms ({times[0]:.0f} .. {times[-1]:.0f}), peak {peak:.0f} MB", flush=True
        )


if __name__ == "__main__":
    main()
