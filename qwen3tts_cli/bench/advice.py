"""Which precision, batch and thread count to take on this machine: from measured rows, kept in the cache folder."""

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
HEADROOM = 0.8  # an RTF that leaves time for whatever else the machine does
_QUALITY = ("bf16", "int8", "int4")  # the best first
_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True)
class Advice:
    """What to take. rtf: of one stream alone; batch_rtf: of each stream in a batch of `batch`. cpu, cores: where it was
    measured, date: when (ISO 8601, the day)."""

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
        """One line of it."""
        speed = f"RTF {self.rtf:.2f}" + (f", {self.batch_rtf:.2f} each in a batch" if self.batch > 1 else "")
        return f"{self.model}: {self.precision}, batch {self.batch}, {self.threads} threads ({speed})"


def choose(rows: Sequence[Row]) -> Advice | None:
    """The best precision that speaks faster than real time by itself: bf16 only with headroom; where none does, the
    fastest. Then the thread count that is quickest with one stream, and the batch with the most speech a second. None
    where no row is of a precision that `say` has."""
    rows = [row for row in rows if row.precision in _QUALITY]
    if not rows:
        return None
    one = min(row.batch for row in rows)
    alone = {}
    for row in sorted((row for row in rows if row.batch == one), key=lambda row: row.rtf, reverse=True):
        alone[row.precision] = row  # the fastest thread count comes last
    limits = {"bf16": HEADROOM}
    fit = [name for name in _QUALITY if name in alone and alone[name].rtf < limits.get(name, 1.0)]
    best = alone[fit[0]] if fit else min(alone.values(), key=lambda row: row.rtf)
    same = [row for row in rows if (row.precision, row.threads) == (best.precision, best.threads)]
    widest = min(same, key=lambda row: row.rtf)
    return Advice(
        best.model, best.precision, widest.batch, best.threads, round(best.rtf, 4), round(widest.rtf, 4),
        processor(), default_threads(), datetime.date.today().isoformat(),
    )  # fmt: skip


def path() -> Path | None:
    """Where the advice is kept; None where there is no cache folder."""
    folder = user_folders.cache_folder()
    return None if folder is None else folder / "bench.json"


def keep(advice: Advice) -> None:
    """Keep the advice for a model, in place of an older one. Raises OutputError."""
    kept = {found.model: found for found in load()}
    kept[advice.model] = advice
    file = path()
    if file is None:
        raise OutputError("the advice is not kept: neither HOME nor XDG_CACHE_HOME names a folder")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{file.parent}: {error.strerror}") from None
    output = output_files.open_output(os.fspath(file))
    try:
        rows = [asdict(each) for each in kept.values()]
        output.write(json.dumps({"version": VERSION, "advice": rows}, indent=1).encode() + b"\n")
        output.finish()
        output.commit()
    except BaseException:
        output.discard()
        raise


def load() -> list[Advice]:
    """What is kept, the latest last; nothing where there is none that this version can read."""
    if (kept := path()) is None:
        return []
    try:
        with open(kept, "rb") as file:
            root = json.loads(file.read(_LIMIT_BYTES))
        if root["version"] != VERSION:
            return []
        return [Advice(**row) for row in root["advice"]]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []


def lines() -> list[str]:
    """For `doctor`: the advice for each model, its day, and whether it was measured on another machine."""
    shown = []
    for advice in load():
        here = (processor(), default_threads())
        other = "" if (advice.cpu, advice.cores) == here else f" on {advice.cpu}, {advice.cores} cores: measure again"
        shown.append(f"{advice.text}, measured {advice.date}{other}")
    return shown or ["not measured: qwen3tts bench"]
