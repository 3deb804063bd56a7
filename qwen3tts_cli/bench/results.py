"""The rows of a measurement, and the table and the report that show them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .host import processor
from .machine import Bounds, instruction_sets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .sessions import Case, Times


class Round(NamedTuple):
    """One round of one row. probe: the index of the measurement of the bounds that was made before the round; the
    measurement with the next index was made after it."""

    case: Case
    probe: int
    times: Times


@dataclass(frozen=True)
class Measurement:
    """Everything that `run.measure` measured.

    model: its name. probes: for each thread count, the dicts of Prober.measure. rounds: in the order of time.
    facts: for each case, the result of RowSessions.facts. steal: the share of the processor time, 0 to 1, in which the
    host of a virtual machine ran other machines.
    """

    model: str
    probes: Mapping[int, Sequence[dict[str, float]]]
    rounds: Sequence[Round]
    facts: Mapping[Case, Mapping[str, Any]]
    steal: float


@dataclass(frozen=True)
class Row:
    """One row of the report. The fields have the order of the report's keys; docs/bench.md defines each of them. Times
    are for one frame of the whole batch; `rtf` is the real-time factor of one stream."""

    model: str
    precision: str
    decoder_precision: str
    batch: int
    threads: int
    context: int
    chunk: int
    talker_ms: float
    predictor_ms: float
    decoder_ms: float
    frame_ms: float
    rtf: float
    first_audio_ms: float
    lm_bytes_per_frame: int
    lm_gbps: float
    lm_bound_ratio: float
    decoder_gflops: float
    decoder_bound_ratio: float
    peak_rss_mb: float


def make_row(model: str, case: Case, rounds: Sequence[Times], facts: Mapping[str, Any], bounds: Bounds) -> Row:
    """The row of a case: medians over all frames of all rounds, and rates as shares of the machine's bounds."""

    def median(name: str) -> float:
        return float(np.median([value for times in rounds for value in getattr(times, name)]))

    talker, predictor, decoder, frame = (median(name) for name in ("talker", "predictor", "decoder", "frame"))
    lm_gbps = facts["lm_bytes"] / (talker + predictor) * 1e-9
    decoder_gflops = facts["decoder_operations"] / decoder * 1e-9
    peak = bounds.gops(facts["decoder_precision"])
    return Row(
        model=model,
        precision=case.precision,
        decoder_precision=facts["decoder_precision"],
        batch=case.batch,
        threads=case.threads,
        context=case.context,
        chunk=case.chunk,
        talker_ms=talker * 1e3,
        predictor_ms=predictor * 1e3,
        decoder_ms=decoder * 1e3,
        frame_ms=frame * 1e3,
        rtf=frame / facts["frame_seconds"] / case.batch,
        first_audio_ms=median("first_audio") * 1e3,
        lm_bytes_per_frame=facts["lm_bytes"],
        lm_gbps=lm_gbps,
        lm_bound_ratio=lm_gbps / bounds.read_gbps,
        decoder_gflops=decoder_gflops,
        decoder_bound_ratio=decoder_gflops / peak if peak else 0.0,
        peak_rss_mb=facts["peak_rss_mb"],
    )


@dataclass(frozen=True)
class Results:
    """The bounds and rows of a measurement.

    bounds: maps a thread count to its Bounds. steal: see Measurement. rows: in the order of their cases.
    """

    bounds: Mapping[int, Bounds]
    steal: float
    rows: Sequence[Row]

    @property
    def widest(self) -> Bounds:
        """The bounds measured with the most threads."""
        return self.bounds[max(self.bounds)]

    def machine(self) -> dict[str, str | int | float]:
        """The object `machine` of the report."""
        bounds = self.widest
        return {
            "cpu": processor(),
            "isa": instruction_sets(),
            "threads": bounds.threads,
            "read_gbps": bounds.read_gbps,
            "f32_gflops": bounds.gops("f32"),
            "bf16_gflops": bounds.gops("bf16"),
            "int8_gops": bounds.gops("int8"),
            "steal": self.steal,
        }

    def report(self) -> dict[str, Any]:
        """The report as JSON values: {"machine": {...}, "rows": [{...}, ...]}."""
        return {"machine": _round_floats(self.machine()), "rows": [_round_floats(asdict(row)) for row in self.rows]}


def make_results(measured: Measurement) -> Results:
    """Bounds and rows of a measurement."""
    bounds = {threads: Bounds(threads, probes) for threads, probes in measured.probes.items()}
    rows = [
        make_row(
            measured.model,
            case,
            [each.times for each in measured.rounds if each.case == case],
            facts,
            bounds[case.threads],
        )
        for case, facts in measured.facts.items()
    ]
    return Results(bounds, measured.steal, rows)


def _round_floats(values: dict[str, Any]) -> dict[str, Any]:
    """The same dict, with floats rounded to six significant digits."""
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()}


HEAD = (
    "precision", "batch", "thr", "talker", "predictor", "decoder", "frame ms", "RTF", "first ms", "MB/frame", "GB/s",
    "of bound", "GFLOP/s", "of bound", "RSS MB",
)  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a row in the table, in the order of HEAD."""
    precision = row.precision if row.decoder_precision == "f32" else f"{row.precision}, {row.decoder_precision}"
    return (
        precision, str(row.batch), str(row.threads), f"{row.talker_ms:.1f}", f"{row.predictor_ms:.1f}",
        f"{row.decoder_ms:.1f}", f"{row.frame_ms:.1f}", f"{row.rtf:.3f}", f"{row.first_audio_ms:.0f}",
        f"{row.lm_bytes_per_frame * 1e-6:.0f}", f"{row.lm_gbps:.1f}", f"{row.lm_bound_ratio:.2f}",
        f"{row.decoder_gflops:.0f}", f"{row.decoder_bound_ratio:.2f}", f"{row.peak_rss_mb:.0f}",
    )  # fmt: skip


def machine_lines(results: Results) -> list[str]:
    """Three lines: the machine, its bounds, and its state during the run."""
    m = results.machine()
    bf16 = f"bf16 {m['bf16_gflops']:.0f} GFLOP/s" if m["bf16_gflops"] else "no bf16"
    least, median = results.widest.barrier_ns
    barrier = f"barrier of all threads {least:.0f} ns (median {median:.0f})"
    return [
        f"{m['cpu']}, {m['threads']} threads ({m['isa']})",
        f"reads {m['read_gbps']:.1f} GB/s; f32 {m['f32_gflops']:.0f} GFLOP/s, {bf16}, int8 {m['int8_gops']:.0f} GOP/s",
        f"state: {barrier}; {100 * m['steal']:.1f} % of the time stolen",
    ]


def text_table(rows: Sequence[Row]) -> list[str]:
    """The rows as lines of aligned columns, under a header line."""
    lines = [HEAD, *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    ]
