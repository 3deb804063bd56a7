"""The finished files of a narration: their names and formats, their tags, and the files of cues beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.audio_constants import SAMPLE_RATE
from ..errors import InputError, OutputError, UsageError
from ..hearing.segment_checks import trim
from ..output.chapter_files import file_names
from ..output.distinct_files import check_outputs
from ..output.files import is_stdout, write_output
from ..output.subtitles import MOST_CUE_SHEET_TRACKS, cue_sheet, srt, vtt, vtt_chapters
from ..output.tagged_file import choose_tagged_format, require_encoder, write_tagged
from ..output.tagging import Tags, cover_type
from .assembly import samples_of
from .options import is_folder

if TYPE_CHECKING:
    from ..books.document import Document
    from .assembly import Placed, Track
    from .options import NarrateOptions
    from .segment_store import SegmentStore
    from .segments import SpokenChapter
    from .speaking import Outcome

_CUE_SHEETS = ("wav", "flac", "mp3")
_ALIGNED = ("english", "auto")  # languages of segments whose words may be aligned


class OutputFiles:
    """Where the finished files of a narration go.

    Attributes: is_folder: whether each chapter has a file of its own. segment_folder: the folder of segments.
    Raises UsageError for options that exclude each other, OutputError if a format needs a program that is not there.
    """

    def __init__(
        self,
        output: str | os.PathLike[str],
        document: Document,
        options: NarrateOptions,
        source: str | os.PathLike[str] | bytes | None = None,
    ) -> None:
        name = os.fspath(output)
        if is_stdout(name):
            raise UsageError("output: a narration is not written to standard output; give -o FILE or -o FOLDER/")
        self.path, self.is_folder = Path(name), is_folder(name)
        self._document, self._options = document, options
        self._is_new = False  # whether `prepare` made the folder
        extension = options.audio_format or "opus"
        if not self.is_folder:
            extension = self.path.suffix[1:].lower()
            if options.audio_format not in (None, extension):
                raise UsageError(f"{name}: the extension and --audio-format {options.audio_format} differ")
        self.extension = extension
        path = None if self.is_folder else name
        self._audio = choose_tagged_format(path, options.subtype, options.rate, extension if self.is_folder else None)
        require_encoder(self._audio)
        if options.cue_sheet is not None and (self.is_folder or extension not in _CUE_SHEETS):
            raise UsageError(f"cue_sheet: is for one file of {', '.join(_CUE_SHEETS)}")
        if options.chapter_vtt is not None and self.is_folder:
            raise UsageError("chapter_vtt: is for one file, not for a folder with a file for each chapter")
        self._cover = document.cover if options.cover is None else _read_cover(Path(options.cover))
        self._aligner = None
        if options.align:
            from ..hearing.word_times import Aligner

            self._aligner = Aligner.open()
        parent = self.path if self.is_folder else self.path.parent
        if not self.is_folder and not parent.is_dir():
            raise UsageError(f"{name}: there is no folder {parent}")
        self._check_names(None if isinstance(source, bytes) else source)
        self.segment_folder = self.path / ".segments" if self.is_folder else parent / f"{self.path.name}.segments"

    def _check_names(self, source: str | os.PathLike[str] | None) -> None:
        o = self._options
        files = [("timings", o.timings), ("chapter_vtt", o.chapter_vtt), ("cue_sheet", o.cue_sheet)]
        if not self.is_folder:
            files += [("output", self.path), ("srt", o.srt), ("vtt", o.vtt)]
        for option, path in files:
            if path is not None and not (folder := Path(path).parent).is_dir() and option != "output":
                raise UsageError(f"{option} {path}: there is no folder {folder}")
        check_outputs(files, [("input", source), ("lexicon", o.lexicon), ("cover", o.cover)])

    def prepare(self) -> None:
        """Make the folder of the output, if it is one. Raises OutputError."""
        if self.is_folder and not self.path.is_dir():
            self._make_folder(self.path)
            self._is_new = True

    def undo_prepare(self) -> None:
        """Remove the folder that `prepare` made, if nothing is in it."""
        if self._is_new:
            with suppress(OSError):
                self.path.rmdir()

    def check_chapters(self, chapters: Sequence[SpokenChapter]) -> None:
        """Raise UsageError if a file of cues cannot have so many chapters."""
        count = sum(bool(chapter.segments) for chapter in chapters)
        if self._options.cue_sheet is not None and count > MOST_CUE_SHEET_TRACKS:
            raise UsageError(f"cue_sheet: has at most {MOST_CUE_SHEET_TRACKS} tracks, there are {count} chapters")

    def write(self, tracks: Sequence[Track], store: SegmentStore, outcomes: dict[str, Outcome]) -> list[Path]:
        """Write all files; each has its name only when it is whole. Returns the paths of the audio files.

        outcomes: of the segments that this run has spoken, by digest. Raises OutputError.
        """
        names = self._names(tracks)
        paths = []
        for index, (track, path) in enumerate(zip(tracks, names, strict=True)):
            chunks = samples_of(track, store, self._options.speed, self._options.rate)
            marks = track.marks if not self.is_folder and len(track.marks) > 1 else ()
            write_tagged(
                os.fspath(path), chunks, self._audio, rate=self._options.rate,
                tags=self._tags(track, index, len(tracks)), marks=marks, cover=self._cover,
            )  # fmt: skip
            paths.append(path)
        self._write_cues(tracks, paths, store, outcomes)
        return paths

    def _names(self, tracks: Sequence[Track]) -> list[Path]:
        if not self.is_folder:
            return [self.path]
        return [self.path / name for name in file_names([(each.number, each.title) for each in tracks], self.extension)]

    def _tags(self, track: Track, index: int, count: int) -> Tags:
        o, document = self._options, self._document
        book = o.title or document.title or self.path.stem
        language = document.language or o.speak.language or ""
        if not self.is_folder:
            return Tags(book, o.author or document.author, o.album or book, None, None, language)
        title = track.title or f"{track.number}"
        return Tags(title, o.author or document.author, o.album or book, index + 1, count, language)

    # ---------------------------------------------------------------- cues
    def _write_cues(
        self, tracks: Sequence[Track], paths: Sequence[Path], store: SegmentStore, outcomes: dict[str, Outcome]
    ) -> None:
        o = self._options
        for option, extension, text_of in ((o.srt, "srt", srt), (o.vtt, "vtt", vtt)):
            if option is None:
                continue
            if not self.is_folder:
                _write_text(Path(option), "".join(text_of(tracks[0].cues(), _end(tracks[0]))))
                continue
            folder = Path(option)
            self._make_folder(folder)
            for track, path in zip(tracks, paths, strict=True):
                _write_text(folder / f"{path.stem}.{extension}", "".join(text_of(track.cues(), _end(track))))
        if o.chapter_vtt is not None:
            _write_text(Path(o.chapter_vtt), "".join(vtt_chapters(tracks[0].marks)))
        if o.cue_sheet is not None:
            tags = self._tags(tracks[0], 0, 1)
            _write_text(Path(o.cue_sheet), "".join(cue_sheet(paths[0].name, self.extension, tags, tracks[0].marks)))
        if o.timings is not None:
            words = self._words_of(store)
            facts = [_facts(track, path, outcomes, words) for track, path in zip(tracks, paths, strict=True)]
            _write_text(Path(o.timings), json.dumps({"files": facts}, ensure_ascii=False, indent=1) + "\n")

    def _words_of(self, store: SegmentStore) -> Callable[[Placed], list[dict[str, Any]] | None]:
        """A function that finds the times of the words of a segment in the output; None where they are not known."""
        if self._aligner is None:
            return lambda placed: None
        aligner, speed = self._aligner, self._options.speed

        def words(placed: Placed) -> list[dict[str, Any]] | None:
            english = placed.segment.plan.language in _ALIGNED
            samples = store.read(placed.segment.digest) if english and not placed.failed else None
            found = None if samples is None else aligner.align(trim(samples), placed.segment.text)
            if found is None:
                return None
            start = placed.start / SAMPLE_RATE
            times = [(word, *(None if each is None else start + each / speed for each in at)) for word, *at in found]
            return [{"word": word, "start": begins, "end": ends} for word, begins, ends in times]

        return words

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: {error.strerror or error}") from None


def _facts(
    track: Track,
    path: Path,
    outcomes: dict[str, Outcome],
    words: Callable[[Placed], list[dict[str, Any]] | None],
) -> dict[str, Any]:
    """The timings of one file."""
    return {
        "file": path.name,
        "title": track.title,
        "seconds": track.seconds,
        "chapters": [{"title": mark.title, "start": mark.start, "end": mark.end} for mark in track.marks],
        "segments": [
            {**_segment_facts(each, outcomes.get(each.segment.digest)), "words": words(each)} for each in track.placed
        ],
    }


def _segment_facts(placed: Placed, outcome: Outcome | None) -> dict[str, Any]:
    segment = placed.segment
    return {
        "name": segment.name,
        "text": segment.written,
        "spoken": segment.text,
        "line": segment.line or None,
        "start": placed.start / SAMPLE_RATE,
        "end": (placed.start + placed.samples) / SAMPLE_RATE,
        "voice": segment.plan.voice,
        "language": segment.plan.language,
        "seed": outcome.seed if outcome else segment.seed(0),
        "attempts": outcome.attempts if outcome else None,
        "gain": placed.gain,
        "word_error_rate": outcome.word_errors if outcome else None,
        "error": outcome.failure if outcome else None,
    }


def _end(track: Track) -> float | None:
    """The end of the last cue: that of the audio, unless something follows the last segment that is spoken."""
    last = track.placed[-1]
    return None if last.failed or last.silence else track.seconds


def _write_text(path: Path, text: str) -> None:
    with write_output(os.fspath(path)) as output:
        output.write(text.encode("utf-8", "replace"))


def _read_cover(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    try:
        cover_type(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return data
