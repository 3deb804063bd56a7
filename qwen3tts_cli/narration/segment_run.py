"""The segments of one run: those that an earlier run has left, those that are spoken now, and how far the run is."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..common.audio_constants import SAMPLE_RATE
from ..scheduling.guard import expected_seconds
from .assembly import Measure, measure
from .speaking import Outcome, Speaking, as_written, outcome_of, record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from ..hearing.word_errors import Verifier
    from ..speech.synthesizer import Synthesizer
    from .options import NarrateOptions
    from .run_log import RunLog
    from .segment_store import SegmentStore
    from .segments import Segment


@dataclass(frozen=True)
class Progress:
    """How far a run is. segments, seconds: those that are there, of `all_segments` and about `all_seconds`. spoken: the
    seconds that this run has spoken. stage: "speaking" or "writing"."""

    stage: str
    segments: int
    all_segments: int
    seconds: float
    all_seconds: float
    spoken: float


class SegmentRun:
    """Speaks the segments that the folder of segments lacks.

    segments: all of the run, in their order. verifier: hears each segment; None: no one does. progress: called with a
    Progress, often.

    Attributes, by the digest of the segment: measures: of those that are there. outcomes: of those that this run has
    spoken, and of others whose outcome is in the log. spoken: the digests of the first of these. rtf: seconds of
    computing for a second of speech; None: nothing was spoken.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        store: SegmentStore,
        log: RunLog,
        segments: Sequence[Segment],
        options: NarrateOptions,
        verifier: Verifier | None,
        progress: Callable[[Progress], None],
    ) -> None:
        self._synthesizer, self._store, self._log, self._segments = synthesizer, store, log, segments
        self._options, self._verifier, self._progress = options, verifier, progress
        self._places = Counter(segment.digest for segment in segments)  # how many are spoken from the same file
        self._there, self._seconds, self._spoken_seconds = 0, 0.0, 0.0
        self.measures: dict[str, Measure] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.spoken: set[str] = set()
        self.rtf: float | None = None

    def speak(self, *, stop_at_failure: bool) -> None:
        """Speak what is missing. stop_at_failure and errors: as in Speaking.speak; also GenerationError if the
        recogniser fails."""
        missing = self._missing()
        self.tell("speaking")
        o = self._options
        began = time.perf_counter()
        Speaking(
            self._synthesizer, self._store, batch=o.batch, retries=o.retries, done=self._note,
            verifier=self._verifier, max_wer=o.max_wer,
        ).speak(missing, stop_at_failure=stop_at_failure)  # fmt: skip
        if self._spoken_seconds:
            self.rtf = round((time.perf_counter() - began) / self._spoken_seconds, 4)

    def tell(self, stage: str) -> None:
        """Report how far the run is. stage: see Progress."""
        if self._there:
            total = self._seconds / self._there * len(self._segments)
        else:
            total = sum(expected_seconds(segment.text) for segment in self._segments)
        self._progress(Progress(stage, self._there, len(self._segments), self._seconds, total, self._spoken_seconds))

    def _missing(self) -> list[Segment]:
        """The segments that are to be spoken; notes the others."""
        earlier = {
            record["segment"]: record for record in self._log.records() if isinstance(record.get("segment"), str)
        }
        firsts: dict[str, Segment] = {}
        for each in self._segments:
            firsts.setdefault(each.digest, each)
        missing = []
        for digest, segment in firsts.items():
            samples = self._store.read(digest)
            outcome = outcome_of(segment, earlier.get(digest))
            if samples is not None and self._verifier is not None:
                outcome = self._heard(segment, outcome, samples, self._verifier)
                if outcome.word_errors > self._options.max_wer:
                    samples = None
            if samples is None:
                missing.append(segment)
                continue
            self._note_measure(digest, samples)
            if outcome is not None:
                self.outcomes[digest] = outcome
        return missing

    def _heard(self, segment: Segment, outcome: Outcome | None, samples: np.ndarray, verifier: Verifier) -> Outcome:
        """The outcome of a segment with its word error rate, also if an earlier run had no verifier or lost its log."""
        if outcome is None or outcome.word_errors is None:
            words = verifier.check(samples, segment.text, segment.plan.language)
            outcome = replace(outcome or Outcome(segment, None, None, segment.seed(0)), word_errors=words)
            self._log.append(record_of(outcome))
        return outcome

    def _note(self, outcome: Outcome) -> None:
        digest = outcome.segment.digest
        if outcome.samples is not None:
            self._note_measure(digest, as_written(outcome.samples))
            self._spoken_seconds += len(outcome.samples) / SAMPLE_RATE
            self.spoken.add(digest)
        self.outcomes[digest] = replace(outcome, samples=None)
        self._log.append(record_of(outcome))
        self.tell("speaking")

    def _note_measure(self, digest: str, samples: np.ndarray) -> None:
        facts = self.measures[digest] = measure(samples, self._options.speed)
        self._there += self._places[digest]
        self._seconds += self._places[digest] * facts.samples / SAMPLE_RATE
