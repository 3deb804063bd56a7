"""The last step of a command that packed the weights of a model: write the packed weights into the cache folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import signals

if TYPE_CHECKING:
    from ..speech.synthesizer import Synthesizer
    from .console import Console


def finish_packing(synthesizers: list[Synthesizer], console: Console, what: str) -> None:
    """Write packed weights into the cache folder for the next run, with a progress line. SIGINT stops only the writing.

    what: the result of the command, which is complete: "audio" or "voice".
    """
    done = [0, 1]

    def report(there: int, total: int) -> None:
        done[:] = there, total or 1

    def line() -> str:
        return f"the {what} is complete; keeping packed weights for the next run, {100 * done[0] // done[1]} %"

    problems: list[str] = []
    with signals.interruptible(), console.progress(line):
        for synthesizer in synthesizers:
            problems += synthesizer.finish_packing(report)
    for problem in problems:
        console.warning(problem)
