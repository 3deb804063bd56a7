"""A steady voice for a base model without a recording: one segment becomes the recording of all others."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..common.audio_constants import SAMPLE_RATE
from ..errors import GenerationError, InputError
from .speaking import Speaking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..hearing.word_errors import Verifier
    from ..speech.synthesizer import Synthesizer
    from .options import NarrateOptions
    from .run_record import RunRecord
    from .segment_store import SegmentStore
    from .segments import Segment, SpokenChapter

LEAST_CHARACTERS = 40  # of the recording: about three seconds; a heading tells a model too little of a voice
_KEY = "reference"  # in run.json: of the facts, and of how often it was to be spoken with a new seed


def choose_reference(chapters: Sequence[SpokenChapter]) -> Segment | None:
    """The segment that becomes the recording: the first of at least LEAST_CHARACTERS; else the longest of the first
    chapter that has one. Segments with the voice of a tag are left out. None: there are no others."""
    found = [[each for each in chapter.segments if each.plan.cloned is None] for chapter in chapters]
    long = next((each for segments in found for each in segments if len(each.text) >= LEAST_CHARACTERS), None)
    return long or max(next(filter(None, found), []), key=lambda each: len(each.text), default=None)


def speak_reference(
    synthesizer: Synthesizer,
    store: SegmentStore,
    record: RunRecord,
    options: NarrateOptions,
    chosen: Segment | None,
    fixed: dict[str, object],
    verifier: Verifier | None,
) -> tuple[NarrateOptions, Segment | None]:
    """The options with the voice of one segment, which is spoken alone, before any other, without a voice.

    It is spoken once and recorded in run.json: it stays when its text changes, until it is spoken anew by options.redo
    or with another model, seed or settings. chosen: the segment, without a voice; None: there is none. fixed: as for
    Segmenter. Returns also the segment, if what it says is the recording; else None. Raises GenerationError if it
    fails.
    """
    if chosen is None:
        return options, None
    if chosen.name in options.redo:
        record.redo(_KEY)
        options = replace(options, redo=tuple(name for name in options.redo if name != chosen.name))
    chosen = replace(chosen, redone=record.redone().get(_KEY, 0))
    made_of = _made_of(chosen, fixed)
    recorded = _recorded(record)
    if recorded is None or recorded["made_of"] != made_of or store.read(recorded["digest"]) is None:
        if store.read(chosen.digest) is None:
            _speak_alone(synthesizer, store, chosen, options, verifier)
        recorded = {"digest": chosen.digest, "text": chosen.text, "made_of": made_of}
        record.save(**{_KEY: recorded})
    samples = store.read(recorded["digest"])
    if samples is None:
        raise InputError(f"{store.folder}: the reference of the voice cannot be read back")
    voice = synthesizer.clone((samples, SAMPLE_RATE), recorded["text"], name="steady", on_warning=lambda line: None)
    options = replace(options, speak=replace(options.speak, voice=voice))
    return options, chosen if chosen.digest == recorded["digest"] else None


def with_reference(chapters: list[SpokenChapter], reference: Segment | None) -> list[SpokenChapter]:
    """The chapters with the recording itself in the place of the segment of its name and text."""
    if reference is None:
        return chapters

    def chosen(segment: Segment) -> Segment:
        same = (segment.name, segment.text) == (reference.name, reference.text)
        return replace(reference, gap=segment.gap) if same else segment

    return [replace(chapter, segments=[chosen(each) for each in chapter.segments]) for chapter in chapters]


def _made_of(chosen: Segment, fixed: dict[str, object]) -> str:
    """The hash of all that the recording depends on, but for its text."""
    facts = [fixed, chosen.plan.settings, chosen.plan.seed, chosen.redone]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _recorded(record: RunRecord) -> dict[str, Any] | None:
    found = record.facts.get(_KEY)
    names = ("digest", "text", "made_of")
    return found if isinstance(found, dict) and all(isinstance(found.get(name), str) for name in names) else None


def _speak_alone(
    synthesizer: Synthesizer, store: SegmentStore, chosen: Segment, options: NarrateOptions, verifier: Verifier | None
) -> None:
    speaking = Speaking(
        synthesizer, store, batch=1, retries=options.retries, done=lambda outcome: None,
        verifier=verifier, max_wer=options.max_wer,
    )  # fmt: skip
    speaking.speak([chosen], stop_at_failure=True)
    if speaking.failed:
        why, hint = speaking.failed[0].failure, f"--redo {chosen.name} speaks it with another seed"
        raise GenerationError(f"segment {chosen.name}, the voice of all others, failed: {why} ({hint})")
