"""The functions `narrate` and `batch` of the Python API."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..books.read_book import read_document
from ..books.selection import select_chapters
from ..errors import UsageError
from .batch_run import Batch, BatchResult, parse_shard
from .finished_files import OutputFiles
from .manifest import read_manifest
from .options import NarrateOptions, make_narrate_options
from .run import Narration, NarrationResult

if TYPE_CHECKING:
    from ..books.document import Document
    from ..speech.synthesizer import Synthesizer
    from .segment_run import Progress

# Options of narrate that have no meaning for batch.
_ONLY_NARRATE = (
    "input_format", "markup", "alt", "code", "chapters", "preview", "title", "author", "album", "cover",
    "pause_chapter", "on_error", "redo", "align", "srt", "vtt", "timings", "chapter_vtt", "cue_sheet",
)  # fmt: skip


def narrate(
    source: str | os.PathLike[str] | bytes,
    output: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | Synthesizer | None = None,
    precision: str = "auto",
    threads: int | None = None,
    cache: bool = True,
    progress: Callable[[Progress], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    **options: Any,
) -> NarrationResult:
    """Narrate a text of any length into audio files. Returns what was made.

    source: the path of a .txt, .md, .html or .epub file, or the bytes of one; see input_format. output: the path of a
    file, whose extension is the format, or of a folder (ending with a slash, or existing), which gets a file for each
    chapter. model: as for Synthesizer.open, or a Synthesizer, which stays open. precision, threads, cache: as for
    Synthesizer.open. progress: called with a Progress, often. on_warning: called with one line for each warning; None
    means Python's UserWarning. options: fields of NarrateOptions and of SpeakOptions.

    What was spoken is kept in a folder beside the output until the output is complete: the same call goes on after a
    failure. Raises UsageError for input or options that cannot be narrated, before anything is spoken; InputError,
    OutputError, GenerationError, EngineError, and as Synthesizer.open does.

    >>> result = narrate("book.epub", "book.opus", voice="ryan", model="0.6b")
    >>> result.files, result.seconds
    ([PosixPath('book.opus')], 36012.4)
    """
    chosen = make_narrate_options(options)
    warn = on_warning or (lambda line: warnings.warn(line, stacklevel=2))
    document = read_input(source, chosen)
    files = OutputFiles(output, document, chosen, source)
    chapters = chosen_chapters(document, chosen)
    with ExitStack() as stack:
        synthesizer = _opened(stack, model, precision=precision, threads=threads, cache=cache, on_warning=warn)
        return Narration(synthesizer, document, chapters, files, chosen, progress or (lambda _: None), warn).run()


def batch(
    manifest: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | Synthesizer | None = None,
    precision: str = "auto",
    threads: int | None = None,
    cache: bool = True,
    shard: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    **options: Any,
) -> BatchResult:
    """Speak each row of a manifest into a file of its own. Returns what was made; `failed` counts rows without a file.

    manifest: a .csv file with a header, or JSON Lines; see docs/narrate.md for its keys. output: a folder, which also
    gets the result, manifest.jsonl. shard: "i/n" takes the rows k with k % n = i; without `seed` all shards of a folder
    share the one that the first of them draws. The other arguments: see `narrate`.

    What was spoken is kept in a folder in the output until every row has its file: the same call goes on after a
    failure, also with a manifest that was mended. Raises UsageError for a manifest or options that are wrong, before
    anything is spoken; a row that its own voice or text makes wrong fails alone. Also raises InputError, OutputError,
    EngineError, and as Synthesizer.open does.

    >>> batch("lines.jsonl", "lines/", voice="ryan", model="0.6b", seed=1).rows
    1200
    """
    chosen = make_narrate_options(options)
    warn = on_warning or (lambda line: warnings.warn(line, stacklevel=2))
    _check_batch_options(options)
    part, folder = parse_shard(shard), Path(output)
    rows = read_manifest(Path(manifest), chosen.audio_format or "wav", folder)
    with ExitStack() as stack:
        synthesizer = _opened(stack, model, precision=precision, threads=threads, cache=cache, on_warning=warn)
        run = Batch(synthesizer, rows, folder, part, chosen, progress or (lambda _: None), warn)
        return run.run()


def _check_batch_options(given: Iterable[str]) -> None:
    """Raise UsageError for options that `batch` does not have. given: their names."""
    if other := next((name for name in given if name in _ONLY_NARRATE), None):
        raise UsageError(f"{other}: batch does not have this option of narrate")


def _opened(stack: ExitStack, model: Any, **engine: Any) -> Synthesizer:
    """The synthesizer of a call: `model` itself if it is one, else one that `stack` closes."""
    from ..speech.synthesizer import Synthesizer

    return model if isinstance(model, Synthesizer) else stack.enter_context(Synthesizer.open(model, **engine))


def read_input(source: str | os.PathLike[str] | bytes, options: NarrateOptions) -> Document:
    """Read the document. Raises UsageError and InputError."""
    path = source if isinstance(source, bytes) else Path(source)
    return read_document(path, format=options.input_format, alt=options.alt, code=options.code, markup=options.markup)


def chosen_chapters(document: Document, options: NarrateOptions) -> list[int]:
    """The indices of the chapters that are narrated. Raises UsageError."""
    count = len(document.chapters)
    if not count:
        raise UsageError("nothing to speak: the text has no chapter")
    return list(range(count)) if options.chapters is None else select_chapters(options.chapters, count)
