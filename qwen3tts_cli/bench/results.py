"""The rows of a run, and the tables and the report made of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .host import processor
from .machine import Bounds, instruction_sets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .speech import Case, Samples


@dataclass(frozen=True)
class Row:
    """One row of the report, in its order. Times are of a frame of the whole batch, `rtf` is of one stream."""

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


def make_row(model: str, case: Case, rounds: Sequence[Samples], facts: Mapping[str, Any], bounds: Bounds) -> Row:
    """The medians over all frames of all rounds, beside what they cost at the least."""

    def median(name: str) -> float:
        return float(np.median([value for samples in rounds for value in getattr(samples, name)]))

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


def spread(rounds: Sequence[Samples]) -> str:
    """The least and the largest median time of a frame in one round, in ms."""
    medians = [1e3 * float(np.median(samples.frame)) for samples in rounds]
    return f"{min(medians):.1f}-{max(medians):.1f}"


@dataclass
class Results:
    """A run: bounds by thread count, the share of stolen time, rounds left out since they were in another state than
    most, the rows; and of each row the spread over the rounds and the operations of talker and predictor in a frame."""

    bounds: dict[int, Bounds]
    steal: float = 0.0
    left_out: int = 0
    rows: list[Row] = field(default_factory=list)
    spreads: list[str] = field(default_factory=list)
    operations: list[int] = field(default_factory=list)

    @property
    def widest(self) -> Bounds:
        """The bounds of the most threads."""
        return self.bounds[max(self.bounds)]

    def machine(self) -> dict[str, str | int | float]:
        """What the machine is and can do: the `machine` of the report."""
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
        """The whole report, of numbers and strings."""
        return {"machine": _rounded(self.machine()), "rows": [_rounded(asdict(row)) for row in self.rows]}


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    """With numbers to six digits."""
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()}


_HEAD = (
    "precision", "batch", "thr", "talker", "predictor", "decoder", "frame ms", "RTF", "first ms", "MB/frame", "GB/s",
    "of bound", "GFLOP/s", "of bound", "RSS MB",
)  # fmt: skip


def _cells(row: Row) -> tuple[str, ...]:
    precision = row.precision if row.decoder_precision == "f32" else f"{row.precision}, {row.decoder_precision}"
    return (
        precision, str(row.batch), str(row.threads), f"{row.talker_ms:.1f}", f"{row.predictor_ms:.1f}",
        f"{row.decoder_ms:.1f}", f"{row.frame_ms:.1f}", f"{row.rtf:.3f}", f"{row.first_audio_ms:.0f}",
        f"{row.lm_bytes_per_frame * 1e-6:.0f}", f"{row.lm_gbps:.1f}", f"{row.lm_bound_ratio:.2f}",
        f"{row.decoder_gflops:.0f}", f"{row.decoder_bound_ratio:.2f}", f"{row.peak_rss_mb:.0f}",
    )  # fmt: skip


def machine_lines(results: Results) -> list[str]:
    """The machine and its state, a line each."""
    m = results.machine()
    bf16 = f"bf16 {m['bf16_gflops']:.0f} GFLOP/s" if m["bf16_gflops"] else "no bf16"
    least, median = results.widest.barrier_ns
    moved = f"; {results.left_out} rounds left out: the cores were moved" if results.left_out else ""
    return [
        f"{m['cpu']}, {m['threads']} threads ({m['isa']})",
        f"reads {m['read_gbps']:.1f} GB/s; f32 {m['f32_gflops']:.0f} GFLOP/s, {bf16}, int8 {m['int8_gops']:.0f} GOP/s",
        f"state: threads meet in {least:.0f} ns (median {median:.0f}); {100 * m['steal']:.1f} % of the time stolen"
        + moved,
    ]


def text_table(rows: Sequence[Row]) -> list[str]:
    """Aligned columns for a terminal."""
    cells = [_HEAD, *map(_cells, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
    return [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]


def markdown_table(results: Results) -> list[str]:
    """The rows as Markdown, with the spread of the frame's time over the rounds."""
    head = (*_HEAD[:7], "of the rounds", *_HEAD[7:])
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row, between in zip(results.rows, results.spreads, strict=True):
        cells = _cells(row)
        lines.append("| " + " | ".join((*cells[:7], between, *cells[7:])) + " |")
    return lines
