"""Narrate a document: its segments are spoken into a folder, from which the finished files are put together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EngineError, GenerationError, InputError, UsageError
from ..models.content_digest import content_digest
from ..packed.verify import calibration_facts
from ..scheduling.guard import expected_seconds
from .assembly import lay_out
from .finished_files import OutputFiles
from .options import open_verifier, read_lexicon
from .run_log import RunLog
from .run_record import RunRecord
from .segment_run import SegmentRun
from .segment_store import SegmentStore
from .segments import Segmenter, SpokenChapter
from .steady_voice import choose_reference, speak_reference, with_reference

if TYPE_CHECKING:
    from ..books.document import Document
    from ..hearing.word_errors import Verifier
    from ..speech.synthesizer import Synthesizer
    from .assembly import Measure, Track
    from .options import NarrateOptions
    from .segment_run import Progress

PREVIEW_SECONDS = 60


@dataclass
class NarrationResult:
    """What a run has made. files: the finished files. seconds: their length. segments: how many segments they have.
    failed: (name, reason) of each segment that failed. heard: (name, word error rate) of each segment that a recogniser
    has heard, the worst first. seed: the seed in use."""

    files: list[Path] = field(default_factory=list)
    seconds: float = 0.0
    segments: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    heard: list[tuple[str, float]] = field(default_factory=list)
    seed: int = 0


class Narration:
    """One run of `narrate`.

    document: the input. chosen: the indices of its chapters. output: the finished files. progress: called with a
    Progress, often. warn: called with one line for each warning.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        document: Document,
        chosen: list[int],
        output: OutputFiles,
        options: NarrateOptions,
        progress: Callable[[Progress], None],
        warn: Callable[[str], None],
    ) -> None:
        self._synthesizer, self._document, self._chosen = synthesizer, document, chosen
        self._output, self._options, self._progress, self._warn = output, options, progress, warn

    def run(self) -> NarrationResult:
        """Speak what is missing, and write the finished files.

        Raises UsageError before anything is spoken; OutputError, EngineError; GenerationError if segments have failed
        and options.on_error is "stop". What was spoken stays in the folder of segments then.
        """
        verifier = open_verifier(self._options)
        self._output.prepare()
        with ExitStack() as stack:
            store = stack.enter_context(SegmentStore.open(self._output.segment_folder, keep=self._options.keep))
            record = RunRecord(store)
            try:
                self._check_redo(store, record)
                seed = record.seed(self._options.seed)
                chapters = self._chapters(store, record, seed, verifier)
                self._output.check_chapters(chapters)
            except (UsageError, InputError):
                if store.is_empty():
                    store.keep = False
                    store.remove_all()
                    self._output.undo_prepare()
                raise
            except GenerationError:
                record.finish()
                raise
            segments = [segment for chapter in chapters for segment in chapter.segments]
            log = stack.enter_context(RunLog.open(store.log_path))
            run = SegmentRun(self._synthesizer, store, log, segments, self._options, verifier, self._progress)
            run.speak(stop_at_failure=self._options.on_error == "stop")
            outcomes = [(each.name, run.outcomes[each.digest]) for each in segments if each.digest in run.outcomes]
            result = NarrationResult(segments=len(segments), seed=seed)
            result.failed = [(name, found.failure) for name, found in outcomes if found.failure]
            if result.failed and self._options.on_error == "stop":
                record.finish()
                raise GenerationError(_failed_text(result.failed, store.folder))
            tracks = self._lay_out(chapters, run.measures)
            run.tell("writing")
            heard = [(name, found.word_errors) for name, found in outcomes if found.word_errors is not None]
            result.heard = sorted(heard, key=lambda each: -each[1])
            result.files = self._output.write(tracks, store, run.outcomes)
            result.seconds = sum(track.seconds for track in tracks)
            record.finish()
            if not (self._options.preview or result.failed):
                store.remove_all()
            return result

    def _check_redo(self, store: SegmentStore, record: RunRecord) -> None:
        """Warn of options.redo without an earlier run. Raises UsageError if no seed is given: all would be others."""
        if not self._options.redo or record.facts or not store.is_empty():
            return
        lacks = f"redo: {store.folder} has no segments of an earlier run"
        if self._options.seed is None:
            raise UsageError(
                f"{lacks}, which are removed when the output is complete; speak it with --keep first, "
                "or give a seed (--seed) to speak all of it again"
            )
        self._warn(f"{lacks}, so all of them are spoken")

    # ---------------------------------------------------------------- segments
    def _chapters(
        self, store: SegmentStore, record: RunRecord, seed: int, verifier: Verifier | None
    ) -> list[SpokenChapter]:
        """The segments of all chapters; at least one. Raises UsageError."""
        lexicon = read_lexicon(self._options)
        options = self._with_one_voice(self._options)
        fixed = fixed_facts(self._synthesizer)

        def segmented(options: NarrateOptions, voiceless: bool = False) -> list[SpokenChapter]:
            warn = (lambda line: None) if voiceless else self._warn
            maker = Segmenter(self._synthesizer, options, seed, fixed, lexicon, warn, voiceless)
            found = maker.chapters(self._document, self._chosen)
            if not any(chapter.segments for chapter in found):
                raise UsageError("nothing to speak: the text holds no letter or digit")
            return found

        reference = None
        if options.steady and self._has_no_voice(options):
            chosen = choose_reference(segmented(options, True))
            options, reference = speak_reference(self._synthesizer, store, record, options, chosen, fixed, verifier)
        chapters = with_reference(record.with_redone(segmented(options), options.redo), reference)
        return _first_minute(chapters) if options.preview else chapters

    def _with_one_voice(self, options: NarrateOptions) -> NarrateOptions:
        """The options with the recording to clone cloned, once for all segments."""
        speak = options.speak
        if speak.ref_audio is None:
            return options
        if speak.voice is not None:
            raise UsageError("voice: leave out either the voice or the reference recording")
        voice = self._synthesizer.clone(speak.ref_audio, speak.ref_text, on_warning=speak.on_warning)
        return replace(options, speak=replace(speak, voice=voice, ref_audio=None, ref_text=None))

    def _has_no_voice(self, options: NarrateOptions) -> bool:
        return self._synthesizer.config.model_type == "base" and options.speak.voice is None

    # ---------------------------------------------------------------- output
    def _lay_out(self, chapters: list[SpokenChapter], measures: dict[str, Measure]) -> list[Track]:
        if not self._output.is_folder:
            title = self._options.title or self._document.title
            return [lay_out(chapters, title, 0, measures, self._options)]
        spoken = [each for each in chapters if each.segments]
        return [lay_out([each], each.title, each.number, measures, self._options) for each in spoken]


