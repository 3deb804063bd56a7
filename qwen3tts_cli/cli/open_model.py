"""Open the model that the options of a command name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from . import names_and_paths

if TYPE_CHECKING:
    from ..speech.synthesizer import Synthesizer
    from .console import Console


def open_model(console: Console, given: dict[str, Any]) -> tuple[Synthesizer, float]:
    """Open a model, with a progress line while its weights are packed for the first time.

    given: the options model, precision, decoder_precision, threads and no_cache by name. Returns the model, and the
    seconds that packing took. Raises as Synthesizer.open does.
    """
    from ..speech.synthesizer import Synthesizer

    done, packing = [0, 0], [0.0]
    began = time.perf_counter()

    def report(there: int, total: int) -> None:
        done[:] = there, total
        packing[0] = time.perf_counter() - began

    def line() -> str:
        return f"packing the weights for the first time, {100 * done[0] // done[1]} %" if done[1] else ""

    engine = {name: given[name] for name in ("precision", "decoder_precision", "threads")}
    warnings: list[str] = []  # shown after the progress line is erased
    with console.progress(line):
        opened = Synthesizer.open(
            names_and_paths.model(given["model"]),
            cache=not given["no_cache"],
            progress=report,
            on_warning=warnings.append,
            **engine,
        )
    for warning in warnings:
        console.warning(warning)
    return opened, packing[0]
