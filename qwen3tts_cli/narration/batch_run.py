"""Speak each row of a manifest into a file of its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..books.document import Chapter, Document, Paragraph
from ..common import arguments
from ..errors import InputError, OutputError, UsageError
from ..output.files import write_output
from ..output.tagged_file import choose_tagged_format, require_encoder, write_tagged
from ..output.tagging import Tags
from ..speech.plan import make_plan
from ..speech.utterance_prompts import make_prompt
from .assembly import lay_out, samples_of
from .options import open_verifier, read_lexicon
from .run import fixed_facts
from .run_log import RunLog
from .run_record import RunRecord, recorded_seed, shared_seed
from .segment_run import SegmentRun
from .segment_store import SegmentStore
from .segments import Segmenter

if TYPE_CHECKING:
    from ..cloning.voice_file import Voice
    from ..output.formats import AudioFormat
    from ..speech.speak_options import SpeakOptions
    from ..speech.synthesizer import Synthesizer
    from .manifest import Row
    from .options import NarrateOptions
    from .segment_run import Progress
    from .segments import SpokenChapter


@dataclass
class BatchResult:
    """What a run has made. manifest: the result file. rows, failed: how many rows it has, and how many of them failed.
    seconds: of speech. seed: of the rows without one."""

    manifest: Path
    rows: int = 0
    failed: int = 0
    seconds: float = 0.0
    seed: int = 0


def parse_shard(shard: str | None) -> tuple[int, int]:
    """(i, n) of "i/n": a run takes the rows k with k % n = i. Raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,9})/([1-9][0-9]{0,8})", arguments.text("shard", "0/1" if shard is None else shard))
    if found is None or int(found[1]) >= int(found[2]):
        arguments.refuse("shard", shard, "i/n with 0 <= i < n, such as 0/4")
    return int(found[1]), int(found[2])


@dataclass(frozen=True)
class _RowSegments:
    """A row with its segments, or with why it has none."""

    row: Row
    chapter: SpokenChapter | None = None
    error: str | None = None