def fixed_facts(synthesizer: Synthesizer) -> dict[str, object]:
    """What the samples of all segments depend on besides text, voice and seed."""
    folder = synthesizer.config.path
    try:
        digest = content_digest(folder)
    except OSError as error:
        raise EngineError(f"{folder}: {error.strerror or error}") from None
    facts: dict[str, object] = {"model": digest, "precision": synthesizer.precision, "kernels": synthesizer.kernels}
    if synthesizer.precision == "int4-calibrated":
        facts.update(calibration_facts(folder))
    return facts


def _first_minute(chapters: list[SpokenChapter]) -> list[SpokenChapter]:
    seconds, kept = 0.0, []
    for chapter in chapters:
        segments = []
        for segment in chapter.segments:
            if seconds >= PREVIEW_SECONDS:
                break
            segments.append(segment)
            seconds += expected_seconds(segment.text) + segment.gap
        if segments:
            segments[-1] = replace(segments[-1], gap=0.0)
            kept.append(replace(chapter, segments=segments))
    return kept


def _failed_text(failed: list[tuple[str, str]], folder: Path) -> str:
    shown = "; ".join(f"{name}: {why}" for name, why in failed[:5])
    more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
    hint = f"--redo {failed[0][0]} speaks it with another seed, --on-error skip leaves silence"
    return (
        f"{len(failed)} segment{'s' if len(failed) > 1 else ''} failed: {shown}{more} ({hint}; the rest is in {folder})"
    )
