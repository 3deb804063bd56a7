"""The order of the measurements: all rows take turns for several rounds; the bounds are measured before each turn."""

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
from ..models import local_models
from ..models.checkpoint import open_checkpoint
from ..models.synthetic import synthetic_checkpoint
from ..models.tensor_specs import expected_tensors
from ..packed import codec as packed_codec
from ..packed import matrices as packed_matrices
from ..packed.precision import PRECISIONS, bf16_file_helps
from ..speech.synthesizer import Synthesizer
from .machine import Prober
from .results import Measurement, Round
from .sessions import Case, RowSessions
from .workers import Worker

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..models.checkpoint import Checkpoint

    Opener = Callable[[str, int], tuple[Model, str]]  # (precision, threads) -> (model, precision of the decoder)
    Note = Callable[[str], None]

PROBES = 5  # the least number of measurements of the bounds
LIMIT_SECONDS = 300  # no round starts after this time
DECODER_PRECISION = "f32"
_ROW_BYTES, _SESSION_BYTES = 400e6, 60e6  # estimates: memory of a row's process, and of each of its sessions


@dataclass(frozen=True)
class BenchPlan:
    """The rows to measure: each precision with each batch size and thread count.

    context: the mean position of the measured frames. chunk: frames decoded in one call. frames: how many frames each
    row generates in each round, a multiple of `chunk`. trial: one more thread count, for the smallest batch only.
    """

    precisions: Sequence[str]
    batches: Sequence[int]
    threads: Sequence[int]
    context: int
    chunk: int
    frames: int
    rounds: int
    trial: int | None = None

    @property
    def thread_counts(self) -> list[int]:
        """All thread counts, `trial` last."""
        return [*self.threads, *([self.trial] if self.trial else [])]

    def cases(self) -> list[Case]:
        """All rows, in the order of the table."""
        return [
            Case(precision, batch, threads, self.context, self.chunk)
            for threads in self.thread_counts
            for precision in self.precisions
            for batch in (self.batches if threads != self.trial else [min(self.batches)])
        ]


def _copy_to_shared_memory(array: np.ndarray) -> np.ndarray:
    """A copy in memory that forked processes share."""
    memory = map_zeroed(max(array.nbytes, 1), huge=True, shared=True)
    copy = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
    copy[...] = array
    return copy


def _packed_codec(checkpoint: Checkpoint) -> np.ndarray:
    """The packed weights of the codec's decoder, in shared memory. One thread packs them, since a process with several
    threads must not fork."""
    config = checkpoint.config
    slots = {row.slot for row in expected_tensors(config)[1]}
    block = np.frombuffer(map_zeroed(codec_bytes(config.codec), huge=True, shared=True), np.uint8)
    pack_codec(config.codec, [tensor for tensor in checkpoint.tensors if tensor[0] in slots], 1, block)
    return block


def synthetic_opener(size: str, precisions: Sequence[str], threads: int, note: Note) -> Opener:
    """Make random weights of size "0.6b" or "1.7b" in each precision, in memory that all rows share; returns a function
    that opens them."""
    note(f"making random weights of {size}")
    checkpoint = synthetic_checkpoint(size, place=_copy_to_shared_memory)
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
    """Pack the weights of a model that are not packed yet; returns a function that opens the model as Synthesizer.open
    does. The precision "bf16-plain" opens the weights as the checkpoint has them."""
    found = local_models.resolve_model(model)
    with open_checkpoint(found.path, codec=False) as checkpoint:
        try:
            if not found.embedded:
                packed_codec.write_file(checkpoint)
            for precision in precisions:
                wanted = precision in PRECISIONS
                if wanted and (precision != "bf16" or bf16_file_helps(checkpoint)):
                    note(f"{precision}: packing the weights, or reading packed ones")
                    packed_matrices.write_file(checkpoint, precision, threads=threads)
        except OSError as error:
            note(
                f"warning: {error.filename or 'packed weights'}: {error.strerror or error}; "
                "each row packs the weights again"
            )

    def open_model(precision: str, threads: int) -> tuple[Model, str]:
        if precision not in PRECISIONS:
            checkpoint = open_checkpoint(found.path, codec=found.embedded)
            codec = None if found.embedded else packed_codec.load_or_pack(checkpoint, threads=threads)
            return Model(checkpoint, threads=threads, codec=codec), DECODER_PRECISION
        return Synthesizer.open(model, precision=precision, threads=threads).model, DECODER_PRECISION

    return open_model


def measure(model: str, opener: Opener, plan: BenchPlan, note: Note) -> Measurement:
    """Measure every row of the plan.

    If the memory holds the processes of all rows at once, the rows take turns; otherwise one row is measured after the
    other. model: its name, for the report. note: called with each line of progress. Raises Qwen3TTSError.
    """
    before, start, free = cpu_times(), time.monotonic(), available_bytes()
    cases = plan.cases()
    together = free is None or sum(_ROW_BYTES + case.batch * _SESSION_BYTES for case in cases) < free
    turns = [cases] if together else [[case] for case in cases]
    probes: dict[int, list[dict[str, float]]] = {threads: [] for threads in plan.thread_counts}
    rounds: list[Round] = []
    facts: dict[Case, dict[str, Any]] = {}
    with Worker("the machine", Prober, plan.thread_counts) as prober:

        def probe() -> int:
            """Measure the bounds; returns the index of the measurement."""
            for threads, values in prober.call("measure").items():
                probes[threads].append(values)
            return len(probes[threads]) - 1

        for place, turn in enumerate(turns, 1):
            with contextlib.ExitStack() as stack:
                workers = [stack.enter_context(_worker(opener, case, plan)) for case in turn]
                for number in range(plan.rounds):
                    if number and time.monotonic() - start > LIMIT_SECONDS * place / len(turns):
                        note(f"stopped after {number} of {plan.rounds} rounds: the machine is slow")
                        break
                    for case, worker in zip(turn, workers, strict=True):
                        note(f"round {number + 1} of {plan.rounds}: {case.text}")
                        rounds.append(Round(case, probe(), worker.call("run")))
                for case, worker in zip(turn, workers, strict=True):
                    facts[case] = worker.call("facts")
                last = probe()
        while last + 1 < PROBES:
            last = probe()
    return Measurement(model, probes, rounds, facts, stolen_share(before, cpu_times()) or 0.0)


def _worker(opener: Opener, case: Case, plan: BenchPlan) -> Worker:
    return Worker(case.text, RowSessions, lambda: opener(case.precision, case.threads), case, plan.rounds, plan.frames)
