"""The engine loop: opens sessions, steps them, and hands their samples to the readers.

One thread at a time runs `Loop.run_once`; the scheduler sees to that. Everything that other threads tell the loop comes
through its inbox, a queue that may also be used by signal handlers and finalisers.
"""

from __future__ import annotations

import queue
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..common.audio_constants import SAMPLE_RATE
from ..common.machine import available_bytes
from ..errors import EngineError, OutOfMemoryError
from .guard import expected_seconds
from .policy import MAX_BATCH, MOST_ROWS, Candidate, Policy, StepTimes, is_late

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.model import Model
    from .consumer import Consumer, Generation

LIVE_AHEAD_SECONDS = 5  # of samples that a live reader has not taken; its stream then waits
BULK_AHEAD_SECONDS = 60  # the same for other readers, and for utterances that are generated before their turn
_ALL_AHEAD_SECONDS = 600  # of samples that no reader has taken, over all streams
_SPARE_BYTES = 64 << 20  # memory that sessions leave free


class Loop:
    """See the module. memory_bytes: the most memory for sessions; None: what the system has free."""

    def __init__(self, policy: Policy | None, memory_bytes: int | None) -> None:
        self.inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.generations: list[Generation] = []  # those that have not ended, in the order of arrival
        self._policy, self._memory_bytes = policy, memory_bytes
        self._times: WeakKeyDictionary[Model, StepTimes] = WeakKeyDictionary()
        self.step_counts = [0] * (MAX_BATCH + 1)  # at index n: the steps of n sessions
        self.step_seconds = 0.0  # of all steps

    def run_once(self) -> bool:
        """Run one round: take what other threads sent, admit jobs, and step the sessions of each model once.

        Returns False if nothing can be done before another thread sends something or takes samples. An exception that
        does not belong to a single job ends every job.
        """
        try:
            self._take_inbox()
            if (only := self._only_one()) is not None:
                model = only.job.model
                self._step_model(model, [only], MOST_ROWS, False, self._times.setdefault(model, StepTimes()), True)
                return True
            self._end_cancelled()
            self._admit()
            return self._step()
        except Exception as error:
            self.fail(error)
            return False
        except BaseException:  # an interrupt may have come between reading samples and handing them over
            self.fail(EngineError("the stream was interrupted"))
            raise

    def fail(self, error: Exception) -> None:
        """End every job with an error."""
        for generation in self.generations:
            generation.end(error)
        self.generations.clear()

    def settle(self) -> None:
        """Close the sessions of jobs that were cancelled."""
        self._take_inbox()
        self._end_cancelled()

    def _take_inbox(self) -> None:
        with suppress(queue.Empty):
            while True:
                if (call := self.inbox.get_nowait()) is not None:
                    call()

    def _end_cancelled(self) -> None:
        for generation in self.generations:
            if generation.cancelled:
                generation.end(EngineError("the stream is closed"))
        self._drop_ended()

    def _drop_ended(self) -> None:
        self.generations[:] = [each for each in self.generations if not each.ended]

    def _only_one(self) -> Generation | None:
        """The only generation, if its next step needs no decision, which would take longer than all else here."""
        if len(self.generations) != 1:
            return None
        only = self.generations[0]
        consumer = only.consumer
        if not only.admitted or only.cancelled or only.ended or only.job.open_text is not None:
            return None
        limit = LIVE_AHEAD_SECONDS if consumer.live else BULK_AHEAD_SECONDS
        if not _is_next(only) or consumer.unread_samples() >= limit * SAMPLE_RATE:
            return None
        consumer.parked = False
        return only

    # ---------------------------------------------------------------- admission
    def _admit(self) -> None:
        waiting = [each for each in self.generations if not each.admitted]
        if not waiting:
            return
        running = [each for each in self.generations if each.admitted]
        now = time.perf_counter()
        unparked = self._unparked()
        parked = set(running).difference(unparked)
        busy = [self._candidate(each, now) for each in unparked]
        policy = self._policy_of(waiting[0].job.model)
        free = None
        for i in policy.admit([self._candidate(each, now) for each in waiting], busy):
            generation = waiting[i]
            try:
                if running and free is None:  # a stream alone is admitted in any case, and looking takes a millisecond
                    free = self._free_bytes(running)
                if not self._fits(generation, running, parked, free or 0.0):
                    continue
            except EngineError as error:  # its model is closed
                generation.end(error)
                continue
            if free is not None:
                free -= generation.reserved_bytes
            generation.admitted = True
            generation.utterance.begin()
            if generation.utterance.error is not None:
                generation.end(generation.utterance.error)
            running.append(generation)
        self._drop_ended()

    def _free_bytes(self, running: list[Generation]) -> float:
        """Bytes of memory that new sessions may take. running: the sessions that are open."""
        if self._memory_bytes is not None:
            return self._memory_bytes - sum(each.reserved_bytes for each in running)
        return (available_bytes() or 1 << 62) - sum(map(_bytes_to_come, running)) - _SPARE_BYTES

    def _fits(self, generation: Generation, running: list[Generation], parked: set[Generation], free: float) -> bool:
        """Whether there is memory for one more session. free: bytes of memory that it may take.

        If not, the job waits for the end of another one of the same group; it ends with an error if there is none. It
        does not wait for sessions that are parked until the reader has its samples. Raises EngineError if the model is
        closed.
        """
        generation.position_bytes = generation.job.model.position_bytes
        generation.reserved_bytes = generation.utterance.session_bytes(_expected_positions(generation))
        if generation.reserved_bytes <= free or not running:
            return True
        if same := [each for each in running if each.consumer.group == generation.consumer.group]:
            return _is_next(generation) and parked.issuperset(same)
        megabytes = f"{generation.reserved_bytes / 1e6:.0f} MB, {max(0.0, free) / 1e6:.0f} MB are free"
        count = f"{len(running)} stream{'s are' if len(running) > 1 else ' is'} open"
        generation.end(OutOfMemoryError(f"not enough memory for another stream: it needs {megabytes}, {count}"))
        return False

    # ---------------------------------------------------------------- steps
    def _step(self) -> bool:
        """Step the sessions that the policy picks. Returns whether there were any."""
        now = time.perf_counter()
        for each in self.generations:
            each.utterance.take_text()
            if each.utterance.error is not None:
                each.end(each.utterance.error)
        self._drop_ended()
        ready = [each for each in self._unparked() if not each.utterance.waits_for_text]
        models = dict.fromkeys(each.job.model for each in ready)
        candidates = {each: self._candidate(each, now) for each in ready}
        # A new live stream of one model does not wait for the other models, unless their sessions have waited too long.
        urgent = {each.job.model for each, seen in candidates.items() if seen.live and seen.lead is None}
        late = {each.job.model for each, seen in candidates.items() if is_late(seen)}
        for model in [each for each in models if not urgent or each in urgent | late]:
            mine = [each for each in ready if each.job.model is model]
            times = self._times.setdefault(model, StepTimes())
            chosen, rows, spread = self._policy_of(model).pick([candidates[each] for each in mine], times)
            self._step_model(model, [mine[i] for i in chosen], rows, spread, times, len(chosen) == len(ready))
        return bool(ready)

    def _step_model(
        self,
        model: Model,
        chosen: list[Generation],
        rows: int,
        spread: bool,
        times: StepTimes,
        everybody: bool,
    ) -> None:
        before = [each.utterance.frames for each in chosen]
        left = sum(each.utterance.rows_left for each in chosen)
        wait = everybody and all(each.utterance.generation_ended for each in chosen)
        start = time.perf_counter()
        try:
            errors = model.advance([each.utterance.session for each in chosen], rows, spread)
        except Exception as error:
            self._fail_model(model, error)
            return
        end = time.perf_counter()
        self.step_counts[len(chosen)] += 1
        self.step_seconds += end - start
        for generation, error in zip(chosen, errors, strict=True):
            generation.stepped_at = end
            self._absorb(generation, error, wait)
        made = sum(each.utterance.frames > frames for each, frames in zip(chosen, before, strict=True))
        taken_in = left - sum(each.utterance.rows_left for each in chosen)
        times.add(made, max(0, taken_in), end - start)
        self._drop_ended()

    def _absorb(self, generation: Generation, error: Exception | None, wait: bool) -> None:
        try:
            utterance = generation.utterance
            utterance.absorb_step(error, wait)
            before = generation.released
            generation.release()
            if utterance.complete:
                generation.end(utterance.failure())
            elif generation.released > before:
                generation.consumer.notify()
        except Exception as failure:  # nothing that happens to one job may touch the others
            generation.end(failure)

    def _fail_model(self, model: Model, error: Exception) -> None:
        for generation in self.generations:
            if generation.job.model is model:
                generation.end(error)
        self._drop_ended()

    # ---------------------------------------------------------------- what the policy sees
    def _policy_of(self, model: Model) -> Policy:
        return self._policy or Policy(model.config.codec.frame_seconds)

    def _candidate(self, generation: Generation, now: float) -> Candidate:
        consumer = generation.consumer
        in_turn = consumer.live and _is_next(generation)
        lead = consumer.lead_seconds(now) if in_turn else None
        prompt, rows = generation.utterance.prompt_rows, generation.utterance.rows_left
        return Candidate(in_turn, lead, prompt, rows, now - generation.stepped_at, consumer.group, generation.number)

    def _unparked(self) -> list[Generation]:
        """The sessions whose readers have not so many samples ahead that the sessions must wait."""
        consumers = {each.consumer for each in self.generations}
        for consumer in consumers:
            consumer.parked = True  # before the samples are counted: a reader that takes some meanwhile wakes the loop
        ahead = {consumer: _ahead(consumer) for consumer in consumers}
        full = sum(ahead.values()) >= _ALL_AHEAD_SECONDS * SAMPLE_RATE
        parked = set()
        for each in self.generations:
            consumer = each.consumer
            if _is_next(each):
                limit = LIVE_AHEAD_SECONDS if consumer.live else BULK_AHEAD_SECONDS
                waits = consumer.unread_samples() >= limit * SAMPLE_RATE
            else:
                waits = full or ahead[consumer] >= BULK_AHEAD_SECONDS * SAMPLE_RATE
            if waits:
                parked.add(each)
        for consumer in consumers.difference(each.consumer for each in parked):
            consumer.parked = False
        return [each for each in self.generations if each.admitted and each not in parked]


def _is_next(generation: Generation) -> bool:
    """Whether the reader needs the samples of this generation next: all before it have ended."""
    for each in list(generation.consumer.generations):
        if not each.ended:
            return each is generation
    return False


def _ahead(consumer: Consumer) -> int:
    """Samples that wait: those that the reader can take, and those of utterances before their turn."""
    total = 0
    for each in list(consumer.generations):
        total += each.unread + (0 if _is_next(each) else each.utterance.unreleased_samples)
    return total


def _expected_positions(generation: Generation) -> int:
    job = generation.job
    frames = int(expected_seconds(generation.utterance.text) / job.model.config.codec.frame_seconds) + 1
    if job.max_frames is not None:
        frames = min(frames, job.max_frames)
    return len(job.prompt.text_ids) + frames


def _bytes_to_come(generation: Generation) -> int:
    """Bytes of memory that an open session is still expected to take: those of its KV cache."""
    utterance = generation.utterance
    positions = len(generation.job.prompt.text_ids) - utterance.rows_left + utterance.frames
    return generation.position_bytes * max(0, _expected_positions(generation) - positions)
