"""Measure this machine and write the tables into bench/RESULTS.md, in place of older ones of the same kind and state.

    python bench/record.py [--file FILE] [option of bench/measure.py ...]

Runs bench/measure.py three times: random weights of 0.6B in every precision, of 1.7B, and the embedded voice. Each run
gets the options: `--frames 4 --rounds 1` is a short try.
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

FOLDER = Path(__file__).parent
RUNS = {
    "0.6B": ["--precision", "bf16,bf16-plain,int8,int4", "--batch", "1,8"],
    "1.7B": ["--synthetic", "1.7b", "--precision", "int8,int4", "--batch", "1"],
    "Embedded voice": ["-m", "pocket", "--batch", "1", "--frames", "40"],
}
NEAR_NS = 100  # a barrier shorter than this: the cores of the threads share a cache
BANDWIDTH_SHARE, PEAK_SHARE, OTHER_MS = 0.88, 0.80, 2.0  # the aim for a frame: shares of the bounds, and other work


class Run(NamedTuple):
    """command: as a user would type it. shown: the Markdown that it printed. report: its JSON."""

    command: str
    shown: str
    report: dict[str, Any]


def measure(options: list[str]) -> Run:
    """Run bench/measure.py; its progress goes to stderr. Exits with its exit code where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bench.json")
        command = [sys.executable, str(FOLDER / "measure.py"), *options, "--json", str(file)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        shown = shlex.join(["python", "bench/measure.py", *options])
        return Run(shown, done.stdout.strip(), json.loads(file.read_text("utf-8")))


def bound_ms(machine: dict[str, Any], row: dict[str, Any], bandwidth: float = 1, peak: float = 1) -> float:
    """Milliseconds for the bytes and operations of a frame of the batch, at these shares of bandwidth and peak."""
    operations = row["decoder_gflops"] * row["decoder_ms"] * 1e-3  # GFLOP
    read = row["lm_bytes_per_frame"] * 1e-9 / (bandwidth * machine["read_gbps"])
    return 1e3 * (read + operations / (peak * machine[f"{row['decoder_precision']}_gflops"]))


def pipeline_table(report: dict[str, Any]) -> list[str]:
    """The time of a frame of one stream against the aim, for each precision; lines of Markdown."""
    lines = ["| precision | frame ms | bound ms | ratio |", "|---|---|---|---|"]
    for row in report["rows"]:
        if row["batch"] == 1:
            bound = bound_ms(report["machine"], row, BANDWIDTH_SHARE, PEAK_SHARE) + OTHER_MS
            lines.append(
                f"| {row['precision']} | {row['frame_ms']:.1f} | {bound:.1f} | {row['frame_ms'] / bound:.2f} |"
            )
    return lines


def state(shown: str, threads: int) -> str:
    """Whether the cores of the threads share a cache, "near", or not, "far". shown: the Markdown of a run."""
    found = re.search(r"barrier of all threads (\d+) ns", shown)
    if found is None or threads == 1:
        return "one thread"
    return "near" if int(found[1]) < NEAR_NS else "far"


def section(runs: dict[str, Run]) -> tuple[str, str]:
    """(heading, text) of the machine's section."""
    first = next(iter(runs.values()))
    machine = first.report["machine"]
    where = state(first.shown, machine["threads"])
    heading = f"{machine['cpu']}, {machine['threads']} threads, {where} ({machine['isa']})"
    lines = []
    for name, run in runs.items():
        lines += [f"### {name}", "", f"`{run.command}`", "", run.shown, ""]
        if name == "Embedded voice":
            row = run.report["rows"][0]
            bound = bound_ms(run.report["machine"], row)
            lines += [
                f"The bytes and operations of a frame take {bound:.2f} ms at the bounds above ({row['precision']});",
                f"the measured frame takes {row['frame_ms']:.2f} ms, {row['frame_ms'] / bound:.2f} times that.",
                "",
            ]
        else:
            lines += [
                f"One stream against its bound: bytes at {BANDWIDTH_SHARE:.2f} of the bandwidth, the direct operations",
                f"of the decoder at {PEAK_SHARE:.2f} of the peak, and {OTHER_MS:.0f} ms:",
                "",
                *pipeline_table(run.report),
                "",
            ]
    return heading, "\n".join(lines)


def with_section(results: str, heading: str, text: str) -> str:
    """The text of RESULTS.md with the section of this heading in place of an older one, or after the last section."""
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
    file = FOLDER / "RESULTS.md"
    if arguments[:1] == ["--file"] and len(arguments) > 1:
        file, arguments = Path(arguments[1]), arguments[2:]
    heading, text = section({name: measure([*options, *arguments]) for name, options in RUNS.items()})
    print(f"## {heading}\n\n{text}")
    results = with_section(file.read_text("utf-8") if file.exists() else "# Measurements\n", heading, text)
    whole = file.with_name(file.name + ".new")
    whole.write_text(results, "utf-8")
    whole.replace(file)


if __name__ == "__main__":
    main(sys.argv[1:])
