"""Draw a report of `qwen3tts bench --json`: the roofline of the machine with each row on it, and real-time factors.

python bench/plot.py bench.json bench.svg        the name ends in .svg or .png; needs matplotlib
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from qwen3tts_cli.bench.costs import lm_passes
from qwen3tts_cli.cli import names_and_paths
from qwen3tts_cli.models import local_models
from qwen3tts_cli.models.config.model import ModelConfig, load_config
from qwen3tts_cli.models.synthetic import synthetic_config
from qwen3tts_cli.models.tensor_specs import expected_tensors

FORMATS = ("png", "svg")
_COLORS = {"bf16": "#4477aa", "bf16-plain": "#66ccee", "int8": "#ee6677", "int4": "#228833"}
_OTHER = "#777777"


def lm_operations(config: ModelConfig) -> int:
    """Operations of the matrices of talker and code predictor for one frame of one sequence; two per multiply-add."""
    return sum(
        2 * lm_passes(config, row.slot) * math.prod(row.shape)
        for row in expected_tensors(config)[0]
        if len(row.shape) > 1
    )


def config_of(model: str) -> ModelConfig:
    """The configuration of the `model` of a row. Raises ModelNotFoundError."""
    if model.startswith("synthetic-"):
        return synthetic_config(model.removeprefix("synthetic-"))
    return load_config(local_models.resolve_model(names_and_paths.model(model)).path)


def draw(report: dict[str, Any], path: Path) -> None:
    """Write the picture; the extension of `path` is its format."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    roof, bars = figure.subplots(1, 2)
    machine, rows = report["machine"], report["rows"]
    _roofline(roof, machine, rows)
    _bars(bars, rows)
    figure.suptitle(f"{rows[0]['model']} on {machine['cpu']}, {machine['threads']} threads", fontsize=10)
    figure.savefig(path, dpi=150)


def _label(row: dict[str, Any]) -> str:
    return f"{row['precision']} x{row['batch']}" + (f", {row['threads']} thr." if row["threads"] > 1 else "")


def _roofline(axes: Any, machine: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Talker and code predictor: operations per second over operations per byte read."""
    read = machine["read_gbps"]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    low, high = 0.25, 256.0
    for name, peak in (("f32", "f32_gflops"), ("bf16", "bf16_gflops"), ("int8", "int8_gops")):
        if not machine[peak]:
            continue
        xs = [low, min(max(machine[peak] / read, low), high), high]
        axes.plot(xs, [min(machine[peak], x * read) for x in xs], color=_COLORS.get(name, _OTHER), linewidth=1)
        axes.text(high, min(machine[peak], high * read), f"{name} ", ha="right", va="bottom", fontsize=8)
    for row in rows:
        operations = lm_operations(config_of(row["model"])) * row["batch"]
        intensity = operations / row["lm_bytes_per_frame"]
        rate = operations / (row["talker_ms"] + row["predictor_ms"]) * 1e-6
        axes.plot([intensity], [rate], "o", color=_COLORS.get(row["precision"], _OTHER), markersize=5)
        axes.annotate(_label(row), (intensity, rate), xytext=(4, -8), textcoords="offset points", fontsize=7)
    axes.set_xlabel("operations per byte read")
    axes.set_ylabel("talker + code predictor, Gop/s")
    axes.set_title(f"roofline, {read:.1f} GB/s", fontsize=9)
    axes.grid(True, which="major", linewidth=0.3)


def _bars(axes: Any, rows: list[dict[str, Any]]) -> None:
    """The real-time factor of one stream, divided into the shares of talker, code predictor, decoder and the rest."""
    for at, row in enumerate(rows):
        scale, left = row["rtf"] / row["frame_ms"], 0.0
        parts = [row["talker_ms"], row["predictor_ms"], row["decoder_ms"]]
        parts.append(max(0.0, row["frame_ms"] - sum(parts)))
        for width, alpha in zip(parts, (1.0, 0.7, 0.45, 0.2), strict=True):
            axes.barh(at, width * scale, left=left, color=_COLORS.get(row["precision"], _OTHER), alpha=alpha)
            left += width * scale
        axes.text(left, at, f" {row['rtf']:.2f}", va="center", fontsize=8)
    axes.set_xlim(0, 1.15 * max(1.0, *(row["rtf"] for row in rows)))
    axes.axvline(1.0, color="black", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("RTF of a stream: talker, code predictor, decoder, the rest")
    axes.set_title("real-time factor; 1 is the speed of speech", fontsize=9)


def main(arguments: list[str]) -> None:
    if len(arguments) != 2 or arguments[1].rpartition(".")[2].lower() not in FORMATS:
        sys.exit(__doc__.strip())
    draw(json.loads(Path(arguments[0]).read_text("utf-8")), Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
