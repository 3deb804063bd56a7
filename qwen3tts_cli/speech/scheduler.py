"""The scheduler: generates utterances together, one frame of each in a step, and yields their samples in input order.

A session is added between two steps while fewer than `batch` are open, and closed once its last frame is decoded. The
samples of an utterance do not depend on the other utterances. An utterance that is complete before its turn waits; the
number of waiting utterances and of their samples is limited.

A live stream has a listener. Its first utterance is generated alone until its first samples are sent. Other utterances
then take part in a step only while the samples sent so far play longer than a few such steps take; see PlaybackLead.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from ..common.audio_constants import SAMPLE_RATE
from ..common.machine import available_bytes
from .guard import expected_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

    from ..engine.model import Model
    from .attempts import Utterance
    from .stream import Speech

MAX_BATCH = 64
STEADY_CHUNK = 8  # frames decoded at a time if no listener waits: chunks of this size take the least work for a frame
_USUAL_BATCH = 8  # more utterances hardly raise the throughput of a CPU
_USUAL_POSITIONS = 512  # positions of an utterance of half a minute with its prompt
_MAX_WAITING_SAMPLES = 600 * SAMPLE_RATE
_ASSUMED_FREE_BYTES = 2 << 30  # if the system does not tell the free memory


def default_batch(model: Model) -> int:
    """How many utterances to generate together on this machine: 1 to 8, within a quarter of the free memory."""
    free = available_bytes() or _ASSUMED_FREE_BYTES
    return max(1, min(_USUAL_BATCH, free // 4 // (model.position_bytes * _USUAL_POSITIONS)))


class PlaybackLead:
    """Seconds of audio sent minus seconds since the first sample was sent: how long a listener can go without more.

    frame_seconds: seconds of audio that a step adds to each utterance. clock: returns the time in seconds. alone: mean
    seconds of a step with one utterance; together: mean seconds of a step with several. Both are means of about the
    last STEADY_CHUNK steps of their kind, and 0 before the first one.
    """

    def __init__(self, frame_seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._frame_seconds, self._clock = frame_seconds, clock
        self._origin: float | None = None  # when playback began
        self._sent_seconds = 0.0
        self.alone, self.together = 0.0, 0.0

    def add_samples(self, samples: int) -> None:
        """Record that so many samples were sent."""
        if self._origin is None:
            self._origin = self._clock()
        self._sent_seconds += samples / SAMPLE_RATE

    def add_step(self, utterances: int, seconds: float) -> None:
        """Record how long a step of so many utterances took."""
        name = "alone" if utterances == 1 else "together"
        before = getattr(self, name)
        setattr(self, name, before + (seconds - before) / STEADY_CHUNK if before else seconds)

    def allows(self, utterances: int) -> bool:
        """Whether a step of so many utterances leaves the listener without a gap.

        Also True if a step of one utterance takes longer than its audio plays: there are gaps in any case, and steps
        of several finish the whole sooner.
        """
        if self._origin is None:
            return False
        now = self._clock()
        lead = self._sent_seconds - (now - self._origin)
        if lead < 0:  # playback stopped: it continues with the next samples
            self._origin -= lead
            lead = 0.0
        return self.alone >= self._frame_seconds or lead > STEADY_CHUNK * (self.together or utterances * self.alone / 2)


def _takes_all_frames(window: Sequence[tuple[Speech, Utterance]], only: Speech | None) -> bool:
    """Whether the utterances in the window are expected to use all the frames left, so that more would be discarded."""
    if only is None or only.frames_left is None:
        return False
    left = only.frames_left * only.model.config.codec.frame_seconds
    return sum(expected_seconds(utterance.text) for _, utterance in window) >= left


def run_utterances(
    model: Model, utterances: Iterator[tuple[Speech, Utterance]], batch: int, live: bool, only: Speech | None = None
) -> Iterator[tuple[Speech, np.ndarray]]:
    """Generate up to `batch` utterances together; yield (speech, samples) strictly in input order.

    utterances: pairs (speech, utterance); read as sessions become free. live: whether there is a listener. only: the
    speech that all utterances belong to, or None if they belong to several. samples: float32 of shape (n,) at 24 kHz.
    The error of an utterance, or of the iterator `utterances`, is raised in its turn. Raises EngineError once the model
    or `only` is closed. Closing the generator closes every session.
    """
    window: deque[tuple[Speech, Utterance]] = deque()  # begun and not yet yielded completely
    lead = PlaybackLead(model.config.codec.frame_seconds)
    first, more = True, True
    failure: Exception | None = None  # the error of the iterator `utterances`, raised once the window is empty
    try:
        while True:
            model.lifetime.check()
            if only is not None:
                only.lifetime.check()
            may_share = not live or lead.allows(batch)
            room = sum(u.session is not None for _, u in window) < batch and len(window) < 2 * batch
            room = room and not _takes_all_frames(window, only)
            if more and (not window or (room and may_share)):
                more = False
                try:
                    for speech, utterance in utterances:
                        chunk = 0 if first or (live and not window) else STEADY_CHUNK
                        utterance.begin(speech.frames_left, speech.plan.chunk_frames or chunk, speech.plan.pipeline)
                        window.append((speech, utterance))
                        first, more = False, True
                        break
                except Exception as error:
                    failure = error
                continue
            if not window:
                if failure is not None:
                    raise failure
                return
            speech, head = window[0]
            if speech.at_limit:
                speech.stop = "max_frames"
                head.close()
                window.popleft()
                continue
            head.limit_frames(speech.frames_left)
            if head.waiting_samples:
                speech.note_first_audio()
            for pcm in head.take():
                lead.add_samples(len(pcm))
                speech.samples += len(pcm)
                yield speech, pcm
                model.lifetime.check()
            if head.complete:
                window.popleft()
                speech.add_finished(head)
                continue
            active = [u for _, u in window if u.session is not None and (u is head or may_share)]
            if sum(u.waiting_samples for _, u in list(window)[1:]) > _MAX_WAITING_SAMPLES:
                active = [head]
            wait = all(u.generation_ended for u in active)
            start = time.perf_counter()
            errors = model.advance([u.session for u in active])
            for utterance, error in zip(active, errors, strict=True):
                utterance.absorb_step(error, wait)
            lead.add_step(len(active), time.perf_counter() - start)
    finally:
        for _, utterance in window:
            utterance.close()
