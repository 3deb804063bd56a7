"""Shows how far a narration is: a line on a terminal, a line a minute elsewhere, or JSON for programs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ...narration.segment_run import Progress
    from ..console import Console

_LINE_SECONDS = 60
_WIDTH = 24


class Reporter:
    """A context manager; `show` takes each Progress. as_json: whether to write a line of JSON for each."""

    def __init__(self, console: Console, as_json: bool) -> None:
        self._console, self._as_json = console, as_json
        self._began = self._last = time.monotonic()
        self._latest: Progress | None = None
        self._line = console.progress(self._text) if not as_json else None

    def __enter__(self) -> Reporter:
        if self._line is not None:
            self._line.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._line is not None:
            self._line.__exit__(*error)

    def show(self, progress: Progress) -> None:
        """Take the next progress."""
        self._latest = progress
        if self._as_json:
            facts = {**asdict(progress), "elapsed": round(time.monotonic() - self._began, 3)}
            click.echo(json.dumps(facts), err=True)
        elif not self._console.is_terminal and time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            self._console.note(self._text())

    def _text(self) -> str:
        p = self._latest
        if p is None:
            return "reading the text"
        if p.stage == "writing":
            return "writing the files"
        share = p.segments / p.all_segments if p.all_segments else 0.0
        bar = "#" * int(share * _WIDTH)
        elapsed = time.monotonic() - self._began
        speed = p.spoken / elapsed if elapsed > 0 else 0.0
        left = (p.all_seconds - p.seconds) / speed if speed else None
        end = f", {_clock(left)} left" if left is not None else ""
        return (
            f"[{bar:<{_WIDTH}}] {p.segments}/{p.all_segments} segments, {_clock(p.seconds)} of about "
            f"{_clock(p.all_seconds)}, {speed:.1f} times real time{end}"
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
