"""Utterances made together, a frame of each at a time, and delivered in order.

One joins as soon as there is room and leaves when its last frame is decoded; who else is there changes no bytes. What
is finished before its turn waits as samples; how many utterances may be ahead is bounded, and so are their samples.

A stream has a listener. Its first utterance is made alone until its first samples are out, and the others join only
while enough has gone out to cover what a few steps with them take.
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

MOST = 64
STEADY_CHUNK = 8  # frames; decoding them at a time is the cheapest
_AHEAD_SAMPLES = 600 * SAMPLE_RATE  # 58 MB of samples that wait for their turn
_GUESSED_BYTES = 2 << 30  # of free memory, where the system does not say


def default_batch(model: Model) -> int:
    """How many utterances to make together on this machine: what helps, as far as a quarter of its free memory goes."""
    positions = 512  # of an utterance as the splitter makes them, half a minute, with its prompt
    free = available_bytes() or _GUESSED_BYTES
    return max(1, min(8, free // 4 // (model.position_bytes * positions)))


class Listener:
    """How far a stream is ahead of somebody who began to listen at its first sample.

    frame_seconds: speech that a step makes. clock: seconds. alone, together: seconds of a step with one utterance and
    with several, as measured of late.
    """

    def __init__(self, frame_seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._frame_seconds, self._clock, self._origin, self._seconds = frame_seconds, clock, None, 0.0
        self.alone, self.together = 0.0, 0.0

    def hears(self, samples: int) -> None:
        """So many samples more have gone out."""
        if self._origin is None:
            self._origin = self._clock()
        self._seconds += samples / SAMPLE_RATE

    def stepped(self, utterances: int, seconds: float) -> None:
        """A step of so many utterances took `seconds`."""
        name = "alone" if utterances == 1 else "together"
        before = getattr(self, name)
        setattr(self, name, before + (seconds - before) / STEADY_CHUNK if before else seconds)

    def has_time(self, utterances: int) -> bool:
        """Whether a step with so many would leave the listener enough to listen to.

        Where even one alone is slower than speech nobody can listen without a break: then the whole should be short.
        """
        if self._origin is None:
            return False
        now = self._clock()
        lead = self._seconds - (now - self._origin)
        if lead < 0:  # it ran dry: listening goes on with what comes next
            self._origin -= lead
            lead = 0.0
        return self.alone >= self._frame_seconds or lead > STEADY_CHUNK * (self.together or utterances * self.alone / 2)


def _full(window: Sequence[tuple[Speech, Utterance]], only: Speech | None) -> bool:
    """Whether what is being made likely takes all the frames that are left: more of this text would be thrown away."""
    if only is None or only.left is None:
        return False
    left = only.left * only.model.config.codec.frame_seconds
    return sum(expected_seconds(utterance.text) for _, utterance in window) >= left


def made(
    model: Model, utterances: Iterator[tuple[Speech, Utterance]], batch: int, live: bool, only: Speech | None = None
) -> Iterator[tuple[Speech, np.ndarray]]:
    """Samples of the utterances in their order, up to `batch` of which are made at a time.

    only: the text, if it is one. An error of one is raised in its turn; EngineError once the model or `only` is closed.
    Closing the generator frees every session.
    """
    window: deque[tuple[Speech, Utterance]] = deque()
    listener = Listener(model.config.codec.frame_seconds)
    first, more = True, True
    failure: Exception | None = None  # of the next one, to be raised in its turn
    try:
        while True:
            model.lifetime.check()
            if only is not None:
                only.lifetime.check()
            share = not live or listener.has_time(batch)
            room = sum(u.session is not None for _, u in window) < batch and len(window) < 2 * batch
            room = room and not _full(window, only)
            if more and (not window or (room and share)):
                more = False
                try:
                    for speech, utterance in utterances:
                        chunk = 0 if first or (live and not window) else STEADY_CHUNK
                        utterance.begin(speech.left, speech.plan.chunk_frames or chunk, speech.plan.pipeline)
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
            if speech.over():
                head.close()
                window.popleft()
                continue
            head.settle(speech.left)
            if head.held:
                speech.sounds()
            for pcm in head.take():
                listener.hears(len(pcm))
                speech.samples += len(pcm)
                yield speech, pcm
                model.lifetime.check()
            if head.complete:
                window.popleft()
                speech.finish(head)
                continue
            together = [u for _, u in window if u.session is not None and (u is head or share)]
            if sum(u.held for _, u in list(window)[1:]) > _AHEAD_SAMPLES:
                together = [head]
            wait = all(u.ended for u in together)
            start = time.perf_counter()
            errors = model.advance([u.session for u in together])
            for utterance, error in zip(together, errors, strict=True):
                utterance.absorb(error, wait)
            listener.stepped(len(together), time.perf_counter() - start)
    finally:
        for _, utterance in window:
            utterance.close()
