"""Speak each row of a manifest into a file of its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..books.document import Chapter, Document, Paragraph
from ..cloning.resolve_voice import CloneCache
from ..errors import OutputError, UsageError
from ..output.files import write_output
from ..output.tagged_file import choose_tagged_format, require_encoder, write_tagged
from ..output.tagging import Tags
from .assembly import Measure, lay_out, measure, samples_of
from .run import Progress, fixed_facts
from .run_record import RunRecord
from .segment_store import SegmentStore
from .segments import Segmenter
from .speaking import Outcome, Speaking, as_written

if TYPE_CHECKING:
    from ..speech.synthesizer import Synthesizer
    from .manifest import Row
    from .options import NarrateOptions
    from .segments import Segment, SpokenChapter


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
    found = re.fullmatch(r"([0-9]{1,9})/([1-9][0-9]{0,8})", shard or "0/1")
    if found is None or int(found[1]) >= int(found[2]):
        raise UsageError(f"shard: found {shard}, expected i/n with 0 <= i < n, such as 0/4")
    return int(found[1]), int(found[2])


@dataclass
class _Spoken:
    """A row, its segments, or why it has none."""

    row: Row
    chapter: SpokenChapter | None = None
    error: str | None = None
    missing: set[str] = field(default_factory=set)  # digests of the segments that are not there yet


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
        self._name = "manifest.jsonl" if shard[1] == 1 else f"manifest.{shard[0]}-of-{shard[1]}.jsonl"
        self._segments = ".segments" if shard[1] == 1 else f".segments.{shard[0]}-of-{shard[1]}"
        self._progress, self._warn = progress, warn
        self._measures: dict[str, Measure] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._spoken_seconds = 0.0
        for row in rows:
            audio = choose_tagged_format(row.out, options.subtype, options.rate)
            require_encoder(audio)

    def run(self) -> BatchResult:
        """Speak all rows that can be spoken. Raises UsageError, OutputError, EngineError."""
        _make_folder(self._folder)
        with ExitStack() as stack:
            store = stack.enter_context(SegmentStore.open(self._folder / self._segments, keep=self._options.keep))
            seed = RunRecord(store).seed(self._options.seed)
            began = time.perf_counter()
            rows = self._segment(seed)
            self._speak(store, rows)
            elapsed = time.perf_counter() - began
            rtf = elapsed / self._spoken_seconds if self._spoken_seconds else None
            facts = [self._finish(store, each, seed, rtf) for each in rows]
            path = self._folder / self._name
            with write_output(os.fspath(path)) as output:
                output.write("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in facts).encode())
            store.remove_all()
        failed = sum(each["error"] is not None for each in facts)
        return BatchResult(path, len(facts), failed, sum(each["seconds"] or 0.0 for each in facts), seed)

    # ---------------------------------------------------------------- segments
    def _segment(self, seed: int) -> list[_Spoken]:
        """The segments of all rows. An error of one row is kept with it."""
        clones, fixed, lexicon = CloneCache(self._synthesizer), fixed_facts(self._synthesizer), None
        if self._options.lexicon is not None:
            from ..spoken_text.lexicon import Lexicon

            lexicon = Lexicon.read(Path(self._options.lexicon))
        made = []
        for row in self._rows:
            try:
                options = self._row_options(row, clones)
                row_seed = seed if row.seed is None else row.seed
                maker = Segmenter(self._synthesizer, options, row_seed, fixed, lexicon, self._warn)
                document = Document([Chapter("", [Paragraph(text) for text in _paragraphs(row.text)])])
                chapter = maker.chapters(document, [0])[0]
                if not chapter.segments:
                    raise UsageError("nothing to speak: the text holds no letter or digit")
                made.append(_Spoken(row, chapter))
            except (UsageError, OSError) as error:
                made.append(_Spoken(row, error=re.sub(r"^chapter 1: ", "", str(error))))
        return made

    def _row_options(self, row: Row, clones: CloneCache) -> NarrateOptions:
        speak = self._options.speak
        given = {name: getattr(row, name) for name in ("language", "instruct", "design") if getattr(row, name)}
        if row.ref is not None:
            given["voice"] = clones.voice(row.ref, row.ref_text, self._warn)
        elif row.voice is not None:
            given["voice"] = row.voice
        return replace(self._options, speak=replace(speak, **given)) if given else self._options

    # ---------------------------------------------------------------- speaking
    def _speak(self, store: SegmentStore, rows: list[_Spoken]) -> None:
        missing: dict[str, Segment] = {}
        segments = [segment for each in rows if each.chapter for segment in each.chapter.segments]
        for segment in segments:
            if segment.digest in missing or segment.digest in self._measures:
                continue
            if (samples := store.read(segment.digest)) is None:
                missing[segment.digest] = segment
            else:
                self._measures[segment.digest] = measure(samples, self._options.speed)

        def tell(stage: str) -> None:
            seconds = sum(each.samples for each in self._measures.values()) / 24000
            count = len(self._measures)
            total = seconds * len(segments) / count if count else 0.0
            self._progress(Progress(stage, count, len(segments), seconds, total, self._spoken_seconds))

        def done(outcome: Outcome) -> None:
            digest = outcome.segment.digest
            if outcome.samples is not None:
                self._measures[digest] = measure(as_written(outcome.samples), self._options.speed)
                self._spoken_seconds += len(outcome.samples) / 24000
            self._outcomes[digest] = replace(outcome, samples=None)
            tell("speaking")

        tell("speaking")
        o, verifier = self._options, None
        if o.verify is not None:
            from ..hearing.word_errors import Verifier

            verifier = Verifier.open(os.fspath(o.verify))
        Speaking(
            self._synthesizer, store, batch=o.batch, retries=o.retries, done=done, verifier=verifier, max_wer=o.max_wer
        ).speak(missing.values(), stop_at_failure=False)
        tell("writing")

    # ---------------------------------------------------------------- results
    def _finish(self, store: SegmentStore, spoken: _Spoken, seed: int, rtf: float | None) -> dict[str, Any]:
        """Write the file of a row. Returns its row of the result."""
        row, error = spoken.row, spoken.error
        facts: dict[str, Any] = {**row.more, "path": row.out, "text": row.text, "voice": row.voice}
        facts.update(language=row.language, seed=seed if row.seed is None else row.seed)
        facts.update(seconds=None, sha256=None, rtf=None, attempts=None, error=error)
        if spoken.chapter is None:
            return facts
        segments = spoken.chapter.segments
        plan = segments[0].plan
        outcomes = [self._outcomes[each.digest] for each in segments if each.digest in self._outcomes]
        failures = [each.failure for each in outcomes if each.failure]
        facts.update(voice=plan.voice, language=plan.language)
        if outcomes:
            facts.update(attempts=sum(each.attempts for each in outcomes), rtf=rtf)
        if failures:
            facts["error"] = failures[0]
            return facts
        track = lay_out([spoken.chapter], "", row.number, lambda each: self._measures.get(each.digest), self._options)
        path = self._folder / row.out
        _make_folder(path.parent)
        audio = choose_tagged_format(row.out, self._options.subtype, self._options.rate)
        chunks = samples_of(track, store, self._options.speed, self._options.rate)
        write_tagged(os.fspath(path), chunks, audio, rate=self._options.rate, tags=Tags(language=plan.language or ""))
        facts.update(seconds=track.seconds, sha256=_sha256(path))
        return facts


def _paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n").replace("\r", "\n")) if part.strip()]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from None
