"""One row of the measurement: a batch of sessions that generate a fixed number of frames, as `say` does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..engine.model import Model
from ..engine.session import Sampling
from ..errors import EngineError
from ..scheduling.consumer import Consumer, Generation
from ..scheduling.job import Job
from ..scheduling.loop import Loop
from ..scheduling.policy import MOST_ROWS, Policy
from ..text.prompt import Prompt
from .costs import decoder_operations, lm_bytes
from .machine import peak_rss_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..scheduling.policy import Candidate, StepTimes

FIRST_AUDIO_ROWS = 40
_TALKER = Sampling(temperature=0.9, top_k=50, repetition_penalty=1.05)
_PREDICTOR = Sampling(temperature=0.9, top_k=50)


class Case(NamedTuple):
    """The settings of a row. context: mean position of the measured frames. chunk: frames decoded in one call."""

    precision: str
    batch: int
    threads: int
    context: int
    chunk: int

    @property
    def text(self) -> str:
        """The name of the row in messages."""
        return f"{self.precision}, batch {self.batch}, {self.threads} thread{'s' * (self.threads > 1)}"


@dataclass
class Times:
    """Measured seconds; every value is for the whole batch, not for one session.

    talker, predictor: one value for each frame. decoder: one value for each decoded chunk, divided by the number of its
    frames. frame: the same for whole steps. first_audio: one value each time that new sessions are opened.
    """

    talker: list[float]
    predictor: list[float]
    decoder: list[float]
    frame: list[float]
    first_audio: list[float]


class _AllTogether(Policy):
    """All sessions take part in each step, but in none before all prompts are taken in: all make the same frames."""

    def pick(self, sessions: Sequence[Candidate], times: StepTimes) -> tuple[list[int], int, bool]:
        """See Policy."""
        return [i for i, each in enumerate(sessions) if each.rows] or [*range(len(sessions))], MOST_ROWS, False


class RowSessions:
    """The sessions of one row, which the engine loop steps together; each `run` continues them.

    opener: opens the model; returns (model, precision of the decoder). rounds: how often `run` is called. frames: how
    many frames each call generates.
    """

    def __init__(self, opener: Callable[[], tuple[Model, str]], case: Case, rounds: int, frames: int) -> None:
        self.model, self.decoder_precision = opener()
        self.case, self._frames = case, frames
        total = case.chunk + rounds * frames
        rows = max(1, case.context - case.chunk - rounds * frames // 2)
        self._prompts_spoken = 0
        self._loop = Loop(_AllTogether(self.model.config.codec.frame_seconds), None)
        how = {"chunk_frames": case.chunk}
        self._jobs = [self._generation(self._loop, rows, 0, total + 2, i, **how) for i in range(case.batch)]
        while any(not (each.ended or each.utterance.frames) for each in self._jobs):  # one frame more for all
            self._loop.run_once()
        self._steps(case.chunk)

    def _generation(self, loop: Loop, rows: int, first_id: int, frames: int, seed: int, **how: object) -> Generation:
        """Begin a job that draws no end token, and whose prompt is the text ids first_id to first_id + rows - 1."""
        known = max(1, min(self.model.config.text_vocab_size // 2, 2048))
        ids = (np.arange(rows, dtype=np.int32) + first_id) % known
        prompt = Prompt(ids, np.full(rows, -1, np.int32), np.zeros(0, np.int32), 0, [], [])
        job = Job(
            self.model, prompt, "", _TALKER, _PREDICTOR, seed, 0, max_frames=frames, min_frames=frames, retries=0,
            **how,
        )  # fmt: skip
        generation = Generation(job, Consumer(job.live), 0, seed, time.perf_counter())
        generation.consumer.generations.append(generation)
        loop.generations.append(generation)
        return generation

    def _steps(self, frames: int) -> Times:
        """Generate `frames` frames, a multiple of the chunk, and read the decoded samples."""
        chunk = self.case.chunk
        times = Times([], [], [], [], [])
        before = self._seconds()
        for _ in range(frames // chunk):
            start, decoded = time.perf_counter(), before[2]
            for _ in range(chunk):
                self._loop.run_once()
                now = self._seconds()
                times.talker.append(now[0] - before[0])
                times.predictor.append(now[1] - before[1])
                before = now
            times.frame.append((time.perf_counter() - start) / chunk)
            times.decoder.append((before[2] - decoded) / chunk)
        return times

    def _seconds(self) -> tuple[float, float, float]:
        """Seconds that all sessions spent in talker, code predictor and decoder so far."""
        infos = [each.utterance.session.info for each in self._jobs if each.utterance.session is not None]
        return (
            sum(info.talker_seconds for info in infos),
            sum(info.predictor_seconds for info in infos),
            sum(info.codec_seconds for info in infos),
        )

    def run(self) -> Times:
        """Measure one round: the next frames of every session, and the first audio of new ones."""
        times = self._steps(self._frames)
        times.first_audio.append(self._first_audio())
        return times

    def _first_audio(self) -> float:
        """Seconds from opening a batch of new live sessions until each has samples; no prompt occurs twice."""
        start = time.perf_counter()
        loop, jobs = Loop(None, None), []
        for i in range(self.case.batch):
            self._prompts_spoken += 1
            first_id = 1 + self._prompts_spoken * FIRST_AUDIO_ROWS
            jobs.append(self._generation(loop, FIRST_AUDIO_ROWS, first_id, 8, i, live=True))
        while not all(each.chunks or each.ended for each in jobs):
            loop.run_once()
        seconds = time.perf_counter() - start
        loop.fail(EngineError("measured"))
        return seconds

    def close(self) -> None:
        """Close the sessions."""
        self._loop.fail(EngineError("measured"))

    def facts(self) -> dict[str, float | str]:
        """The values that `results.make_row` needs besides times: bytes and operations for one frame of the batch, the
        length of a frame in seconds, and the peak memory of this process in 10^6 bytes."""
        config, case = self.model.config, self.case
        return {
            "decoder_precision": self.decoder_precision,
            "lm_bytes": lm_bytes(config, self.model.weight_bytes, self.model.position_bytes, case.context, case.batch),
            "decoder_operations": decoder_operations(config) * case.batch,
            "frame_seconds": config.codec.samples_per_frame / config.codec.sample_rate,
            "peak_rss_mb": peak_rss_mb(),
        }
