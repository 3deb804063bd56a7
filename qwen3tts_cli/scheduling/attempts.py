"""One utterance while it is generated: its attempts, the runaway guard, and the samples that it may release."""

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
    from .job import Job

_NO_BUDGET = 1 << 30


class Utterance:
    """One utterance. Call `begin`, then step `session` and call `absorb_step`, in turns, until `complete`.

    Attributes: session: the session of the current attempt, None before `begin` and after the end. text: grows with
    `take_text`. frames: the frames of the current attempt. abandoned: the frames of each earlier attempt.
    prompt_rows: all prompt rows and reference frames. rows_left: those that are not taken in yet. stop: "eos" or
    "max_frames" once the utterance ended well. trip: why the guard stopped it. error: why it failed. codes: the codes
    of the current attempt, a list of int32 arrays of shape (n, code groups). timings: seconds of each stage, summed
    over the attempts that have ended.
    """

    def __init__(self, job: Job, chunk_frames: int) -> None:
        """chunk_frames: frames that the decoder decodes at a time, if the job does not say it; 0: as few as needed."""
        self.job, self.session = job, None
        self.timings: Counter[str] = Counter()
        self.abandoned: list[int] = []
        self._chunk_frames = job.chunk_frames or chunk_frames
        self._frame_samples = job.model.config.codec.samples_per_frame
        self._max_attempts = 1 if job.talker.greedy or job.retries == 0 else job.retries + 1
        self.prompt_rows = len(job.prompt.text_ids) + (0 if job.reference_codes is None else len(job.reference_codes))
        self._reset()

    def _reset(self) -> None:
        """Set the state of an attempt that has not begun."""
        self.session: Session | None
        self.stop: str | None = None
        self.trip: str | None = None
        self.error: Exception | None = None
        self.frames = 0
        self.codes: list[np.ndarray] = []
        self.rows_left = self.prompt_rows
        self.text = self.job.text
        self._texts = self._appended = 0  # the number of texts, and of their token ids, that were appended
        self._text_open = self.job.open_text is not None
        self._decoded = 0  # the number of samples decoded
        self._waiting: deque[np.ndarray] = deque()

    @property
    def generation_ended(self) -> bool:
        """Whether generation stopped: end of speech, frame limit, guard, error. Decoding may go on; see `complete`."""
        return self.stop is not None or self.trip is not None or self.error is not None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to generate or to decode."""
        if self.error is not None or (self.trip is not None and (not self.job.live or self._may_retry)):
            return True
        return self.generation_ended and self._decoded >= self.frames * self._frame_samples

    @property
    def waits_for_text(self) -> bool:
        """Whether a step can do nothing before more text comes.

        The first frame waits for a few tokens; each later frame needs a token, unless the text has ended. The frames
        that were made before are decoded meanwhile.
        """
        if not self._text_open:
            return False
        from ..text.incoming_tokens import can_start  # only text that is still coming needs this module

        text_ids = len(self.job.prompt.trailing_ids) + self._appended
        if can_start(1 + text_ids, False) and text_ids >= self.frames:
            return False
        return self._decoded >= self.frames * self._frame_samples

    @property
    def unreleased_samples(self) -> int:
        """The number of decoded samples that `take` has not returned yet."""
        return sum(map(len, self._waiting))

    @property
    def _may_retry(self) -> bool:
        """Whether the guard stopped an attempt that may be made again.

        An attempt of a live utterance may be if it ended with its first frame: the samples of this frame are not
        released yet. It is a matter of frames and not of samples, since the options that say when frames are decoded
        must not change the samples.
        """
        if self.trip is None or len(self.abandoned) + 1 >= self._max_attempts:
            return False
        return not self.job.live or self.frames <= 1

    def begin(self) -> None:
        """Open the session of the first attempt. An error is stored in `error`."""
        try:
            self._open_session()
        except Exception as error:
            self.error = error

    def _frame_limit(self) -> tuple[int, bool]:
        """(the most frames, whether reaching them is a runaway). Raises UsageError for a prompt that is too long."""
        job, config = self.job, self.job.model.config
        rows, positions = len(job.prompt.text_ids), config.max_position_embeddings
        if max(rows, len(job.prompt.trailing_ids)) + 1 > positions:
            raise UsageError(
                f"text: one utterance of {rows + len(job.prompt.trailing_ids)} prompt rows; the model has {positions} "
                "positions (leave out --no-split, or shorten the text)"
            )
        room = positions - rows
        if job.max_frames is not None:
            return min(job.max_frames, room), False
        if job.retries == 0:
            return min(max(config.generation.max_new_tokens - 1, 1), room), False
        if job.open_text is not None:
            return room, True
        return min(frame_budget(self.text, config.codec.frame_seconds), room), True

    def session_bytes(self, positions: int) -> int:
        """Bytes of memory that the session takes at most once it has used so many positions; 0 if `begin` will fail.

        Raises EngineError if the model is closed.
        """
        job = self.job
        try:
            limit, _ = self._frame_limit()
        except UsageError:
            return 0
        return job.model.session_bytes(
            len(job.prompt.text_ids), positions=positions, max_frames=limit, trailing=len(job.prompt.trailing_ids),
            open_text=job.open_text is not None, speaker=job.speaker is not None, chunk_frames=self._chunk_frames,
            reference_frames=0 if job.reference_codes is None else len(job.reference_codes), pipeline=job.pipeline,
        )  # fmt: skip

    def _open_session(self) -> None:
        job = self.job
        limit, self._limit_is_budget = self._frame_limit()
        # Greedy speech with max_frames has no guard: it often repeats itself, and max_frames ends it.
        guarded = job.retries > 0 and not (job.talker.greedy and job.max_frames is not None)
        budget = limit if self._limit_is_budget else _NO_BUDGET
        self._guard = Guard(budget, job.model.config.codec.frame_seconds) if guarded else None
        self.session = Session(
            job.model, job.prompt, talker=job.talker, predictor=job.predictor, key=job.key, max_frames=limit,
            min_frames=min(job.min_frames, limit),
            seed=retry_seed(job.seed, len(self.abandoned)), chunk_frames=self._chunk_frames, pipeline=job.pipeline,
            speaker=job.speaker, reference_codes=job.reference_codes, open_text=job.open_text is not None,
        )  # fmt: skip

    def take_text(self) -> None:
        """Append the text that has come, if the job has open text. An error is stored in `error`."""
        if self.job.open_text is None or self.session is None or self.generation_ended:
            return
        was_open = self._text_open
        try:
            for text, ids, last in self.job.open_text.after(self._texts):
                self._texts += 1
                self.session.append(ids, last)
                self.text += text
                self._appended += len(ids)
                self._text_open = not last
        except Exception as error:
            self.error = error
        if was_open and not self._text_open and self._guard is not None and self._limit_is_budget:
            self._guard.set_budget(frame_budget(self.text, self.job.model.config.codec.frame_seconds))

    def absorb_step(self, error: Exception | None, wait: bool) -> None:
        """Take over the codes and samples of a step of the session; close the session if complete, or begin a retry.

        error: the error of the step, or None. wait: whether to wait for samples that the session's decoder thread is
        still decoding.
        """
        session = self.session
        info, codes, pcm = session.progress(self.frames)
        self.rows_left = info.rows_left + info.reference_left
        if not self.generation_ended:
            self.codes.append(codes)
            self.frames = info.frames
            self.trip = self._guard.feed(codes) if self._guard is not None else None
            if self.trip == "budget" and self.frames > (kept := self._guard.good_frames):
                self._cut(kept)
            if self.trip is None and info.state == STOP_MAX_FRAMES:
                self.stop, self.trip = ("max_frames", None) if not self._limit_is_budget else (None, "budget")
            elif self.trip is None and info.state != RUNNING:
                self.stop = "eos"
        self.error = self.error or error
        self._add_samples(pcm)
        while len(pcm) == READ_SAMPLES or (wait and self.generation_ended):
            if not len(pcm := session.read(wait=wait and self.generation_ended)):
                break
            self._add_samples(pcm)
        if self.complete:
            self.close()
        if self._may_retry:
            self.abandoned.append(self.frames)
            self._reset()
            self.begin()

    def _cut(self, frames: int) -> None:
        """Drop the codes behind the first `frames` frames: text given at once ends there too."""
        self.codes = [np.concatenate(self.codes)[:frames]]
        self.frames = frames

    def _add_samples(self, pcm: np.ndarray) -> None:
        if self.generation_ended:  # a session that the guard stopped may make more frames
            pcm = pcm[: max(0, self.frames * self._frame_samples - self._decoded)]
        self._decoded += len(pcm)
        if len(pcm):
            self._waiting.append(pcm)

    def take(self) -> list[np.ndarray]:
        """The samples that may be released now: arrays, float32 of shape (n,).

        A live utterance releases the samples decoded so far. Another one releases nothing before it is complete
        without an error.
        """
        if not self.job.live and (not self.complete or self.error is not None or self.trip is not None):
            return []
        taken, self._waiting = list(self._waiting), deque()
        return taken

    def failure(self) -> Exception | None:
        """The error to raise after all samples are taken: `error`, or a GenerationError for a runaway; or None."""
        if self.error is not None or self.trip is None:
            return self.error
        good = self._guard.good_frames if self._guard is not None else self.frames
        count = len(self.abandoned) + 1
        attempts = f"{count} attempt{'s' if count > 1 else ''}"
        return GenerationError(
            f"generation failed: {self.trip} after {good} good frames in {attempts}: {self.text[:40]!r} "
            "(try another --seed, or --retries 0 to keep the audio)"
        )

    def close(self) -> None:
        """Store the timings of the session and close it. They are lost if the model was closed before."""
        session, self.session = self.session, None
        if session is None:
            return
        with contextlib.suppress(EngineError):
            info = session.info
            for name in ("prefill", "talker", "predictor", "codec"):
                self.timings[name] += getattr(info, f"{name}_seconds")
        session.close()
