"""Where in the output of a speech each text is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..common.audio_constants import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..scheduling.job import Job


class SpokenText(NamedTuple):
    """A text that was spoken to its end.

    text: that of an utterance. Of a text that is still coming: what was given up to the end of an utterance, which may
    have been spoken as several. start, end: its place in the output, in seconds.
    """

    text: str
    start: float
    end: float


class SpokenTexts:
    """Counts the generated samples of a speech, and makes its list of spoken texts.

    speed, max_seconds: see SpeakOptions. Attributes: found: the list. on_text: called with each new item, by the thread
    that reads the speech, when all samples of the item have been generated and read.
    """

    def __init__(self, speed: float, max_seconds: float | None) -> None:
        self._speed, self._max_seconds = speed, max_seconds
        self._samples = 0
        self._start: int | None = None
        self.found: list[SpokenText] = []
        self.on_text: Callable[[SpokenText], None] | None = None

    def add_samples(self, count: int) -> None:
        """Count samples that were generated, or are the silence of a pause."""
        self._samples += count

    def end_utterance(self, job: Job, count: int) -> None:
        """Note that an utterance, whose samples are the last `count` that were counted, is complete."""
        if self._start is None:
            self._start = self._samples - count
        if job.goes_on:
            return
        start, end = (self._seconds(samples) for samples in (self._start, self._samples))
        self._start = None
        self.found.append(SpokenText(job.given_text, start, end))
        if self.on_text is not None:
            self.on_text(self.found[-1])

    def _seconds(self, samples: int) -> float:
        seconds = round(samples / self._speed) / SAMPLE_RATE
        return seconds if self._max_seconds is None else min(seconds, self._max_seconds)
