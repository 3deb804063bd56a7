"""A picture of a run: the roofline of the machine with every row on it, and the real-time factors as bars."""

from __future__ import annotations

import importlib.util
import io
import logging
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from .results import Results

FORMATS = ("png", "svg")
_COLORS = {"bf16": "#4477aa", "bf16-plain": "#66ccee", "int8": "#ee6677", "int4": "#228833"}
_OTHER = "#777777"


def check(path: str) -> str:
    """The format that the name of a picture asks for. Raises UsageError for another, or without matplotlib."""
    kind = path.rpartition(".")[2].lower()
    if kind not in FORMATS:
        raise UsageError(f"--plot {path}: the name must end in {' or '.join('.' + name for name in FORMATS)}")
    if importlib.util.find_spec("matplotlib") is None:  # not imported: its memory would count in every row
        raise UsageError("--plot: matplotlib is missing, install it with: pip install 'qwen3tts-cli[bench]'")
    return kind


def draw(results: Results, kind: str) -> bytes:
    """The picture as a file of `kind`."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of the fonts that it looks for at first
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    roof, bars = figure.subplots(1, 2)
    _roofline(roof, results)
    _bars(bars, results)
    machine = results.machine()
    figure.suptitle(f"{results.rows[0].model} on {machine['cpu']}, {machine['threads']} threads", fontsize=10)
    data = io.BytesIO()
    figure.savefig(data, format=kind, dpi=150)
    return data.getvalue()


def _label(row: Any) -> str:
    return f"{row.precision} x{row.batch}" + (f", {row.threads} thr." if row.threads > 1 else "")


def _roofline(axes: Any, results: Results) -> None:
    """Talker and predictor: multiply-adds a second against multiply-adds for each byte that is read."""
    bounds = results.widest
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    low, high = 0.25, 256.0
    for name in ("f32", "bf16", "int8"):
        peak = bounds.gops(name)
        if not peak:
            continue
        knee = peak / bounds.read_gbps
        xs = [low, min(max(knee, low), high), high]
        axes.plot(xs, [min(peak, x * bounds.read_gbps) for x in xs], color=_COLORS.get(name, _OTHER), linewidth=1)
        axes.text(high, min(peak, high * bounds.read_gbps), f"{name} ", ha="right", va="bottom", fontsize=8)
    for row, operations in zip(results.rows, results.operations, strict=True):
        intensity = operations / row.lm_bytes_per_frame
        rate = operations / (row.talker_ms + row.predictor_ms) * 1e-6
        axes.plot([intensity], [rate], "o", color=_COLORS.get(row.precision, _OTHER), markersize=5)
        axes.annotate(_label(row), (intensity, rate), xytext=(4, -8), textcoords="offset points", fontsize=7)
    axes.set_xlabel("operations a byte read")
    axes.set_ylabel("talker + predictor, Gop/s")
    axes.set_title(f"roofline, {bounds.read_gbps:.1f} GB/s", fontsize=9)
    axes.grid(True, which="major", linewidth=0.3)


def _bars(axes: Any, results: Results) -> None:
    """The real-time factor of one stream, and the share that each stage has in it."""
    for at, row in enumerate(results.rows):
        scale, left = row.rtf / row.frame_ms, 0.0
        rest = max(0.0, row.frame_ms - row.talker_ms - row.predictor_ms - row.decoder_ms)
        parts = zip((row.talker_ms, row.predictor_ms, row.decoder_ms, rest), (1.0, 0.7, 0.45, 0.2), strict=True)
        for width, alpha in parts:
            axes.barh(at, width * scale, left=left, color=_COLORS.get(row.precision, _OTHER), alpha=alpha)
            left += width * scale
        axes.text(left, at, f" {row.rtf:.2f}", va="center", fontsize=8)
    axes.set_xlim(0, 1.15 * max(1.0, *(row.rtf for row in results.rows)))
    axes.axvline(1.0, color="black", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(results.rows)), [_label(row) for row in results.rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("RTF of a stream: talker, predictor, decoder, the rest")
    axes.set_title("real-time factor, 1 is the speed of speech", fontsize=9)
