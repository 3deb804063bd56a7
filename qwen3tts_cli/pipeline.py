"""Text to an iterator of PCM chunks: utterances, seeds, the runaway guard and its retries."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .engine import RUNNING, SAMPLE_RATE, STOP_MAX_FRAMES, Model, Sampling, Session
from .errors import GenerationError, UsageError
from .guard import Guard, frame_budget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .prompt import Prompt
    from .voicefile import Voice

FRAMES_PER_SECOND = 12.5


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before the first utterance. voice, language: as resolved, for reports and the key."""

    voice: str | None
    language: str
    settings: dict[str, object]  # what the utterance key covers besides the text
    talker: Sampling
    predictor: Sampling
    seed: int
    max_frames: int | None
    retries: int
    live: bool
    chunk_frames: int
    pipeline: bool
    instruct: str | None = None
    text_mode: str = "full"
    cloned: Voice | None = None


def utterance_key(text: str, settings: dict[str, object], occurrence: int) -> int:
    """64 bits of what is said and how, and which time it is said; never where in the text it stands."""
    what = json.dumps([text, settings, occurrence], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(what.encode(), digest_size=8).digest(), "little")


def retry_seed(seed: int, attempt: int) -> int:
    """The seed of a retry; attempt 0 is the seed itself."""
    if attempt == 0:
        return seed
    return int.from_bytes(hashlib.blake2b(f"{seed}:{attempt}".encode(), digest_size=8).digest(), "little")


class Runaway(Exception):
    """The guard tripped; `good` frames of the utterance are worth keeping."""

    def __init__(self, reason: str, good: int) -> None:
        super().__init__(reason)
        self.reason, self.good = reason, good


