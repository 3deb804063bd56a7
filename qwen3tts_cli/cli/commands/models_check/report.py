"""The table of `models check`, its last lines, and its JSON report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .... import __version__
from ....bench.host import processor
from ....engine.cpu import cpu_flags, kernels_text, parse_kernels_text

if TYPE_CHECKING:
    from ....check.result import Result
    from ....check.subject import Subject

_CHECK_WIDTH, _STATUS_WIDTH = 12, 15


def line(result: Result) -> str:
    """One line of the table: the check, its status, and the reason for the status."""
    return f"{result.check:{_CHECK_WIDTH}}  {result.status:{_STATUS_WIDTH}} {result.why}"


def facts(subject: Subject) -> dict[str, Any]:
    """The facts that a bug report needs besides the results: version, machine, model and digests of its files."""
    return {
        "version": __version__,
        "kernels": kernels_text(),
        "processor": processor(),
        "flags": cpu_flags(),
        "threads": subject.threads,
        "model": subject.name,
        "compared_with": subject.known,
        "sha256": dict(sorted(subject.digests.items())),
    }


def last_lines(subject: Subject) -> list[str]:
    """The result of `facts` as lines of text, with the first 16 digits of each digest."""
    found = facts(subject)
    compared = f", compared with the answers of {subject.known}" if subject.known else ""
    lines = [
        f"version     qwen3tts-cli {found['version']}",
        f"kernels     {_instruction_sets(found['kernels'])}",
        f"processor   {found['processor']}, {found['threads']} threads; {' '.join(found['flags']) or '-'}",
        f"model       {subject.name}{compared}",
    ]
    return lines + [f"sha256      {digest[:16]} {name}" for name, digest in found["sha256"].items()]


def _instruction_sets(kernels: str) -> str:
    """Shorten the text of engine.cpu.kernels_text to "isa n, isa n; build", n: the number of entries with this isa."""
    entries, build = parse_kernels_text(kernels)
    return ", ".join(f"{isa} {len(names)}" for isa, names in entries.items()) + f"; {build}"


def as_json(subject: Subject, results: list[Result], passed: bool) -> bytes:
    """The report as JSON: `facts`, whether all checks passed, and each result with its measured values."""
    checks = [{"check": r.check, "status": r.status, "why": r.why, "measured": r.measured} for r in results]
    return json.dumps({**facts(subject), "passed": passed, "checks": checks}, indent=1).encode() + b"\n"
