"""Put the segments of an output together: trimmed, levelled, at their speed, with pauses; and when each is heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..audio.levelling import fade, loudness_of, peak_of, segment_gains
from ..audio.output_chain import OutputChain
from ..common.audio_constants import SAMPLE_RATE
from ..errors import OutputError
from ..hearing.segment_checks import trim
from ..output.tagging import ChapterMark, Cue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .options import NarrateOptions
    from .segment_store import SegmentStore
    from .segments import Segment, SpokenChapter

FAILED_SECONDS = 1  # of silence in the place of a segment that has failed
_SILENCE = SAMPLE_RATE  # samples of silence in one piece


@dataclass(frozen=True)
class Measure:
    """Facts of a segment. loudness: in LUFS, None if it is too short. peak: 0 to 1. samples: at 24 kHz, trimmed and at
    the speed of the output."""

    loudness: float | None
    peak: float
    samples: int


def measure(samples: np.ndarray, speed: float) -> Measure:
    """Measure a segment. samples: as its file gives them, float32 of shape (n,) at 24 kHz."""
    kept = trim(samples)
    return Measure(loudness_of(kept), peak_of(kept), len(at_speed(kept, speed)))


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """The samples at another speed, float32 of shape (n,)."""
    if speed == 1:
        return samples
    chain = OutputChain(speed)
    return np.concatenate([chain.feed(np.ascontiguousarray(samples)), chain.finish()])


@dataclass(frozen=True)
class Placed:
    """A segment in an output. start, samples: at 24 kHz. gain: its factor. failed: whether silence is in its place.
    silence: samples of silence behind it."""

    segment: Segment
    start: int
    samples: int
    silence: int
    gain: float = 1.0
    failed: bool = False


@dataclass
class Track:
    """One output file: the segments of one chapter, or of all.

    lead: samples of silence at the start. marks: the chapters. samples: all of them, at 24 kHz.
    """

    title: str
    number: int
    lead: int = 0
    placed: list[Placed] = field(default_factory=list)
    marks: list[ChapterMark] = field(default_factory=list)
    samples: int = 0

    @property
    def seconds(self) -> float:
        """The length of the output."""
        return self.samples / SAMPLE_RATE

    def cues(self) -> list[Cue]:
        """When each segment is heard. Segments that failed have none."""
        return [
            Cue(each.start / SAMPLE_RATE, (each.start + each.samples) / SAMPLE_RATE, each.segment.written)
            for each in self.placed
            if not each.failed
        ]


def lay_out(
    chapters: Sequence[SpokenChapter],
    title: str,
    number: int,
    measures: Mapping[str, Measure],
    options: NarrateOptions,
) -> Track:
    """Place the segments of chapters in one output, in order.

    title, number: of the output. measures: the facts of segments by their digest, without those that have failed.
    """
    track, position = Track(title, number), 0
    bounds: list[tuple[str, int]] = []
    for order, chapter in enumerate(chapters):
        found = [measures.get(segment.digest) for segment in chapter.segments]
        gains = segment_gains(
            [each.loudness if each else None for each in found], [each.peak if each else 0.0 for each in found],
            lufs=options.lufs,
        )  # fmt: skip
        if not chapter.segments:
            continue
        lead = _samples(chapter.lead)
        if track.placed:
            last = track.placed[-1]
            pause = max(_samples(options.pause_chapter), last.silence) + lead
            track.placed[-1] = Placed(last.segment, last.start, last.samples, pause, last.gain, last.failed)
            position = last.start + last.samples + pause
        else:
            position = track.lead = lead
        bounds.append((chapter.title, 0 if not bounds else position))
        last_of_all = order == len(chapters) - 1
        for index, (segment, facts, gain) in enumerate(zip(chapter.segments, found, gains, strict=True)):
            ends = last_of_all and index == len(chapter.segments) - 1
            samples = facts.samples if facts else FAILED_SECONDS * SAMPLE_RATE
            silence = _samples(segment.gap) if not ends or segment.gap else 0
            track.placed.append(Placed(segment, position, samples, silence, gain, facts is None))
            position += samples + silence
    track.samples = position
    ends = [start for _, start in bounds[1:]] + [position]
    track.marks = [
        ChapterMark(name, start / SAMPLE_RATE, end / SAMPLE_RATE)
        for (name, start), end in zip(bounds, ends, strict=True)
    ]
    return track


def samples_of(track: Track, store: SegmentStore, speed: float, rate: int) -> Iterator[np.ndarray]:
    """Yield the samples of an output, float32 of shape (n,) at `rate`, from segments that are read back.

    Raises OutputError for a segment that is not there any more.
    """
    chain = OutputChain(rate=rate)
    for samples in _at_24_khz(track, store, speed):
        if len(out := chain.feed(samples)):
            yield out
    if len(out := chain.finish()):
        yield out


def _at_24_khz(track: Track, store: SegmentStore, speed: float) -> Iterator[np.ndarray]:
    yield from _silence(track.lead)
    for each in track.placed:
        if each.failed:
            yield from _silence(each.samples)
        else:
            samples = store.read(each.segment.digest)
            if samples is None:
                raise OutputError(
                    f"{store.folder}: the file of segment {each.segment.name} is gone or damaged; run again"
                )
            out = fade(at_speed(trim(samples), speed) * np.float32(each.gain))
            if len(out) != each.samples:
                raise OutputError(f"{store.folder}: the file of segment {each.segment.name} has changed; run again")
            yield out
        yield from _silence(each.silence)


def _silence(samples: int) -> Iterator[np.ndarray]:
    for start in range(0, samples, _SILENCE):
        yield np.zeros(min(_SILENCE, samples - start), np.float32)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
