"""What is measured, in which order: every row in turn, again and again, with the machine's bounds in between."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..common.machine import available_bytes, cpu_times, stolen_share
from ..common.memory_mapping import map_zeroed
from ..engine.model import Model
from ..engine.packing import codec_bytes, pack_codec
from ..models import hub_cache
from ..models.checkpoint import open_checkpoint
from ..models.synthetic import synthetic_checkpoint
from ..models.tensor_specs import expected_tensors
from ..packed import codec as packed_codec
from ..packed import matrices as packed_matrices
from ..packed.precision import PRECISIONS, bf16_file_helps
from ..speech.synthesizer import Synthesizer
from .machine import Bounds, Prober
from .results import Results, make_row, spread
from .speech import Case, Samples, Speech
from .state import comparable
from .workers import Worker

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from ..models.checkpoint import Checkpoint

    Opener = Callable[[str, int], tuple[Model, str]]  # of precision and threads: model, precision of the decoder
    Note = Callable[[str], None]

PROBES = 5  # of the bounds, at least
LIMIT_SECONDS = 300  # no new round after
DECODER_PRECISION = "f32"
_ROW_BYTES, _SESSION_BYTES = 400e6, 60e6  # of a row's process and of each of its sessions, about


@dataclass(frozen=True)
class Plan:
    """frames: of each row in each round, a multiple of `chunk`. trial: a thread count for the smallest batch alone."""

    precisions: Sequence[str]
    batches: Sequence[int]
    threads: Sequence[int]
    context: int
    chunk: int
    frames: int
    rounds: int
    trial: int | None = None

    @property
    def counts(self) -> list[int]:
        """Every thread count."""
        return [*self.threads, *([self.trial] if self.trial else [])]

    def cases(self) -> list[Case]:
        """Every row, in order."""
        return [
            Case(precision, batch, threads, self.context, self.chunk)
            for threads in self.counts
            for precision in self.precisions
            for batch in (self.batches if threads != self.trial else [min(self.batches)])
        ]


def _shared(array: np.ndarray) -> np.ndarray:
    """A copy in memory that forked processes share."""
    memory = map_zeroed(max(array.nbytes, 1), huge=True, shared=True)
    copy = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
    copy[...] = array
    return copy


def _packed_codec(checkpoint: Checkpoint) -> np.ndarray:
    """The block of the codec's weights, for all rows, by one thread: a process with more is not to be forked."""
    config = checkpoint.config
    slots = {row.slot for row in expected_tensors(config)[1]}
    block = np.frombuffer(map_zeroed(codec_bytes(config.codec), huge=True, shared=True), np.uint8)
    pack_codec(config.codec, [tensor for tensor in checkpoint.tensors if tensor[0] in slots], 1, block)
    return block


def synthetic_opener(size: str, precisions: Sequence[str], threads: int, note: Note) -> Opener:
    """Makes random weights of size "0.6b" or "1.7b" in every precision, in memory that all rows share."""
    note(f"making random weights of {size}")
    checkpoint = synthetic_checkpoint(size, place=_shared)
    codec = _packed_codec(checkpoint)
    matrices = {}
    for precision in precisions:
        if precision in PRECISIONS:
            note(f"packing {precision}")
            matrices[precision] = packed_matrices.pack_in_memory(
                checkpoint, precision, threads=threads, shared=True
            ).matrices
    return lambda precision, count: (
        Model(checkpoint, threads=count, packed=matrices.get(precision), codec=codec),
        DECODER_PRECISION,
    )


def model_opener(model: str | os.PathLike[str], precisions: Sequence[str], threads: int, note: Note) -> Opener:
    """Packs what is not packed yet, then opens a model as Synthesizer.open does. bf16-plain: as they are."""
    found = hub_cache.resolve_model(model)
    with open_checkpoint(found.path, codec=False) as checkpoint:
        try:
            if not found.embedded:
                packed_codec.write_file(checkpoint)
            for precision in precisions:
                wanted = precision in PRECISIONS
                if wanted and (precision != "bf16" or bf16_file_helps(checkpoint)):
                    note(f"{precision}: packing, or reading what is packed")
                    packed_matrices.write_file(checkpoint, precision, threads=threads)
        except OSError as error:
            note(f"warning: {error.filename or 'packed weights'}: {error.strerror or error}; made anew for each row")

    def opened(precision: str, threads: int) -> tuple[Model, str]:
        if precision not in PRECISIONS:
            checkpoint = open_checkpoint(found.path, codec=found.embedded)
            codec = None if found.embedded else packed_codec.load_or_pack(checkpoint, threads=threads)
            return Model(checkpoint, threads=threads, codec=codec), DECODER_PRECISION
        return Synthesizer.open(model, precision=precision, threads=threads).model, DECODER_PRECISION

    return opened


def measure(model: str, opener: Opener, plan: Plan, note: Note) -> Results:
    """Measure every case of the plan. Rows take turns where there is memory for all of them at once."""
    before, start, free = cpu_times(), time.monotonic(), available_bytes()
    results = Results({threads: Bounds(threads) for threads in plan.counts})
    cases = plan.cases()
    together = free is None or sum(_ROW_BYTES + case.batch * _SESSION_BYTES for case in cases) < free
    taken: list[tuple[Case, int, Samples]] = []  # with the number of the probe before
    facts = {}
    with Worker("the machine", Prober, plan.counts) as prober:

        def probe() -> None:
            for threads, values in prober.call("measure").items():
                results.bounds[threads].probes.append(values)

        turns = [cases] if together else [[case] for case in cases]
        for place, turn in enumerate(turns, 1):
            with contextlib.ExitStack() as stack:
                workers = [stack.enter_context(_worker(opener, case, plan)) for case in turn]
                for number in range(plan.rounds):
                    if number and time.monotonic() - start > LIMIT_SECONDS * place / len(turns):
                        note(f"{number} of {plan.rounds} rounds: the machine is slow")
                        break
                    for case, worker in zip(turn, workers, strict=True):
                        note(f"round {number + 1} of {plan.rounds}: {case.text}")
                        probe()
                        taken.append((case, len(results.widest.probes) - 1, worker.call("run")))
                for case, worker in zip(turn, workers, strict=True):
                    facts[case] = worker.call("facts")
                probe()
        places = [at for _, at, _ in taken]
        for _ in range(2 * PROBES):
            if sum(comparable(results.widest.probes, places)[0]) >= PROBES:
                break
            probe()
    kept, same = comparable(results.widest.probes, places)
    for bounds in results.bounds.values():
        bounds.only(kept)
    results.steal = stolen_share(before, cpu_times()) or 0.0
    for case in cases:
        rounds = [(keep, samples) for keep, (of, _, samples) in zip(same, taken, strict=True) if of == case]
        found = [samples for keep, samples in rounds if keep] or [samples for _, samples in rounds]
        results.left_out += len(rounds) - len(found)
        results.rows.append(make_row(model, case, found, facts[case], results.bounds[case.threads]))
        results.spreads.append(spread(found))
        results.operations.append(facts[case]["lm_operations"])
    return results


def _worker(opener: Opener, case: Case, plan: Plan) -> Worker:
    return Worker(case.text, Speech, lambda: opener(case.precision, case.threads), case, plan.rounds, plan.frames)
