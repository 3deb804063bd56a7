"""The precision, batch size and thread count to use on this machine, chosen from measured rows.

The choice for each model is stored in `qwen3tts/bench.json` in the XDG cache folder.
"""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..common import user_folders
from ..common.machine import default_threads
from ..errors import OutputError
from ..output import files as output_files
from .host import processor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .results import Row

VERSION = 1
HEADROOM = 0.8  # the RTF below which other programs have time to run
_QUALITY = ("bf16", "int8", "int4")  # best first
_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True)
class Advice:
    """The settings to use for a model.

    rtf: the real-time factor of one stream alone. batch_rtf: the real-time factor of each stream in a batch of `batch`.
    cpu, cores: the machine that was measured. date: the day of the measurement, ISO 8601.
    """

    model: str
    precision: str
    batch: int
    threads: int
    rtf: float
    batch_rtf: float
    cpu: str
    cores: int
    date: str

    @property
    def text(self) -> str:
        """The advice in one line."""
        speed = f"RTF {self.rtf:.2f}" + (f", {self.batch_rtf:.2f} each in a batch" if self.batch > 1 else "")
        return f"{self.model}: {self.precision}, batch {self.batch}, {self.threads} threads ({speed})"


def choose(rows: Sequence[Row]) -> Advice | None:
    """Choose the settings from the measured rows; None if no row has a precision that `say` offers.

    The precision is the most exact one whose single stream is faster than real time (for bf16: below HEADROOM); if no
    precision is, the fastest one. The thread count is the one with the fastest single stream of that precision. The
    batch size is the one that makes the most audio per second.
    """
    rows = [row for row in rows if row.precision in _QUALITY]
    if not rows:
        return None
    smallest = min(row.batch for row in rows)
    alone = {}
    for row in sorted((row for row in rows if row.batch == smallest), key=lambda row: row.rtf, reverse=True):
        alone[row.precision] = row  # the fastest thread count comes last
    limits = {"bf16": HEADROOM}
    fit = [name for name in _QUALITY if name in alone and alone[name].rtf < limits.get(name, 1.0)]
    best = alone[fit[0]] if fit else min(alone.values(), key=lambda row: row.rtf)
    same = [row for row in rows if (row.precision, row.threads) == (best.precision, best.threads)]
    fastest = min(same, key=lambda row: row.rtf)
    return Advice(
        best.model, best.precision, fastest.batch, best.threads, round(best.rtf, 4), round(fastest.rtf, 4),
        processor(), default_threads(), datetime.date.today().isoformat(),
    )  # fmt: skip


def path() -> Path | None:
    """The path of the file with the advice; None if there is no cache folder."""
    folder = user_folders.cache_folder()
    return None if folder is None else folder / "bench.json"


def save(advice: Advice) -> None:
    """Save the advice for a model, in place of older advice for it. Raises OutputError."""
    by_model = {each.model: each for each in load()}
    by_model[advice.model] = advice
    file = path()
    if file is None:
        raise OutputError("the advice is not saved: neither HOME nor XDG_CACHE_HOME names a folder")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{file.parent}: {error.strerror}") from None
    rows = [asdict(each) for each in by_model.values()]
    with output_files.write_output(os.fspath(file)) as output:
        output.write(json.dumps({"version": VERSION, "advice": rows}, indent=1).encode() + b"\n")


def load() -> list[Advice]:
    """The saved advice, the latest last; an empty list if no file of this version can be read."""
    if (file_path := path()) is None:
        return []
    try:
        with open(file_path, "rb") as file:
            root = json.loads(file.read(_LIMIT_BYTES))
        if root["version"] != VERSION:
            return []
        return [Advice(**row) for row in root["advice"]]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []


def lines() -> list[str]:
    """One line for each model, for `doctor`: the advice, the day, and whether another machine was measured."""
    shown = []
    for advice in load():
        here = (processor(), default_threads())
        other = "" if (advice.cpu, advice.cores) == here else f" on {advice.cpu}, {advice.cores} cores: measure again"
        shown.append(f"{advice.text}, measured {advice.date}{other}")
    return shown or ["not measured: qwen3tts bench"]