class Speech:
    """One text being spoken: an iterator of float32 arrays (samples,) at 24 kHz.

    The counters are totals of what has been yielded; `stop` is set at the end: "eos" or "max_frames".
    Raises GenerationError when the guard gives up or a value is not finite.
    """

    def __init__(self, model: Model, plan: Plan, prompts: Iterator[tuple[str, Prompt]]) -> None:
        self.model, self.plan = model, plan
        self.voice, self.language, self.seed = plan.voice, plan.language, plan.seed
        self.frames, self.samples, self.stop = 0, 0, "eos"
        self.first_audio_seconds: float | None = None
        self.timings: Counter[str] = Counter()
        self._codes: list[np.ndarray] = []
        self._start = time.perf_counter()
        self._chunks = self._speak(prompts)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        return next(self._chunks)

    def close(self) -> None:
        """Stop at once, the engine's threads too."""
        self._chunks.close()

    def __enter__(self) -> Speech:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """Length of the audio yielded so far."""
        return self.samples / SAMPLE_RATE

    @property
    def codes(self) -> np.ndarray:
        """Codes of the utterances finished so far: int32 (frames, code_groups)."""
        return (
            np.concatenate(self._codes) if self._codes else np.empty((0, self.model.config.num_code_groups), np.int32)
        )

    def _speak(self, prompts: Iterator[tuple[str, Prompt]]) -> Iterator[np.ndarray]:
        seen: Counter[str] = Counter()
        for text, prompt in prompts:
            if self.plan.max_frames is not None and self.frames >= self.plan.max_frames:
                self.stop = "max_frames"
                return
            key = utterance_key(text, self.plan.settings, seen[text])
            seen[text] += 1
            yield from self._utterance(text, prompt, key)

    def _limit(self, text: str, prompt: Prompt) -> tuple[int, bool]:
        """Most frames for this utterance, and whether reaching them is a runaway rather than a wish."""
        plan, config = self.plan, self.model.config
        rows, positions = len(prompt.text_ids), config.max_position_embeddings
        if max(rows, len(prompt.trailing_ids)) + 1 > positions:
            raise UsageError(
                f"text: one utterance of {rows + len(prompt.trailing_ids)} prompt rows; the model has {positions} "
                "positions (leave out --no-split, or shorten the text)"
            )
        room = positions - rows
        if plan.max_frames is not None:
            return min(plan.max_frames - self.frames, room), False
        if plan.retries == 0:
            return min(max(config.generation.max_new_tokens - 1, 1), room), False
        return min(frame_budget(text), room), True

    def _utterance(self, text: str, prompt: Prompt, key: int) -> Iterator[np.ndarray]:
        plan = self.plan
        limit, budgeted = self._limit(text, prompt)
        # A greedy utterance of a stated length is taken as it comes: argmax may well repeat itself.
        guarded = plan.retries > 0 and not (plan.talker.greedy and plan.max_frames is not None)
        attempts = 1 if plan.talker.greedy or plan.retries == 0 else plan.retries + 1
        for attempt in range(attempts):
            held: list[np.ndarray] = []
            out = 0
            try:
                guard = Guard(limit if budgeted else 1 << 30) if guarded else None
                for pcm in self._attempt(prompt, key, retry_seed(plan.seed, attempt), limit, guard, budgeted):
                    if plan.live:
                        out += len(pcm)
                        self.samples += len(pcm)
                        yield pcm
                    else:
                        held.append(pcm)
            except Runaway as trip:
                if out == 0 and attempt + 1 < attempts:
                    continue
                raise GenerationError(
                    f"generation failed: {trip.reason} after {trip.good} good frames in {attempt + 1} "
                    f"attempt{'s' if attempt else ''}: {text[:40]!r} (another --seed, or --retries 0 to keep it)"
                ) from None
            for pcm in held:
                self.samples += len(pcm)
                yield pcm
            return

    def _attempt(
        self, prompt: Prompt, key: int, seed: int, limit: int, guard: Guard | None, budgeted: bool
    ) -> Iterator[np.ndarray]:
        """Generate one utterance; PCM as it is decoded. Raises Runaway after the last good sample is out."""
        plan = self.plan
        cloned = plan.cloned
        session = Session(
            self.model, prompt, talker=plan.talker, predictor=plan.predictor, seed=seed, key=key, max_frames=limit,
            chunk_frames=plan.chunk_frames, pipeline=plan.pipeline, speaker=cloned.embedding if cloned else None,
            reference_codes=cloned.codes if cloned else None,
        )  # fmt: skip
        with session:
            trip: str | None = None
            emitted, done = 0, False
            info = session.info
            while not done:
                before = info.frames
                self.model.step([session])
                info = session.info
                if guard is not None and trip is None:
                    trip = guard.feed(session.codes(before, info.frames - before))
                if trip is None and budgeted and info.state == STOP_MAX_FRAMES:
                    trip = "budget"
                keep = info.frames if trip is None else min(guard.good_frames if guard else info.frames, info.frames)
                done = info.state != RUNNING or trip is not None
                for pcm in self._drain(session, done, keep * self.model.config.codec.samples_per_frame - emitted):
                    emitted += len(pcm)
                    yield pcm
            if trip is not None:
                raise Runaway(trip, keep)
            self._finish(session)

    def _drain(self, session: Session, to_end: bool, most: int) -> Iterator[np.ndarray]:
        """What the decoder has ready, at most `most` samples; to_end: until it has decoded every frame."""
        while most > 0:
            pcm = session.read(wait=to_end)[:most]
            if not len(pcm):
                info = session.info
                if not to_end or info.decoded >= info.frames:
                    return
                self.model.step([session])  # slice mode decodes here; a stopped session makes no more frames
                continue
            if self.first_audio_seconds is None:
                self.first_audio_seconds = time.perf_counter() - self._start
            most -= len(pcm)
            yield pcm

    def _finish(self, session: Session) -> None:
        info = session.info
        self._codes.append(session.codes(0, info.frames))
        self.frames += info.frames
        self.stop = "max_frames" if info.state == STOP_MAX_FRAMES else "eos"
        for name in ("prefill", "talker", "predictor", "codec"):
            self.timings[name] += getattr(info, f"{name}_seconds")
