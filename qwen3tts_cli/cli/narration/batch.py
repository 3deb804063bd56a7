"""`qwen3tts batch`: declares its options, and speaks the rows of a manifest with progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...common.audio_constants import FINISHED_FORMATS
from ...errors import GenerationError, UsageError
from .. import options
from ..console import Console
from .narrate import narrate_options, open_for_narration, with_recording
from .shared_options import speaking

_EPILOG = """\b
Exit codes: 0 done, 1 failure, 2 usage, 3 model not found, 4 rows failed, 130 interrupted.
The same command goes on where it stopped. See docs/narrate.md.
"""


@click.command(cls=options.SettingsCommand, epilog=_EPILOG)
@click.argument("manifest", metavar="MANIFEST", shell_complete=options.completion.files)
@options.file("-o", "--output", metavar="DIR", help="The folder of the files and of the result, manifest.jsonl.")
@click.option(
    "--audio-format",
    type=options.Choice(*FINISHED_FORMATS),
    help="Format where `out` names none. [default: wav]",
)
@options.subtype
@click.option(
    "--shard",
    metavar="I/N",
    help="Take the rows k with k % N = I, counted from 0; a seed that is drawn is drawn for all shards in DIR.",
)
@speaking
def batch(**given: Any) -> None:
    """Speak each row of a list (JSON Lines, CSV) into a file of its own.

    A row has `text`, and optionally `out`, `voice`, `language`, `instruct`, `design`, `ref`, `ref_text` and `seed`.
    All rows that can be spoken are; the result says why others failed.

    \b
    Examples:
      qwen3tts batch lines.jsonl -o lines/
      qwen3tts batch prompts.csv -o prompts/ --audio-format flac --seed 1
      qwen3tts batch -m 0.6b corpus.jsonl -o corpus/ --shard 0/4
    """
    from ...narration.batch_run import Batch, parse_shard
    from ...narration.manifest import read_manifest
    from ..keep_packed import finish_packing
    from .progress import Reporter

    if given["output"] is None:
        raise UsageError("-o DIR is missing")
    chosen = narrate_options(given)
    shard = parse_shard(given["shard"])
    folder = Path(given["output"])
    rows = read_manifest(Path(given["manifest"]), chosen.audio_format or "wav", folder)
    console = Console(given["quiet"])
    with open_for_narration(given, console) as synthesizer:
        chosen = with_recording(synthesizer, console, chosen, given)
        reporter = Reporter(console, given["progress"] == "json")
        try:
            with reporter:
                result = Batch(synthesizer, rows, folder, shard, chosen, reporter.show, console.warning).run()
        except KeyboardInterrupt:
            console.note("stopped; the same command goes on")
            raise
        made = result.rows - result.failed
        console.note(
            f"{result.manifest}: {made} of {result.rows} rows, {result.seconds:.1f} s of audio, seed {result.seed}"
        )
        finish_packing([synthesizer], console, "audio")
    if result.failed:
        raise GenerationError(f"{result.failed} of {result.rows} rows failed; {result.manifest} says why")