class Batch:
    """One run of `batch`; see `entry.batch`."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        rows: list[Row],
        folder: Path,
        shard: tuple[int, int],
        options: NarrateOptions,
        progress: Callable[[Progress], None],
        warn: Callable[[str], None],
    ) -> None:
        self._synthesizer, self._folder, self._options = synthesizer, folder, options
        self._rows = [row for row in rows if row.number % shard[1] == shard[0]]
        self._is_shard = shard[1] > 1
        part = f".{shard[0]}-of-{shard[1]}" if self._is_shard else ""
        self._result, self._segments = folder / f"manifest{part}.jsonl", folder / f".segments{part}"
        self._progress, self._warn = progress, warn
        self._formats: dict[str, AudioFormat] = {}
        for row in rows:
            if (extension := _extension(row)) not in self._formats:
                try:
                    audio = choose_tagged_format(row.out, options.subtype, options.rate)
                except UsageError as error:
                    raise UsageError(f"line {row.line}: {error}") from None
                require_encoder(audio)
                self._formats[extension] = audio

    def run(self) -> BatchResult:
        """Speak all rows that can be spoken. Raises UsageError, OutputError, EngineError."""
        _make_folder(self._folder)
        if self._result.is_dir():
            raise OutputError(f"{self._result}: is a folder, so it cannot be the result")
        verifier = open_verifier(self._options)
        with ExitStack() as stack:
            store = stack.enter_context(SegmentStore.open(self._segments, keep=self._options.keep))
            seed = self._seed(store)
            rows = self._segment(seed)
            log = stack.enter_context(RunLog.open(store.log_path))
            segments = [each for row in rows if row.chapter for each in row.chapter.segments]
            run = SegmentRun(self._synthesizer, store, log, segments, self._options, verifier, self._progress)
            run.speak(stop_at_failure=False)
            run.tell("writing")
            facts = [self._finish(store, run, each, seed) for each in rows]
            with write_output(os.fspath(self._result)) as output:
                for each in facts:
                    output.write((json.dumps(each, ensure_ascii=False) + "\n").encode())
            failed = sum(each["error"] is not None for each in facts)
            if not failed:  # else the same command, with other rows, speaks only what is missing
                store.remove_all()
        return BatchResult(self._result, len(facts), failed, sum(each["seconds"] or 0.0 for each in facts), seed)

    def _seed(self, store: SegmentStore) -> int:
        """The seed of the rows without one. Shards share the one that is drawn, with each other and with a whole run
        that comes later."""
        given = self._options.seed
        if given is None:
            given = shared_seed(self._folder) if self._is_shard else recorded_seed(self._folder)
        return RunRecord(store).seed(given)

    # ---------------------------------------------------------------- segments
    def _segment(self, seed: int) -> list[_RowSegments]:
        """The segments of all rows. An error of one row is kept with it."""
        synthesizer, lexicon = self._synthesizer, read_lexicon(self._options)
        fixed = fixed_facts(synthesizer)
        speak = self._default_voice(seed)
        voices: dict[tuple[Path, str | None], Voice] = {}
        makers: dict[tuple[object, ...], Segmenter] = {}

        def maker_of(row: Row) -> Segmenter:
            which = (row.voice, row.language, row.instruct, row.design, row.ref, row.ref_text, row.seed)
            if which not in makers:
                names = ("voice", "language", "instruct", "design")
                given = {name: getattr(row, name) for name in names if getattr(row, name)}
                if row.ref is not None:
                    recording = row.ref, row.ref_text
                    if recording not in voices:
                        voices[recording] = synthesizer.clone(*recording, on_warning=self._warn)
                    given["voice"] = voices[recording]
                options = replace(self._options, speak=replace(speak, **given))
                row_seed = seed if row.seed is None else row.seed
                makers[which] = Segmenter(synthesizer, options, row_seed, fixed, lexicon, self._warn)
            return makers[which]

        made = []
        for row in self._rows:
            try:
                document = Document([Chapter("", [Paragraph(text) for text in _paragraphs(row.text)])])
                chapter = maker_of(row).chapters(document, [0])[0]
                if not chapter.segments:
                    raise UsageError("nothing to speak: the text holds no letter or digit")
                self._check_prompts(chapter)
                made.append(_RowSegments(row, chapter))
            except (UsageError, InputError) as error:
                made.append(_RowSegments(row, error=re.sub(r"^chapter 1: ", "", str(error))))
        return made

    def _default_voice(self, seed: int) -> SpeakOptions:
        """How rows without a voice of their own are spoken. Raises UsageError if that is no row's own fault."""
        synthesizer, speak = self._synthesizer, self._options.speak
        if speak.ref_audio is not None and speak.voice is None:  # cloned once for all rows
            voice = synthesizer.clone(speak.ref_audio, speak.ref_text, on_warning=speak.on_warning or self._warn)
            speak = replace(speak, voice=voice, ref_audio=None, ref_text=None)
        if not any(row.voice or row.language or row.instruct or row.design or row.ref for row in self._rows):
            plan = make_plan(synthesizer, replace(speak, seed=seed))
            with synthesizer.lifetime.alone():
                make_prompt(synthesizer.model, synthesizer.model.checkpoint.tokenizer, "A", plan)
        return speak

    def _check_prompts(self, chapter: SpokenChapter) -> None:
        """Raise UsageError or InputError for a segment that the model refuses, which would end the speech of others."""
        model = self._synthesizer.model
        for segment in chapter.segments:
            with self._synthesizer.lifetime.alone():
                make_prompt(model, model.checkpoint.tokenizer, segment.text, segment.plan)

    # ---------------------------------------------------------------- results
    def _finish(self, store: SegmentStore, run: SegmentRun, spoken: _RowSegments, seed: int) -> dict[str, Any]:
        """Write the file of a row. Returns its row of the result."""
        row = spoken.row
        facts: dict[str, Any] = {"path": row.out, "text": row.text, "voice": row.voice and os.fspath(row.voice)}
        facts.update(language=row.language, seed=seed if row.seed is None else row.seed, seconds=None, sha256=None)
        facts.update(rtf=None, attempts=None, error=spoken.error)
        facts.update((name, value) for name, value in row.more.items() if name not in facts)
        if spoken.chapter is None:
            return facts
        segments, plan = spoken.chapter.segments, spoken.chapter.segments[0].plan
        outcomes = [run.outcomes[each.digest] for each in segments if each.digest in run.outcomes]
        failures = [each.failure for each in outcomes if each.failure]
        facts.update(voice=plan.voice, language=plan.language)
        if len(outcomes) == len(segments):  # else the log of an earlier run was lost
            facts["attempts"] = sum(each.attempts for each in outcomes)
        if failures:
            facts["error"] = failures[0]
            return facts
        if all(each.digest in run.spoken for each in segments):
            facts["rtf"] = run.rtf
        track = lay_out([spoken.chapter], "", row.number, run.measures, self._options)
        path, rate, tags = self._folder / row.out, self._options.rate, Tags(language=plan.language or "")
        if not self._folder.is_dir():
            raise OutputError(f"{self._folder}: the output folder was removed while it was in use")
        _make_folder(path.parent)
        chunks = samples_of(track, store, self._options.speed, rate)
        write_tagged(os.fspath(path), chunks, self._formats[_extension(row)], rate=rate, tags=tags)
        facts.update(seconds=track.seconds, sha256=_sha256(path))
        return facts


def _extension(row: Row) -> str:
    return PurePosixPath(row.out).suffix.lower()


def _paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n").replace("\r", "\n")) if part.strip()]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read back: {error.strerror or error}") from None
    return digest.hexdigest()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OutputError(f"{folder}: is not a folder, or in a path with a file") from None
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from None
