"""Measures how the time of a run of `say` is spent; --timings shows it, and --json writes it into the report."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def process_seconds() -> float:
    """Seconds since this process began, in steps of 10 ms; if the system does not report them, its processor time."""
    try:
        with open("/proc/self/stat", encoding="ascii") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.process_time()


class Timings:
    """The seconds of each stage, and a clock that began with the process. stages: maps a key of STAGES to seconds."""

    def __init__(self) -> None:
        started = process_seconds()
        self._began = time.perf_counter() - started
        self.stages: Counter[str] = Counter(start=started)
        self.first_audio: float | None = None  # seconds since the process began

    @property
    def total(self) -> float:
        """Seconds since the process began."""
        return time.perf_counter() - self._began

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] += time.perf_counter() - begin

    def note_first_audio(self) -> None:
        """Record the time of the first samples; later calls do nothing."""
        if self.first_audio is None:
            self.first_audio = self.total

    def facts(self, speaking: Mapping[str, float]) -> dict[str, float | None]:
        """Milliseconds of each stage, of the run so far, and until the first audio; the keys end in `_ms`.

        speaking: the seconds of the stages of a speech, as Speech.timings.
        """
        from ...speech.facts import timing_facts  # here, because `say --server` imports no module of speech before

        return timing_facts(self.stages + Counter(speaking), self.total, self.first_audio)

    def table(self, speaking: Mapping[str, float], seconds: float) -> str:
        """Lines of text: time and share of each stage that took time, the total, and the time to the first audio.

        speaking: see `facts`. seconds: the length of the audio.
        """
        from ...speech.facts import STAGES

        facts = self.facts(speaking)
        total = facts["total_ms"]
        lines = [
            f"{label:<16}{facts[f'{name}_ms']:>10.1f} ms {100 * facts[f'{name}_ms'] / total:>5.1f} %"
            for name, label in STAGES.items()
            if facts[f"{name}_ms"]
        ]
        rtf = f"   {total / 1000 / seconds:.3f} of the audio's length" if seconds else ""
        lines.append(f"{'total':<16}{total:>10.1f} ms{rtf}")
        if self.first_audio is not None:
            lines.append(f"{'first audio':<16}{facts['first_audio_ms']:>10.1f} ms   after the process began")
        return "\n".join(lines)
