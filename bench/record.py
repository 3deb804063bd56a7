"""Measure this machine and put the tables into bench/RESULTS.md, in place of those of the same kind and state.

    python bench/record.py [--file FILE] [option of `qwen3tts bench` ...]

Three runs of `qwen3tts bench`: random weights of 0.6B in every precision, of 1.7B, and the embedded voice. Options are
passed on to all of them: `--frames 4 --rounds 1` is a short try.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).with_name("RESULTS.md")
RUNS = {
    "0.6B": ["--precision", "bf16,bf16-plain,int8,int4", "--batch", "1,8"],
    "1.7B": ["--synthetic", "1.7b", "--precision", "int8,int4", "--batch", "1"],
    "Embedded voice": ["-m", "pocket", "--batch", "1", "--frames", "40"],
}
NEAR_NS = 100  # threads that meet sooner have a cache in common
OF_BANDWIDTH, OF_PEAK, OTHER_MS = 0.88, 0.80, 2.0  # what a frame may take


class Run(NamedTuple):
    """command: as it would be typed. shown: what it printed, as Markdown. report: its JSON."""

    command: str
    shown: str
    report: dict[str, Any]


def measure(options: list[str]) -> Run:
    """Run `qwen3tts bench`; its progress goes to stderr."""
    words = ["bench", "--markdown", *options]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bench.json")
        command = [sys.executable, "-m", "qwen3tts_cli", *words, "--json", str(file)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        return Run(shlex.join(["qwen3tts", *words]), done.stdout.strip(), json.loads(file.read_text("utf-8")))


def bound_ms(machine: dict[str, Any], row: dict[str, Any], bandwidth: float = 1, peak: float = 1) -> float:
    """Milliseconds of a frame of the batch at these shares of the bandwidth and of the arithmetic."""
    operations = row["decoder_gflops"] * row["decoder_ms"] * 1e-3  # GFLOP
    read = row["lm_bytes_per_frame"] * 1e-9 / (bandwidth * machine["read_gbps"])
    return 1e3 * (read + operations / (peak * machine[f"{row['decoder_precision']}_gflops"]))


def pipeline_table(report: dict[str, Any]) -> list[str]:
    """The time of the whole pipeline, one stream, against its bound."""
    lines = ["| precision | frame ms | bound ms | ratio |", "|---|---|---|---|"]
    for row in report["rows"]:
        if row["batch"] == 1:
            bound = bound_ms(report["machine"], row, OF_BANDWIDTH, OF_PEAK) + OTHER_MS
            lines.append(
                f"| {row['precision']} | {row['frame_ms']:.1f} | {bound:.1f} | {row['frame_ms'] / bound:.2f} |"
            )
    return lines


def state(shown: str) -> str:
    """Whether the cores that ran the threads share a cache."""
    found = re.search(r"threads meet in (\d+) ns", shown)
    if found is None:
        return "one thread"
    return "near" if int(found[1]) < NEAR_NS else "far"


def section(runs: dict[str, Run]) -> tuple[str, str]:
    """(heading, text) of the machine's section."""
    first = next(iter(runs.values()))
    machine = first.report["machine"]
    heading = f"{machine['cpu']}, {machine['threads']} threads, {state(first.shown)} ({machine['isa']})"
    lines = []
    for name, run in runs.items():
        lines += [f"### {name}", "", f"`{run.command}`", "", run.shown, ""]
        if name == "Embedded voice":
            row = run.report["rows"][0]
            bound = bound_ms(run.report["machine"], row)
            lines += [
                f"A frame's bytes and operations take {bound:.2f} ms at the speeds above ({row['precision']});",
                f"measured {row['frame_ms']:.2f} ms, {row['frame_ms'] / bound:.2f} times that.",
                "",
            ]
        else:
            lines += [
                f"The whole pipeline, one stream, against its bound: bytes at {OF_BANDWIDTH:.2f} of the bandwidth, the",
                f"decoder's direct operations at {OF_PEAK:.2f} of the peak, and {OTHER_MS:.0f} ms:",
                "",
                *pipeline_table(run.report),
                "",
            ]
    return heading, "\n".join(lines)


def replaced(results: str, heading: str, text: str) -> str:
    """Results with the section of this heading in place of an older one, or after the last of them."""
    begin, end = f"<!-- measured: {heading} -->", "<!-- end of measured -->"
    new = f"{begin}\n\n## {heading}\n\n{text.strip()}\n\n{end}"
    at = results.find(begin)
    if at >= 0:
        return results[:at] + new + results[results.index(end, at) + len(end) :]
    last = results.rfind(end)
    if last < 0:
        return f"{results.rstrip()}\n\n{new}\n"
    last += len(end)
    return f"{results[:last]}\n\n{new}{results[last:]}"


def main(arguments: list[str]) -> None:
    file = RESULTS
    if arguments[:1] == ["--file"] and len(arguments) > 1:
        file, arguments = Path(arguments[1]), arguments[2:]
    heading, text = section({name: measure([*options, *arguments]) for name, options in RUNS.items()})
    print(f"## {heading}\n\n{text}")
    results = replaced(file.read_text("utf-8") if file.exists() else "# Measurements\n", heading, text)
    whole = file.with_name(file.name + ".new")
    whole.write_text(results, "utf-8")
    whole.replace(file)


if __name__ == "__main__":
    main(sys.argv[1:])
