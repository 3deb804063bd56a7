"""A steady voice for a base model without a recording: the first segment becomes the recording of all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import GenerationError, InputError
from .speaking import Speaking

if TYPE_CHECKING:
    from ..speech.synthesizer import Synthesizer
    from .options import NarrateOptions
    from .run_record import RunRecord
    from .segment_store import SegmentStore
    from .segments import Segment, SpokenChapter


def first_as_reference(
    synthesizer: Synthesizer,
    store: SegmentStore,
    record: RunRecord,
    options: NarrateOptions,
    segmented: Callable[[NarrateOptions, bool], list[SpokenChapter]],
) -> NarrateOptions:
    """The options with the voice of the first segment, which is spoken alone, before any other, without a voice.

    It is spoken once and recorded in run.json: it stays when its text changes, until it is spoken anew by options.redo.
    segmented: makes the segments, without a voice if its second argument is True. Raises GenerationError if the segment
    fails.
    """
    recorded = record.facts.get("reference")
    chapters = segmented(options, True)
    first = next((segment for chapter in chapters for segment in chapter.segments), None)
    if first is None:
        return options
    redone = recorded["redone"] if recorded else 0
    if again := first.name in options.redo:
        redone += 1
        options = replace(options, redo=tuple(name for name in options.redo if name != first.name))
    samples = None if recorded is None or again else store.read(recorded["digest"])
    if samples is None:
        first = replace(first, redone=redone)
        _speak_alone(synthesizer, store, first, options)
        record.save(reference={"digest": first.digest, "text": first.text, "redone": redone})
        recorded, samples = record.facts["reference"], store.read(first.digest)
    if samples is None:
        raise InputError(f"{store.folder}: the reference of the voice cannot be read back")
    voice = synthesizer.clone((samples, 24000), recorded["text"], name="steady", on_warning=lambda line: None)
    return replace(options, speak=replace(options.speak, voice=voice))


def _speak_alone(synthesizer: Synthesizer, store: SegmentStore, first: Segment, options: NarrateOptions) -> None:
    speaking = Speaking(synthesizer, store, batch=1, retries=options.retries, done=lambda outcome: None)
    speaking.speak([first], stop_at_failure=True)
    if speaking.failed:
        raise GenerationError(f"segment {first.name}, the voice of all others, failed: {speaking.failed[0].failure}")
