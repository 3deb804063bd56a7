"""`qwen3tts bench`: what this machine can do, and how near to it every precision and batch comes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ...errors import UsageError
from ...output.distinct_files import check_outputs
from ...output.files import is_stdout
from .. import names_and_paths, options
from ..console import Console

if TYPE_CHECKING:
    from ...bench.results import Results

_PRECISIONS = ("bf16", "int8", "int4")
_PLAIN = "bf16-plain"  # as the checkpoint has them, to be compared with bf16 in 12 bits
_MANY_CORES = 4  # where half of them may be as fast: memory is shared, and two may be one core


class _List(click.ParamType):
    """Comma-separated values of another type, each once."""

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
    "-m", "--model", metavar="NAME", shell_complete=options.completion.models, help="A model on this machine."
)
@click.option("--synthetic", type=options.Choice("0.6b", "1.7b"), help="Random weights of this size. [default: 0.6b]")
@click.option(
    "--precision", "precisions", type=_List(options.Choice(*_PRECISIONS, _PLAIN)), metavar="LIST",
    help="bf16, int8, int4 [default: all of them], bf16-plain: not in 12 bits.",
)  # fmt: skip
@click.option(
    "--batch", "batches", type=_List(options.Integer(1, 64)), default="1,8", show_default=True, metavar="LIST",
    help="Streams spoken together.",
)  # fmt: skip
@click.option(
    "--threads",
    type=_List(options.Integer(1, 1024)),
    metavar="LIST",
    help="[default: one per core; from 4 on, also half]",
)
@click.option(
    "--frames", type=options.Integer(1, 1000), default=12, show_default=True, metavar="N", help="In each round."
)
@click.option(
    "--rounds", type=options.Integer(1, 100), default=5, show_default=True, metavar="N", help="Of all rows in turn."
)
@click.option(
    "--context", type=options.Integer(1, 8192), default=150, show_default=True, metavar="N",
    help="Positions before a frame, in the mean.",
)  # fmt: skip
@click.option(
    "--chunk", type=options.Integer(1, 64), default=4, show_default=True, metavar="N", help="Frames decoded at a time."
)
@click.option(
    "--json",
    "report",
    metavar="FILE",
    shell_complete=options.completion.files,
    help="Write the report as JSON; - is stdout, in place of the table.",
)
@click.option(
    "--plot",
    metavar="FILE",
    shell_complete=options.completion.files,
    help="Draw roofline and real-time factors (png, svg; needs matplotlib).",
)
@click.option("--markdown", is_flag=True, help="The table as Markdown.")
@click.option("--command", metavar="CMD", help="Measure any program instead: CMD with {text} and {out}, a WAV file.")
@click.option("--text", metavar="TEXT", help="What {text} of --command is. [default: a sentence]")
@options.quiet
def bench(**given: Any) -> None:
    """Measure this machine, with random weights or a model.

    A row is a precision and a batch: milliseconds for a frame (80 ms) of the whole batch, the real-time factor of each
    stream, and how near the bytes and operations of it come to the bandwidth and arithmetic measured beside it. What to
    take on this machine is shown at the end, and by `qwen3tts doctor`. Takes some minutes; speaks nothing.

    \b
    Examples:
      qwen3tts bench
      qwen3tts bench --json bench.json --plot bench.svg
      qwen3tts bench --synthetic 1.7b --precision int8,int4 --batch 1
      qwen3tts bench -m pocket --threads 1,2
      qwen3tts bench --command "qwen3tts say {text} -o {out}"
    """
    if given["model"] is not None and given["synthetic"] is not None:
        raise UsageError("--model and --synthetic: only one of them")
    if given["command"] is None and given["text"] is not None:
        raise UsageError("--text: needs --command")
    if given["plot"] is not None and given["command"] is not None:
        raise UsageError("--plot --command: there is no roofline of a command")
    report = None if is_stdout(given["report"] or "") else given["report"]
    written = [("--json", report), ("--plot", given["plot"]), ("standard output", "-")]
    check_outputs(written)
    files = _Files()
    try:
        if given["command"] is not None:
            _measure_command(given, files)
        else:
            _measure(given, files)
        files.commit()
    except BaseException:
        files.discard()
        raise


class _Files:
    """The outputs of a run: there before it starts, so that a run is not lost to a name, and whole or not at all."""

    def __init__(self) -> None:
        self._files: list[Any] = []

    def open(self, path: str) -> Any:
        from ...output import files as output_files

        self._files.append(output_files.open_output(path))
        return self._files[-1]

    def commit(self) -> None:
        for file in self._files:
            file.finish()
        for file in self._files:
            file.commit()

    def discard(self) -> None:
        for file in self._files:
            file.discard()


def _write_json(file: Any, report: dict[str, Any]) -> None:
    file.write(json.dumps(report, indent=1).encode() + b"\n")


def _measure_command(given: dict[str, Any], files: _Files) -> None:
    from dataclasses import asdict

    from ...bench import external

    external.words_of(given["command"])
    file = files.open(given["report"]) if given["report"] else None
    console = Console(given["quiet"])
    rows = []
    for number in range(given["rounds"]):
        console.note(f"run {number + 1} of {given['rounds']}")
        rows.append(external.run(given["command"], given["text"] or external.TEXT))
    if file is not None:
        _write_json(file, {"commands": [asdict(row) for row in rows]})
    if not is_stdout(given["report"] or ""):
        for line in external.table(rows, given["markdown"]):
            click.echo(line)


def _measure(given: dict[str, Any], files: _Files) -> None:
    picture = None
    if given["plot"] is not None:
        from ...bench import plot

        picture = plot.check(given["plot"])
    if given["frames"] % given["chunk"]:
        raise UsageError(f"--frames {given['frames']}: is no multiple of --chunk {given['chunk']}")
    report = files.open(given["report"]) if given["report"] else None
    drawing = files.open(given["plot"]) if given["plot"] else None
    results = _run(given, Console(given["quiet"]))
    if report is not None:
        _write_json(report, results.report())
    if drawing is not None and picture is not None:
        drawing.write(plot.draw(results, picture))
    _show(results, given)


def _run(given: dict[str, Any], console: Console) -> Results:
    from ...bench import run
    from ...common.machine import default_threads
    from ...models import hub_cache

    cores = default_threads()
    threads = given["threads"] or (cores,)
    trial = cores // 2 if given["threads"] is None and cores >= _MANY_CORES else None
    precisions = given["precisions"] or _PRECISIONS
    plan = run.Plan(
        precisions, given["batches"], threads, given["context"], given["chunk"], given["frames"], given["rounds"],
        trial,
    )  # fmt: skip
    if given["model"] is not None:
        model = names_and_paths.model(given["model"])
        name = hub_cache.resolve_model(model).name
        opener = run.model_opener(model, precisions, max(threads), console.note)
    else:
        size = given["synthetic"] or "0.6b"
        name, opener = f"synthetic-{size}", run.synthetic_opener(size, precisions, max(threads), console.note)
    return run.measure(name, opener, plan, console.note)


def _show(results: Results, given: dict[str, Any]) -> None:
    """The table on stdout, unless the report is there, and the advice, kept for `doctor`."""
    from ...bench import advice
    from ...bench.results import machine_lines, markdown_table, text_table
    from ...errors import OutputError

    chosen = advice.choose(results.rows)
    lines = machine_lines(results)
    if given["markdown"]:
        lines = [*(f"- {line}" for line in lines), "", *markdown_table(results)]
    else:
        lines = [*lines, "", *text_table(results.rows)]
    if chosen is not None:
        lines += ["", f"{'Best' if given['markdown'] else 'best'} here: {chosen.text}"]
    if not is_stdout(given["report"] or ""):
        for line in lines:
            click.echo(line)
    try:
        if chosen is not None:
            advice.keep(chosen)
    except OutputError as error:
        Console(given["quiet"]).note(f"warning: {error}; doctor will not show this")
