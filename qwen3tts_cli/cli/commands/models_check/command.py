"""`qwen3tts models check`: compare what this engine computes on this processor with recorded answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ....common import user_folders
from ....output.distinct_files import check_outputs
from ....output.files import is_stdout
from ... import names_and_paths, options
from ...console import Console

if TYPE_CHECKING:
    from ....check.result import Result
    from ....check.subject import Subject


@click.command(cls=options.SettingsCommand)
@click.argument("name", required=False, shell_complete=options.completion.models)
@options.setting("-m", "--model", metavar="NAME", hidden=True)
@click.option(
    "--precision",
    type=options.Choice("bf16", "int8", "int4", "int4-calibrated"),
    help="Precision to measure beside bf16. [default: what say uses for this model]",
)
@click.option("--fast", is_flag=True, help="Compare the sizes and the ends of the files, not every byte.")
@click.option(
    "--as", "compare_with", metavar="MODEL", help="Compare with the answers of this model, whatever the files are."
)
@click.option(
    "--answers",
    metavar="FILE",
    shell_complete=options.completion.files,
    help="Recorded answers in place of the package's.",
)
@click.option(
    "--json",
    "report",
    metavar="FILE",
    shell_complete=options.completion.files,
    help="Write the report as JSON; - is stdout, in place of the table.",
)
@options.quiet
@click.pass_context
def check(context: click.Context, name: str | None, **given: Any) -> None:
    """Compare what this machine computes with recorded answers of a model. Without NAME: the model that say uses.

    The check compares files, tensors, token ids, decoded samples and greedy speech with records of the released models
    and of the embedded voice. The exit code is 1 if a check fails. Put the output into a bug report.

    \b
    Examples:
      qwen3tts models check
      qwen3tts models check 0.6b --json check.json
      qwen3tts models check 0.6b --fast --precision int4
      qwen3tts models check ./my-copy --as 0.6b
    """
    from ....check.subject import find_subject

    to_stdout = is_stdout(given["report"] or "")
    check_outputs(
        [("--json", None if to_stdout else given["report"]), ("standard output", "-")],
        [("--answers", given["answers"])],
    )
    progress = [""]
    answers = given["answers"]

    def report(line: str) -> None:
        progress[0] = line

    with Console(given["quiet"]).progress(lambda: progress[0]):
        subject = find_subject(
            names_and_paths.model(name or given["model"]),
            answers=None if answers is None else Path(user_folders.expand_home(answers) or answers),
            compare_with=given["compare_with"],
            report=report,
        )
    if not _run(subject, given, progress, to_stdout):
        context.exit(1)


def _run(subject: Subject, given: dict[str, Any], progress: list[str], to_stdout: bool) -> bool:
    """Run the checks, show each result as soon as it is known, and write the report. Returns whether no check failed.

    given: the parsed options by name. progress: its item is the progress line. to_stdout: whether the report goes to
    stdout in place of the table.
    """
    from ....check.result import FAILED
    from ....check.run import run_checks
    from ....output.files import open_output
    from . import report

    file = None if given["report"] is None or to_stdout else open_output(given["report"])
    try:
        results: list[Result] = []
        console, checks = Console(given["quiet"]), run_checks(subject, precision=given["precision"], fast=given["fast"])
        while True:
            with console.progress(lambda: progress[0]):
                result = next(checks, None)
            if result is None:
                break
            results.append(result)
            if not to_stdout:
                click.echo(report.line(result))
        passed = all(result.status != FAILED for result in results)
        data = report.as_json(subject, results, passed)
        if to_stdout:
            click.echo(data.decode(), nl=False)
        else:
            click.echo("\n".join(["", *report.last_lines(subject)]))
        if file is not None:
            file.write(data)
            file.finish()
            file.commit()
        return passed
    except BaseException:
        if file is not None:
            file.discard()
        raise
