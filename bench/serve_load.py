"""Measure a server under load, on this machine alone: first audio, gaps of players, speed, and the share of Python.

    python bench/serve_load.py [-m MODEL] [--precision P] [--clients LIST] [--rate LIST] [option ...]
    python bench/serve_load.py --check [-m MODEL] [--precision P]

Starts `qwen3tts serve` (bench/load_server.py), and asks it for real texts as pcm from another process
(bench/load_client.py). --clients: closed loop: for each number so many clients, each of which asks again when its
answer is complete, or with --listen when its player has played it. --rate: open loop: for each number so many requests
per second at random moments. --check: as many listening clients as `qwen3tts bench` in the same run allows; exits with
code 1 where a player has a gap, see docs/bench.md. Prints Markdown; --json writes the rows, --plot draws them (needs
matplotlib).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qwen3tts_cli.common.machine import default_threads

FOLDER = Path(__file__).parent
MOST_STREAMS = 64
SMALL_SHARE = 0.6  # of the streams of the largest batch that is fast enough, for the embedded voice
BATCHES = {"pocket": "1,8,32,64"}
USUAL_BATCHES = "1,2,3,4,6,8"
FRAME_MS = 80.0
TEXTS = (
    "The train leaves at seven, and nobody said a word about it. We waited on the platform until the rain had stopped.",
    "It was late that evening. The old bridge was closed, so the doctor had to take the long way round.",
    "Most of the letters in the drawer were never opened. She kept them because they smelled of the sea.",
    "Good morning. Your appointment is on Tuesday at nine. Please come ten minutes early, with your card.",
    "There are two ways to the lighthouse: the short one along the cliffs, and the long one, which is dry at low tide.",
    "He painted the kitchen yellow, because his grandmother had once said that yellow rooms make the winter shorter.",
    "The museum opens at ten. Children pay nothing, and the guided tour of the engine room starts every full hour.",
    "Nobody had told the new engineer why the clock in the hall was four minutes fast, and he was too shy to ask.",
)


class Load(NamedTuple):
    """clients: of a closed loop, 0 in an open one. rate: requests per second of an open loop."""

    clients: int
    rate: float

    @property
    def text(self) -> str:
        return f"{self.clients} client{'s' * (self.clients > 1)}" if self.clients else f"{self.rate:g} a second"


class Server:
    """A server in a process of its own that reports where its time goes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        line = self._read()
        self.port = int(line)

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"the server ended with exit code {self._process.wait()}")
        return line

    def usage(self) -> dict[str, float]:
        """The fields of load_server.Usage."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, float] = json.loads(self._read())
        return found


@contextmanager
def server(given: argparse.Namespace, max_batch: int) -> Iterator[Server]:
    """A running server; it is stopped at the end of the block."""
    settings: dict[str, Any] = {"models": [given.model], "precision": given.precision, "max_batch": max_batch}
    settings["max_queue"] = 1000
    command = [sys.executable, str(FOLDER / "load_server.py"), json.dumps(settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


def bodies(given: argparse.Namespace) -> list[str]:
    """Requests of different lengths, so that they do not end together."""
    lengths = random.Random(7)
    found = []
    for seed in range(4 * len(TEXTS)):
        text = " ".join(TEXTS[(seed + i) % len(TEXTS)] for i in range(2))
        frames = lengths.randint(given.max_frames // 2, given.max_frames)
        found.append({"input": text, "response_format": "pcm", "seed": seed, "max_frames": frames, "retries": 0})
    return [json.dumps(each) for each in found]


def ask(given: argparse.Namespace, running: Server, load: Load, requests: int, listen: bool) -> dict[str, Any]:
    """Put a load on a server. Returns the row of the report. listen: see load_client.Plan."""
    plan = {
        "host": "127.0.0.1", "port": running.port, "bodies": bodies(given), "requests": requests,
        "seconds": given.seconds, "clients": load.clients, "rate": load.rate, "ramp": given.ramp, "seed": 1,
        "listen": listen,
    }  # fmt: skip
    before = running.usage()
    command = [sys.executable, str(FOLDER / "load_client.py")]
    done = subprocess.run(command, input=json.dumps(plan), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    after = running.usage()
    return row(load, json.loads(done.stdout), {name: after[name] - before[name] for name in after})


def row(load: Load, found: dict[str, Any], used: dict[str, float]) -> dict[str, Any]:
    """One row of the report. found: what load_client.py writes. used: what the server used meanwhile.

    underruns: of all players together. late_seconds: in all. speed: seconds of audio in a second. client_share: of the
    time of all processors, for the client. python_share: processor time of Python, of the time in which the engine
    worked; outside_share: time of the engine's thread outside of the C step, of the same.
    """
    answers = found["answers"]
    good = [each for each in answers if each["error"] is None and each["first"] is not None]
    first = [1e3 * (each["first"] - each["began"]) for each in good] or [float("nan")]
    audio, wall = sum(each["seconds"] for each in answers), found["wall_seconds"]
    working = used["working"] or float("nan")
    return {
        "load": load.text,
        "clients": load.clients,
        "rate": load.rate,
        "requests": len(answers),
        "failed": len(answers) - len(good),
        "errors": sorted({each["error"] for each in answers if each["error"] is not None})[:3],
        **{f"first_audio_p{p}_ms": float(np.percentile(first, p)) for p in (50, 95, 99)},
        "underruns": sum(each["underruns"] for each in answers),
        "late_seconds": sum(each["late"] for each in answers),
        "speed": audio / wall,
        "rtf": wall / audio if audio else float("nan"),
        "client_share": found["cpu_seconds"] / wall / (os.cpu_count() or 1),
        "step_ms": 1e3 * working / max(1, used["steps"]),
        "sessions": used["frames"] / max(1, used["steps"]),
        "python_share": used["python"] / working,
        "outside_share": 1 - used["native"] / working,
    }


COLUMNS = {
    "load": "{}", "requests": "{}", "failed": "{}", "first_audio_p50_ms": "{:.0f}", "first_audio_p95_ms": "{:.0f}",
    "first_audio_p99_ms": "{:.0f}", "underruns": "{}", "late_seconds": "{:.2f}", "speed": "{:.1f}", "rtf": "{:.3f}",
    "sessions": "{:.1f}", "step_ms": "{:.1f}", "python_share": "{:.2f}", "outside_share": "{:.2f}",
    "client_share": "{:.3f}",
}  # fmt: skip
HEAD = (
    "load", "requests", "failed", "first audio p50 ms", "p95", "p99", "underruns", "late s", "audio s per s", "RTF",
    "sessions a step", "step ms", "Python", "outside C", "client",
)  # fmt: skip


def markdown(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as lines of a Markdown table."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    return lines + [
        "| " + " | ".join(text.format(each[name]) for name, text in COLUMNS.items()) + " |" for each in rows
    ]


def fast_batch(frame_ms: dict[int, float], between: bool) -> int:
    """The largest batch whose frame takes less than 80 ms; 0 if there is none.

    frame_ms: measured times by batch. between: whether batches between and beyond the measured ones count too. Their
    times lie on the line through the two next ones.
    """
    sizes = sorted(frame_ms)
    fast = [size for size in sizes if frame_ms[size] < FRAME_MS]
    if not (fast and between and len(sizes) > 1):
        return max(fast, default=0)
    above = sizes[min(sizes.index(fast[-1]) + 1, len(sizes) - 1)]
    below = sizes[sizes.index(above) - 1]
    each = (frame_ms[above] - frame_ms[below]) / (above - below)
    if each <= 0:
        return fast[-1]
    return max(fast[-1], math.ceil(below + (FRAME_MS - frame_ms[below]) / each) - 1)


def bench(given: argparse.Namespace) -> dict[int, float]:
    """Milliseconds of a frame by batch, as `qwen3tts bench` measures them now."""
    batches = BATCHES.get(given.model, USUAL_BATCHES)
    precision = given.precision if given.precision != "auto" else "bf16" if given.model == "pocket" else "int8"
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "bench.json")
        options = ["-m", given.model, "--precision", precision, "--batch", batches, "--rounds", "3"]
        threads = ["--threads", str(default_threads())]
        command = [sys.executable, "-m", "qwen3tts_cli", "bench", *options, *threads, "-q", "--json", file]
        if code := subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            sys.exit(code)
        report = json.loads(Path(file).read_text("utf-8"))
    return {each["batch"]: each["frame_ms"] for each in report["rows"]}


def check(given: argparse.Namespace) -> tuple[list[dict[str, Any]], bool]:
    """Measure as many live streams as the machine should carry, and first audio at one and eight. Returns the rows, and
    whether all is as it should be."""
    small = given.model == "pocket"
    times = bench(given)
    fastest = fast_batch(times, between=small)
    streams = min(MOST_STREAMS, int(SMALL_SHARE * fastest)) if small else fastest - 1
    streams = max(1, streams)
    print("frame ms by batch: " + ", ".join(f"{batch}: {each:.1f}" for batch, each in sorted(times.items())))
    print(f"largest batch under {FRAME_MS:.0f} ms: {fastest}; live streams: {streams}\n", flush=True)
    with server(given, max(streams, 8)) as running:
        ask(given, running, Load(1, 0.0), 3, False)  # not counted: the first requests load modules and pages
        rows = [ask(given, running, Load(1, 0.0), 4 * given.requests, False)]
        rows += [ask(given, running, Load(n, 0.0), n * given.requests, True) for n in (8, streams)]
    one, eight, many = rows
    added = streams / max(1e-9, 1 - many["client_share"])
    ratio = eight["first_audio_p95_ms"] / one["first_audio_p95_ms"]
    share = max(each[name] for each in rows for name in ("python_share", "outside_share"))
    results = {
        f"{streams} live streams, {added:.1f} with the client's processor time added back: "
        f"{many['underruns']} underruns": many["underruns"] == 0,
        f"first audio p95 at 8 streams: {ratio:.2f} times that of one": ratio < 3,
        f"Python's share of a frame: at most {100 * share:.0f} %": share < 0.25,
        f"failed requests: {sum(each['failed'] for each in rows)}": not any(each["failed"] for each in rows),
    }
    print("\n".join(markdown(rows)) + "\n")
    for text, good in results.items():
        print(f"- {'yes' if good else 'NO'}: {text}")
    return rows, all(results.values())


def draw(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw first audio and speed over the loads; the extension of `path` is the format."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    times, speeds = figure.subplots(1, 2)
    names = [each["load"] for each in rows]
    for p in (50, 95, 99):
        times.plot(names, [each[f"first_audio_p{p}_ms"] for each in rows], "o-", label=f"p{p}")
    times.set_ylim(bottom=0)
    times.set_ylabel("first audio, ms")
    times.legend()
    speeds.bar(names, [each["speed"] for each in rows], color="#4477aa")
    for at, each in enumerate(rows):
        speeds.text(at, each["speed"], f"{each['underruns']} underruns", ha="center", va="bottom", fontsize=7)
    speeds.set_ylabel("seconds of audio in a second")
    for axes in (times, speeds):
        axes.tick_params(axis="x", rotation=30)
        axes.grid(True, axis="y", linewidth=0.3)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150)


def numbers(kind: type) -> Any:
    """A parser of positive numbers that are separated by commas."""

    def parse(text: str) -> list[Any]:
        found = [kind(each) for each in text.split(",") if each]
        if any(each <= 0 for each in found):
            raise ValueError(text)
        return found

    return parse


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="pocket")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--clients", type=numbers(int), default=[], metavar="LIST", help="closed loop")
    parser.add_argument("--rate", type=numbers(float), default=[], metavar="LIST", help="open loop")
    parser.add_argument("--listen", action="store_true", help="closed loop: ask again when the answer is played")
    parser.add_argument("--requests", type=int, default=4, help="for each client; in an open loop 8 times as many")
    parser.add_argument("--seconds", type=float, default=60.0, help="after which no request of a load begins")
    parser.add_argument("--ramp", type=float, default=6.0, help="seconds in which the clients begin")
    parser.add_argument("--max-frames", type=int, default=150, help="of the longest answer; the shortest has half")
    parser.add_argument("--max-batch", type=int, default=MOST_STREAMS, help="places of the server; not with --check")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    if given.check:
        rows, good = check(given)
    else:
        loads = [Load(n, 0.0) for n in given.clients] + [Load(0, rate) for rate in given.rate]
        loads = loads or [Load(n, 0.0) for n in (1, 8, 16, 32)]
        with server(given, given.max_batch) as running:
            ask(given, running, Load(1, 0.0), 3, False)
            good = True
            rows = [ask(given, running, each, (each.clients or 8) * given.requests, given.listen) for each in loads]
        print("\n".join(markdown(rows)))
    for text in {text for each in rows for text in each["errors"]}:
        print(f"error: {text}", file=sys.stderr)
    if given.json is not None:
        given.json.write_text(json.dumps({"model": given.model, "rows": rows}, indent=1) + "\n", "utf-8")
    if given.plot is not None:
        draw(rows, given.plot, f"{given.model}, {given.precision}, {os.cpu_count()} processors")
    if not good:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
