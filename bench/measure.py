"""Measure this machine as `qwen3tts bench` does, for RESULTS.md: rounds of one state of the machine, as Markdown.

    python bench/measure.py [option of `qwen3tts bench` ...]

The Markdown goes to stdout, also with --json FILE. The column "of the rounds" has the least and the largest median time
of a frame in one round.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from state import in_one_state

from qwen3tts_cli.bench import advice, results
from qwen3tts_cli.bench.results import Measurement, Results
from qwen3tts_cli.bench.sessions import Times
from qwen3tts_cli.cli.commands import bench
from qwen3tts_cli.cli.console import Console
from qwen3tts_cli.errors import Qwen3TTSError


def spread(rounds: Sequence[Times]) -> str:
    """The least and the largest median time of a frame in one round, in ms."""
    medians = [1e3 * float(np.median(times.frame)) for times in rounds]
    return f"{min(medians):.1f}-{max(medians):.1f}"


def markdown(measured: Measurement, table: Results, left_out: int) -> list[str]:
    """Lines: the machine, the rows, the advice. left_out: the number of rounds in other states."""
    lines = [f"- {line}" for line in results.machine_lines(table)]
    if left_out:
        lines[-1] += f"; {left_out} rounds left out: the cores were moved"
    head = (*results.HEAD[:7], "of the rounds", *results.HEAD[7:])
    lines += ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for case, row in zip(measured.facts, table.rows, strict=True):
        between = spread([each.times for each in measured.rounds if each.case == case])
        cells = results.cells(row)
        lines.append("| " + " | ".join((*cells[:7], between, *cells[7:])) + " |")
    chosen = advice.choose(table.rows)
    return lines if chosen is None else [*lines, "", f"Best here: {chosen.text}"]


def main(arguments: list[str]) -> None:
    try:
        given = bench.bench.make_context("measure.py", arguments).params
        bench.check_options(given)
        measured, left_out = in_one_state(bench.measure(given, Console(given["quiet"])))
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Qwen3TTSError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    table = results.make_results(measured)
    if given["report"] is not None:
        Path(given["report"]).write_text(json.dumps(table.report(), indent=1) + "\n", "utf-8")
    print("\n".join(markdown(measured, table, left_out)))


if __name__ == "__main__":
    main(sys.argv[1:])
