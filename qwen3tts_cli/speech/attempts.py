"""One utterance as it is made: its attempts, the runaway guard, and the samples that wait for its turn."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from typing import TYPE_CHECKING

import numpy as np

from ..engine.session import READ_SAMPLES, RUNNING, STOP_MAX_FRAMES, Session
from ..errors import EngineError, GenerationError, UsageError
from .guard import Guard, frame_budget
from .seeds import retry_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..engine.model import Model
    from ..text.prompt import Prompt
    from .seeds import Plan


class Utterance:
    """`begin`, then a step of `session` and `absorb` in turns until `complete`; `take` the samples when its turn is.

    One that is made ahead of its turn may get fewer frames than it began with, since nobody knew then how many the
    earlier ones leave of max_frames: `settle` makes it what it would have been in turn. An attempt that goes astray
    behind the cut is a good one, so until the cut is known no other is begun.
    """

    def __init__(
        self, model: Model, plan: Plan, text: str, prompt: Prompt | None, key: int, error: Exception | None = None
    ) -> None:
        self.model, self.plan, self.text, self.prompt, self.key = model, plan, text, prompt, key
        self.session: Session | None = None
        self.timings: Counter[str] = Counter()
        self.codes: np.ndarray | None = None
        self.attempt = 0
        self._frame = model.config.codec.samples_per_frame
        # A stream cannot take back what has been heard.
        self._attempts = 1 if plan.live or plan.talker.greedy or plan.retries == 0 else plan.retries + 1
        self._most: int | None = None
        self._taken = self._repeated = 0  # samples that are out; of these, those that an attempt has yet to make again
        self._renew()
        self.error = error

    def _renew(self) -> None:
        self.stop: str | None = None  # why it ended: "eos", "max_frames"
        self.trip: str | None = None  # why the guard stopped it
        self._keep = 0  # frames of a stopped or tripped one
        self._pcm: deque[np.ndarray] = deque()
        self._decoded, self._repeated = 0, self._taken
        self.frames = 0  # generated, as far as they count
        self.error: Exception | None = None  # to be raised in its turn, after what was good

    @property
    def ended(self) -> bool:
        """No more frames of it count."""
        return self.stop is not None or self.trip is not None or self.error is not None

    @property
    def complete(self) -> bool:
        """Nothing is left to do but to take it."""
        if self.error is not None or (self.trip is not None and not self.plan.live):
            return True
        return self.ended and self._decoded >= self._keep * self._frame

    @property
    def held(self) -> int:
        """Samples that wait."""
        return max(0, self._decoded - self._taken)

    def begin(self, most: int | None, chunk: int, pipeline: bool) -> None:
        """Open the session; what is wrong is kept as the error. most: frames that may be left; others: see Session."""
        self._most, self._chunk, self._pipeline = most, chunk, pipeline
        try:
            if self.error is None:
                self._open(most)
        except Exception as error:
            self.error = error

    def _limit(self, most: int | None) -> tuple[int, bool]:
        """Most frames, and whether reaching them is a runaway rather than a wish."""
        plan, config = self.plan, self.model.config
        rows, positions = len(self.prompt.text_ids), config.max_position_embeddings
        if max(rows, len(self.prompt.trailing_ids)) + 1 > positions:
            raise UsageError(
                f"text: one utterance of {rows + len(self.prompt.trailing_ids)} prompt rows; the model has {positions} "
                "positions (leave out --no-split, or shorten the text)"
            )
        room = positions - rows
        if most is not None:
            return min(most, room), False
        if plan.retries == 0:
            return min(max(config.generation.max_new_tokens - 1, 1), room), False
        return min(frame_budget(self.text, config.codec.frame_seconds), room), True

    def _open(self, most: int | None) -> None:
        plan, cloned = self.plan, self.plan.cloned
        limit, self._budgeted = self._limit(most)
        # A greedy utterance of a stated length is taken as it comes: argmax may well repeat itself.
        guarded = plan.retries > 0 and not (plan.talker.greedy and plan.max_frames is not None)
        budget = limit if self._budgeted else 1 << 30
        self._guard = Guard(budget, self.model.config.codec.frame_seconds) if guarded else None
        self.session = Session(
            self.model, self.prompt, talker=plan.talker, predictor=plan.predictor, key=self.key, max_frames=limit,
            seed=retry_seed(plan.seed, self.attempt), chunk_frames=self._chunk, pipeline=self._pipeline,
            speaker=cloned.embedding if cloned else None, reference_codes=cloned.codes if cloned else None,
        )  # fmt: skip

    def absorb(self, error: Exception | None, wait: bool) -> None:
        """Look at what a step of the session has made. wait: for samples that a thread of its own is decoding."""
        session = self.session
        info, codes, pcm = session.progress(self.frames)
        if not self.ended:
            self.frames = self._keep = info.frames
            self.trip = self._guard.feed(codes) if self._guard is not None else None
            if self.trip is None and info.state == STOP_MAX_FRAMES:
                self.stop, self.trip = ("max_frames", None) if not self._budgeted else (None, "budget")
            elif self.trip is None and info.state != RUNNING:
                self.stop = "eos"
        self.error = error
        self._hold(pcm)
        while len(pcm) == READ_SAMPLES or (wait and self.ended):
            if not len(pcm := session.read(wait=wait and self.ended)):
                break
            self._hold(pcm)
        if self.complete:
            self.close()
        if self.trip is not None and self.plan.max_frames is None:
            self._retry()

    def _hold(self, pcm: np.ndarray) -> None:
        self._decoded += len(pcm)
        repeated = min(len(pcm), self._repeated)
        self._repeated -= repeated
        if repeated < len(pcm):
            self._pcm.append(pcm[repeated:])

    def _retry(self) -> None:
        if self.attempt + 1 < self._attempts:
            self.attempt += 1
            self._restart()

    def _restart(self) -> None:
        self._renew()
        self.begin(self._most, self._chunk, self._pipeline)

    def settle(self, most: int | None) -> None:
        """Its turn has come. most: the frames that are left for it."""
        self._most = most
        if most is None:
            return
        if self.frames <= most:
            if self.trip is not None:
                self._retry()
        elif self.error is None and (self.trip is None or self.session is not None):
            self.frames, self._keep, self.stop, self.trip = most, most, "max_frames", None
        else:
            self._restart()  # what went wrong did so behind the cut; the same frames come before it again

    def take(self) -> Iterator[np.ndarray]:
        """Samples that may go out: of a stream what is decoded, else all of it once it is complete and good."""
        if not self.plan.live and (not self.complete or self.error is not None or self.trip is not None):
            return
        most = self._keep if self.ended else self._most
        while self._pcm:
            pcm = self._pcm.popleft()
            if most is not None:
                pcm = pcm[: max(0, most * self._frame - self._taken)]
            self._taken += len(pcm)
            if len(pcm):
                yield pcm

    def failure(self) -> Exception | None:
        """What to raise once everything is taken."""
        if self.error is not None or self.trip is None:
            return self.error
        good = self._guard.good_frames if self._guard is not None else self.frames
        return GenerationError(
            f"generation failed: {self.trip} after {good} good frames in {self.attempt + 1} "
            f"attempt{'s' if self.attempt else ''}: {self.text[:40]!r} (another --seed, or --retries 0 to keep it)"
        )

    def close(self) -> None:
        """Free the session; its codes and timings stay, unless it was closed with the model."""
        session, self.session = self.session, None
        if session is None:
            return
        with contextlib.suppress(EngineError):
            info = session.info
            self.codes = session.codes(0, info.frames)
            for name in ("prefill", "talker", "predictor", "codec"):
                self.timings[name] += getattr(info, f"{name}_seconds")
        session.close()
