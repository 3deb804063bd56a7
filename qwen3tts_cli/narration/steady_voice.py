"""A steady voice for a base model without a recording: the first segment becomes the recording of all others."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..common.audio_constants import SAMPLE_RATE
from ..errors import GenerationError, InputError
from .speaking import Speaking

if TYPE_CHECKING:
    from ..hearing.word_errors import Verifier
    from ..speech.synthesizer import Synthesizer
    from .options import NarrateOptions
    from .run_record import RunRecord
    from .segment_store import SegmentStore
    from .segments import Segment, SpokenChapter

_KEY = "reference"  # in run.json: of the facts, and of how often it was to be spoken with a new seed


def first_as_reference(
    synthesizer: Synthesizer,
    store: SegmentStore,
    record: RunRecord,
    options: NarrateOptions,
    first: Segment | None,
    fixed: dict[str, object],
    verifier: Verifier | None,
) -> tuple[NarrateOptions, Segment | None]:
    """The options with the voice of the first segment, which is spoken alone, before any other, without a voice.

    It is spoken once and recorded in run.json: it stays when its text changes, until it is spoken anew by options.redo
    or with another model, seed or settings. first: the first segment, spoken without a voice; None: there is none.
    fixed: as for Segmenter. Returns also the first segment, if what it says is the recording; else None.
    Raises GenerationError if the segment fails.
    """
    if first is None:
        return options, None
    if first.name in options.redo:
        record.redo(_KEY)
        options = replace(options, redo=tuple(name for name in options.redo if name != first.name))
    first = replace(first, redone=record.redone().get(_KEY, 0))
    made_of = _made_of(first, fixed)
    recorded = _recorded(record)
    if recorded is None or recorded["made_of"] != made_of or store.read(recorded["digest"]) is None:
        if store.read(first.digest) is None:
            _speak_alone(synthesizer, store, first, options, verifier)
        recorded = {"digest": first.digest, "text": first.text, "made_of": made_of}
        record.save(**{_KEY: recorded})
    samples = store.read(recorded["digest"])
    if samples is None:
        raise InputError(f"{store.folder}: the reference of the voice cannot be read back")
    voice = synthesizer.clone((samples, SAMPLE_RATE), recorded["text"], name="steady", on_warning=lambda line: None)
    options = replace(options, speak=replace(options.speak, voice=voice))
    return options, first if first.digest == recorded["digest"] else None


def with_first(chapters: list[SpokenChapter], first: Segment | None) -> list[SpokenChapter]:
    """The chapters with the recording itself in the place of the segment of its name and text."""
    if first is None:
        return chapters

    def chosen(segment: Segment) -> Segment:
        same = (segment.name, segment.text) == (first.name, first.text)
        return replace(first, gap=segment.gap) if same else segment

    return [replace(chapter, segments=[chosen(each) for each in chapter.segments]) for chapter in chapters]


def _made_of(first: Segment, fixed: dict[str, object]) -> str:
    """The hash of all that the recording depends on, but for its text."""
    facts = [fixed, first.plan.settings, first.plan.seed, first.redone]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _recorded(record: RunRecord) -> dict[str, Any] | None:
    found = record.facts.get(_KEY)
    names = ("digest", "text", "made_of")
    return found if isinstance(found, dict) and all(isinstance(found.get(name), str) for name in names) else None


def _speak_alone(
    synthesizer: Synthesizer, store: SegmentStore, first: Segment, options: NarrateOptions, verifier: Verifier | None
) -> None:
    speaking = Speaking(
        synthesizer, store, batch=1, retries=options.retries, done=lambda outcome: None,
        verifier=verifier, max_wer=options.max_wer,
    )  # fmt: skip
    speaking.speak([first], stop_at_failure=True)
    if speaking.failed:
        why, hint = speaking.failed[0].failure, f"--redo {first.name} speaks it with another seed"
        raise GenerationError(f"segment {first.name}, the voice of all others, failed: {why} ({hint})")
