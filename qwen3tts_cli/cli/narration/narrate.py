"""`qwen3tts narrate`: declares its options, lists or estimates, or narrates with progress."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...common.audio_constants import FINISHED_FORMATS
from ...errors import GenerationError, UsageError
from .. import names_and_paths, options
from ..console import Console
from .shared_options import SPEAK_OPTIONS, pause, speaking

if TYPE_CHECKING:
    from ...books.document import Document
    from ...narration.options import NarrateOptions
    from ...speech.synthesizer import Synthesizer

_EPILOG = """\b
Exit codes: 0 done, 1 failure, 2 usage, 3 model not found, 4 segments failed, 130 interrupted.
The same command goes on where it stopped. See docs/narrate.md.
"""
# Options that are fields of NarrateOptions of the same name.
_OPTIONS = (
    "input_format", "audio_format", "subtype", "chapters", "preview", "alt", "code", "lexicon", "title",
    "author", "album", "cover", "pause_sentence", "pause_paragraph", "pause_chapter", "cue", "steady", "lufs",
    "on_error", "redo", "keep", "verify", "max_wer", "align", "srt", "vtt", "timings", "chapter_vtt", "cue_sheet",
    "seed", "batch", "retries", "speed", "rate",
)  # fmt: skip


@click.command(cls=options.SettingsCommand, epilog=_EPILOG)
@click.argument("source", metavar="INPUT", shell_complete=options.completion.files)
@options.file(
    "-o",
    "--output",
    metavar="OUT",
    help="A file, whose extension is the format, or a folder (OUT/) with a file for each chapter.",
)
@click.option(
    "--audio-format",
    type=options.Choice(*FINISHED_FORMATS),
    help="Format of files in a folder OUT. [default: opus]",
)
@options.subtype
@click.option(
    "--input-format", type=options.Choice("txt", "md", "html", "epub"), help="Format of INPUT. [default: its extension]"
)
@click.option("--list", "lists", is_flag=True, help="List the chapters; speak nothing.")
@options.json_switch("With --list or --dry-run: print JSON.")
@click.option("--chapters", metavar="LIST", help="Chapters to speak, such as 2-5,9 or 7-. [default: all]")
@click.option("--dry-run", is_flag=True, help="Show chapters and an estimate of length, time and size; speak nothing.")
@click.option("--preview", is_flag=True, help="Speak only the first minute, into OUT.")
@click.option("--alt", is_flag=True, help="Speak the descriptions of images.")
@click.option("--code", is_flag=True, help="Speak blocks of code.")
@click.option("--no-markup", is_flag=True, help="Speak [pause:1s], [voice:NAME] and other tags as text.")
@pause("--pause-chapter", 1.5, "Seconds between chapters of one file.")
@click.option(
    "--cue",
    type=options.Choice("segment", "sentence"),
    default="segment",
    help="sentence: each sentence is a segment, with a cue of its own. [default: segment]",
)
@click.option("--steady", is_flag=True, help="Keep the voice more alike from segment to segment.")
@click.option(
    "--on-error",
    type=options.Choice("stop", "skip"),
    default="stop",
    help="If a segment fails, stop: make no output; skip: 1 s of silence in its place. [default: stop]",
)
@click.option(
    "--redo", multiple=True, metavar="C.N", help="Speak segment N of chapter C again, with a new seed; may be repeated."
)
@click.option("--align", is_flag=True, help="With --timings: also the times of words (English; needs pocketsphinx).")
@click.option("--title", metavar="TEXT", help="Title of the book. [default: that of INPUT]")
@click.option("--author", metavar="TEXT", help="Author of the book. [default: that of INPUT]")
@click.option("--album", metavar="TEXT", help="Album of the files. [default: the title]")
@options.file("--cover", help="A JPEG or PNG file. [default: that of INPUT]")
@options.file("--srt", help="Write subtitles as SRT; for a folder OUT, the name of a folder.")
@options.file("--vtt", help="Write subtitles as WebVTT; for a folder OUT, the name of a folder.")
@options.file("--timings", help="Write text, times, seed and errors of each segment as JSON.")
@options.file("--chapter-vtt", help="Write the chapters of one file as WebVTT.")
@options.file("--cue-sheet", help="Write the chapters of one WAV, FLAC or MP3 as a cue sheet.")
@speaking
def narrate(**given: Any) -> None:
    """Speak a book or another long text into files, with chapters and subtitles.

    INPUT is a .txt, .md, .html or .epub file; - is a text on stdin.

    What was spoken is kept in a folder beside OUT until OUT is complete. Formats: wav, flac, ogg, opus, mp3; with the
    program ffmpeg also m4b, m4a, aac.

    \b
    Examples:
      qwen3tts narrate book.epub -o book.opus
      qwen3tts narrate book.epub -o book/ --audio-format mp3
      pdftotext paper.pdf - | qwen3tts narrate - -o paper.mp3
      qwen3tts narrate notes.md --list
      qwen3tts narrate notes.md --chapters 2-5,9 -o notes.flac --srt notes.srt
      qwen3tts narrate -m 0.6b -v ryan --steady story.txt -o story.mp3
      qwen3tts narrate story.txt -o story.mp3 --redo 3.17
    """
    from ...narration.entry import chosen_chapters, read_input
    from ...narration.finished_files import OutputFiles

    chosen = narrate_options(given)
    source = _source(given["source"])
    document = read_input(source, chosen)
    chapters = chosen_chapters(document, chosen)
    if given["lists"]:
        _list(document, chapters, given["as_json"])
        return
    if given["dry_run"]:
        from .estimate import show_estimate

        show_estimate(document, chapters, chosen, given)
        return
    if given["output"] is None:
        raise UsageError("-o OUT is missing: a file, or a folder with a slash at its end")
    files = OutputFiles(given["output"], document, chosen, source)
    console = Console(given["quiet"])
    with open_for_narration(given, console) as synthesizer:
        chosen = with_recording(synthesizer, console, chosen, given)
        _run(synthesizer, document, chapters, files, chosen, console, given)


def narrate_options(given: dict[str, Any]) -> NarrateOptions:
    """The options of a narration. given: the options of the command by name. Raises UsageError."""
    from ...narration.options import make_narrate_options

    named = {name: given[name] for name in (*_OPTIONS, *SPEAK_OPTIONS) if name in given}
    named["markup"] = not given.get("no_markup", False)
    for name in ("lexicon", "cover", "srt", "vtt", "timings", "chapter_vtt", "cue_sheet"):
        if named.get(name) is not None:
            named[name] = Path(named[name])
    if given["ref"] is None:
        for option in ("trim_silence", "append_silence", "ref_text"):
            if given[option]:
                raise UsageError(f"--{option.replace('_', '-')}: needs a recording (--ref)")
        if isinstance(given["voice"], str):
            named["voice"] = names_and_paths.voice(given["voice"])
    return make_narrate_options(named)


def with_recording(
    synthesizer: Synthesizer, console: Console, chosen: NarrateOptions, given: dict[str, Any]
) -> NarrateOptions:
    """The options with the voice of the recording that --ref names."""
    if given["ref"] is None:
        return chosen
    from dataclasses import replace

    from ..commands.voices_recording import clone

    voice = clone(synthesizer, console, given["ref"], given["ref_text"], given)
    return replace(chosen, speak=replace(chosen.speak, voice=voice))


def open_for_narration(given: dict[str, Any], console: Console) -> Synthesizer:
    """Open the model that the options name."""
    from ..open_model import open_model

    return open_model(console, given)[0]


def _source(name: str) -> str | bytes:
    if name != "-":
        return name
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    from ...books.read_book import LIMIT_BYTES

    return sys.stdin.buffer.read(LIMIT_BYTES + 1)


def _list(document: Document, chapters: list[int], as_json: bool) -> None:
    from ...books.selection import list_chapters

    found = [each for each in list_chapters(document) if each["number"] - 1 in set(chapters)]
    if as_json:
        facts = {"title": document.title, "author": document.author, "language": document.language, "chapters": found}
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    width = len(str(len(document.chapters)))
    for each in found:
        click.echo(f"{each['number']:>{width}}  {each['characters']:>8}  {each['title'] or '-'}")


def _run(
    synthesizer: Synthesizer,
    document: Document,
    chapters: list[int],
    files: Any,
    chosen: NarrateOptions,
    console: Console,
    given: dict[str, Any],
) -> None:
    from ...narration.run import Narration
    from ..keep_packed import finish_packing
    from .progress import Reporter

    reporter = Reporter(console, given["progress"] == "json")
    with ExitStack() as stack:
        stack.enter_context(reporter)
        try:
            result = Narration(synthesizer, document, chapters, files, chosen, reporter.show, console.warning).run()
        except KeyboardInterrupt:
            stack.close()
            console.note(f"stopped; the same command goes on from {files.segment_folder}")
            raise
    names = ", ".join(map(str, result.files[:3])) + (
        f" and {len(result.files) - 3} more" if len(result.files) > 3 else ""
    )
    console.note(f"{names}: {result.seconds:.1f} s of audio, {result.segments} segments, seed {result.seed}")
    if result.heard:
        worst = ", ".join(f"{name} {rate:.2f}" for name, rate in result.heard[:5])
        console.note(f"word error rates, the worst first: {worst}; all of them are in --timings")
    finish_packing([synthesizer], console, "audio")
    if result.failed:
        shown = "; ".join(f"{name}: {why}" for name, why in result.failed)
        raise GenerationError(
            f"{len(result.failed)} of {result.segments} segments failed, silence is in their place: {shown}"
        )
