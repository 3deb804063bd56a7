"""One utterance while it is generated: its attempts, the runaway guard, and samples that wait for its turn."""

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
    from .plan import SpeechPlan

_NO_BUDGET = 1 << 30


class Utterance:
    """One utterance. Call `begin`, then step `session` and call `absorb_step`, in turns, until `complete`.

    The utterances of a text yield their samples in turn. Once its turn has come, call `limit_frames` and then `take`
    after each step.

    An utterance that begins before its turn does not know how many of max_frames the earlier utterances will use.
    `limit_frames` cuts it to the frames that are left, as if it had begun in its turn. A guard that tripped behind the
    cut does not matter then, so no retry begins before the number of frames left is known.
    """

    def __init__(
        self,
        model: Model,
        plan: SpeechPlan,
        text: str,
        prompt: Prompt | None,
        key: int,
        error: Exception | None = None,
    ) -> None:
        """key: see seeds.utterance_key. error: why the text has no prompt; raised in the utterance's turn."""
        self.model, self.plan, self.text, self.prompt, self.key = model, plan, text, prompt, key
        self.session: Session | None = None
        self.timings: Counter[str] = Counter()  # seconds of each stage, summed over all attempts
        # The codes of the last attempt, int32 of shape (frames, code groups); None until `close`.
        self.codes: np.ndarray | None = None
        self.attempt = 0
        self._frame_samples = model.config.codec.samples_per_frame
        # A live stream has no retries, because the samples that it has sent cannot be taken back.
        self._max_attempts = 1 if plan.live or plan.talker.greedy or plan.retries == 0 else plan.retries + 1
        self._frames_left: int | None = None  # frames left of max_frames, as far as known; None: no limit
        self._taken = 0  # samples yielded by `take`
        self._reset()
        self.error = error

    def _reset(self) -> None:
        """Set the state of an attempt that has not begun."""
        self.stop: str | None = None  # why it ended well: "eos" or "max_frames"
        self.trip: str | None = None  # why the guard stopped it
        self._kept_frames = 0  # the number of frames whose samples are yielded
        self._waiting: deque[np.ndarray] = deque()
        self._decoded = 0  # the number of samples decoded
        self._to_skip = self._taken  # the number of samples at the start that an earlier attempt has yielded
        self.frames = 0  # the number of frames generated and not cut off
        self.error: Exception | None = None  # raised in the utterance's turn, after its good samples

    @property
    def generation_ended(self) -> bool:
        """Whether generation stopped: end of speech, frame limit, guard, error. Decoding may go on; see `complete`."""
        return self.stop is not None or self.trip is not None or self.error is not None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to generate or to decode."""
        if self.error is not None or (self.trip is not None and not self.plan.live):
            return True
        return self.generation_ended and self._decoded >= self._kept_frames * self._frame_samples

    @property
    def waiting_samples(self) -> int:
        """The number of decoded samples that `take` has not yielded yet."""
        return max(0, self._decoded - self._taken)

    def begin(self, frames_left: int | None, chunk_frames: int, pipeline: bool) -> None:
        """Open the session. An error is stored in `error`.

        frames_left: how many of max_frames are left; None: no limit. chunk_frames, pipeline: see engine.session.
        """
        self._frames_left, self._chunk_frames, self._pipeline = frames_left, chunk_frames, pipeline
        try:
            if self.error is None:
                self._open_session()
        except Exception as error:
            self.error = error

    def _frame_limit(self) -> tuple[int, bool]:
        """(the most frames, whether reaching them is a runaway). Raises UsageError for a prompt that is too long."""
        plan, config = self.plan, self.model.config
        rows, positions = len(self.prompt.text_ids), config.max_position_embeddings
        if max(rows, len(self.prompt.trailing_ids)) + 1 > positions:
            raise UsageError(
                f"text: one utterance of {rows + len(self.prompt.trailing_ids)} prompt rows; the model has {positions} "
                "positions (leave out --no-split, or shorten the text)"
            )
        room = positions - rows
        if self._frames_left is not None:
            return min(self._frames_left, room), False
        if plan.retries == 0:
            return min(max(config.generation.max_new_tokens - 1, 1), room), False
        return min(frame_budget(self.text, config.codec.frame_seconds), room), True

    def _open_session(self) -> None:
        plan, cloned = self.plan, self.plan.cloned
        limit, self._limit_is_budget = self._frame_limit()
        # Greedy speech with max_frames has no guard: it often repeats itself, and max_frames ends it.
        guarded = plan.retries > 0 and not (plan.talker.greedy and plan.max_frames is not None)
        budget = limit if self._limit_is_budget else _NO_BUDGET
        self._guard = Guard(budget, self.model.config.codec.frame_seconds) if guarded else None
        self.session = Session(
            self.model, self.prompt, talker=plan.talker, predictor=plan.predictor, key=self.key, max_frames=limit,
            seed=retry_seed(plan.seed, self.attempt), chunk_frames=self._chunk_frames, pipeline=self._pipeline,
            speaker=cloned.embedding if cloned else None, reference_codes=cloned.codes if cloned else None,
        )  # fmt: skip

    def absorb_step(self, error: Exception | None, wait: bool) -> None:
        """Take over the codes and samples of a step of the session; close the session if complete, or begin a retry.

        error: the error of the step, or None. wait: whether to wait for samples that the session's decoder thread is
        still decoding.
        """
        session = self.session
        info, codes, pcm = session.progress(self.frames)
        if not self.generation_ended:
            self.frames = self._kept_frames = info.frames
            self.trip = self._guard.feed(codes) if self._guard is not None else None
            if self.trip is None and info.state == STOP_MAX_FRAMES:
                self.stop, self.trip = ("max_frames", None) if not self._limit_is_budget else (None, "budget")
            elif self.trip is None and info.state != RUNNING:
                self.stop = "eos"
        self.error = error
        self._add_samples(pcm)
        while len(pcm) == READ_SAMPLES or (wait and self.generation_ended):
            if not len(pcm := session.read(wait=wait and self.generation_ended)):
                break
            self._add_samples(pcm)
        if self.complete:
            self.close()
        if self.trip is not None and self.plan.max_frames is None:
            self._retry()

    def _add_samples(self, pcm: np.ndarray) -> None:
        self._decoded += len(pcm)
        skipped = min(len(pcm), self._to_skip)
        self._to_skip -= skipped
        if skipped < len(pcm):
            self._waiting.append(pcm[skipped:])

    def _retry(self) -> None:
        """Begin the next attempt unless the last allowed attempt was made."""
        if self.attempt + 1 < self._max_attempts:
            self.attempt += 1
            self._restart()

    def _restart(self) -> None:
        self._reset()
        self.begin(self._frames_left, self._chunk_frames, self._pipeline)

    def limit_frames(self, frames_left: int | None) -> None:
        """Cut the utterance to `frames_left` frames, now that its turn has come. None: no limit."""
        self._frames_left = frames_left
        if frames_left is None:
            return
        if self.frames <= frames_left:
            if self.trip is not None:
                self._retry()
        elif self.error is None and (self.trip is None or self.session is not None):
            self.frames, self._kept_frames, self.stop, self.trip = frames_left, frames_left, "max_frames", None
        else:
            self._restart()  # the error or the trip lies behind the cut; the frames before it are the same again

    def take(self) -> Iterator[np.ndarray]:
        """Yield arrays of samples, float32 of shape (n,).

        A live stream yields the samples decoded so far. Otherwise nothing is yielded before the utterance is complete
        and without an error.
        """
        if not self.plan.live and (not self.complete or self.error is not None or self.trip is not None):
            return
        limit = self._kept_frames if self.generation_ended else self._frames_left
        while self._waiting:
            pcm = self._waiting.popleft()
            if limit is not None:
                pcm = pcm[: max(0, limit * self._frame_samples - self._taken)]
            self._taken += len(pcm)
            if len(pcm):
                yield pcm

    def failure(self) -> Exception | None:
        """The error to raise after all samples are taken: `error`, or a GenerationError for a runaway; or None."""
        if self.error is not None or self.trip is None:
            return self.error
        good = self._guard.good_frames if self._guard is not None else self.frames
        attempts = f"{self.attempt + 1} attempt{'s' if self.attempt else ''}"
        return GenerationError(
            f"generation failed: {self.trip} after {good} good frames in {attempts}: {self.text[:40]!r} "
            "(try another --seed, or --retries 0 to keep the audio)"
        )

    def close(self) -> None:
        """Store the codes and timings of the session and close it. They are lost if the model was closed before."""
        session, self.session = self.session, None
        if session is None:
            return
        with contextlib.suppress(EngineError):
            info = session.info
            self.codes = session.codes(0, info.frames)
            for name in ("prefill", "talker", "predictor", "codec"):
                self.timings[name] += getattr(info, f"{name}_seconds")
        session.close()
