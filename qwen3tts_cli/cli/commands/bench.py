"""`qwen3tts bench`: measures this machine and how fast it speaks in each precision and batch size."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import click

from ...errors import OutputError, UsageError
from ...output import files as output_files
from ...output.distinct_files import check_outputs
from .. import names_and_paths, options
from ..console import Console

if TYPE_CHECKING:
    from ...bench.results import Measurement, Results

_PRECISIONS = ("bf16", "int8", "int4")
_PLAIN = "bf16-plain"  # the weights as the checkpoint has them, to compare with the 12 bits of packed bf16
# With this many cores or more, half as many threads are measured too: two logical cores may be one physical core.
_MANY_CORES = 4


class _List(click.ParamType):
    """Values of the type `of`, separated by commas; a value that occurs twice counts once. Returns a tuple."""

    name = "list"

    def __init__(self, of: click.ParamType) -> None:
        self.of = of

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        items = (self.of.convert(item.strip(), parameter, context) for item in value.split(","))
        return tuple(dict.fromkeys(items))

    def shell_complete(self, context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",")
        items = self.of.shell_complete(context, parameter, last)
        return [CompletionItem(f"{before}{comma}{item.value}") for item in items]


@click.command()
@click.option(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=options.completion.models,
    help="Measure a model on this machine.",
)
@click.option(
    "--synthetic", type=options.Choice("0.6b", "1.7b"), help="Measure random weights of this size. [default: 0.6b]"
)
@click.option(
    "--precision", "precisions", type=_List(options.Choice(*_PRECISIONS, _PLAIN)), metavar="LIST",
    help="bf16, int8, int4 [default: these three]; bf16-plain: bf16 weights that are not packed.",
)  # fmt: skip
@click.option(
    "--batch", "batches", type=_List(options.Integer(1, 64)), default="1,8", show_default=True, metavar="LIST",
    help="Numbers of streams generated together.",
)  # fmt: skip
@click.option(
    "--threads",
    type=_List(options.Integer(1, 1024)),
    metavar="LIST",
    help="Thread counts. [default: one per core; with 4 cores or more, also half of them]",
)
@click.option(
    "--frames", type=options.Integer(1, 1000), default=12, show_default=True, metavar="N", help="Frames per round."
)
@click.option(
    "--rounds", type=options.Integer(1, 100), default=5, show_default=True, metavar="N", help="Rounds of each row."
)
@click.option(
    "--context", type=options.Integer(1, 8192), default=150, show_default=True, metavar="N",
    help="Mean position of the measured frames.",
)  # fmt: skip
@click.option(
    "--chunk", type=options.Integer(1, 64), default=4, show_default=True, metavar="N",
    help="Frames that the speech decoder decodes together.",
)  # fmt: skip
@options.file(
    "--json",
    "report",
    help="Write the report as JSON; - is stdout, in place of the table.",
)
@options.quiet
def bench(**given: Any) -> None:
    """Measure this machine, with random weights or a model.

    Each row of the table is a precision and a batch size: milliseconds for a frame (80 ms of audio) of the whole batch,
    the real-time factor of each stream, and how close the rates come to the memory bandwidth and the arithmetic that
    were measured beside them. The last line says which settings to take on this machine; `qwen3tts doctor` shows it
    again. Takes some minutes and plays no audio.

    \b
    Examples:
      qwen3tts bench
      qwen3tts bench --json bench.json
      qwen3tts bench --synthetic 1.7b --precision int8,int4 --batch 1
      qwen3tts bench -m pocket --threads 1,2
    """
    from ...bench.results import make_results

    report, console = given["report"], Console(given["quiet"])
    to_stdout = report is not None and output_files.is_stdout(report)
    check_options(given)
    check_outputs([("--json", None if to_stdout else report), ("standard output", "-")])
    with contextlib.ExitStack() as stack:
        file = None if report is None else stack.enter_context(output_files.write_output(report))
        results = make_results(measure(given, console))
        if file is not None:
            file.write(json.dumps(results.report(), indent=1).encode() + b"\n")
        _show(results, console, with_table=not to_stdout)


def check_options(given: dict[str, Any]) -> None:
    """Raise UsageError for options of `bench` that contradict each other. given: the parsed options by name."""
    if given["model"] is not None and given["synthetic"] is not None:
        raise UsageError("--model and --synthetic are both given, leave one out")
    if given["frames"] % given["chunk"]:
        raise UsageError(f"--frames {given['frames']}: is no multiple of --chunk {given['chunk']}")


def measure(given: dict[str, Any], console: Console) -> Measurement:
    """Measure the rows that the options of `bench` select. given: the parsed options by name. Raises Qwen3TTSError."""
    from ...bench import run
    from ...common.machine import default_threads
    from ...models import local_models

    cores = default_threads()
    threads = given["threads"] or (cores,)
    trial = cores // 2 if given["threads"] is None and cores >= _MANY_CORES else None
    precisions = given["precisions"] or _PRECISIONS
    plan = run.BenchPlan(
        precisions, given["batches"], threads, given["context"], given["chunk"], given["frames"], given["rounds"],
        trial,
    )  # fmt: skip
    if given["model"] is not None:
        model = names_and_paths.model(given["model"])
        name = local_models.resolve_model(model).name
        opener = run.model_opener(model, precisions, max(threads), console.note)
    else:
        size = given["synthetic"] or "0.6b"
        name, opener = f"synthetic-{size}", run.synthetic_opener(size, precisions, max(threads), console.note)
    return run.measure(name, opener, plan, console.note)


def _show(results: Results, console: Console, with_table: bool) -> None:
    """Save the advice for `doctor`. with_table: whether to print the table and the advice on stdout."""
    from ...bench import advice
    from ...bench.results import machine_lines, text_table

    chosen = advice.choose(results.rows)
    if with_table:
        for line in [*machine_lines(results), "", *text_table(results.rows)]:
            click.echo(line)
        if chosen is not None:
            click.echo(f"\nbest here: {chosen.text}")
    if chosen is not None:
        try:
            advice.save(chosen)
        except OutputError as error:
            console.warning(f"{error}; doctor will not show this")
