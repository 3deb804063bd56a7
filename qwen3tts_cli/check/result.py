"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"


@dataclass(frozen=True)
class Result:
    """One line of the table. check: its name. status: PASSED, FAILED or NOT_APPLICABLE. why: one line of text.
    measured: what was measured, JSON values by name."""

    check: str
    status: str
    why: str
    measured: dict[str, Any] = field(default_factory=dict)


def judged(check: str, problems: list[str], good: str, measured: dict[str, Any] | None = None) -> Result:
    """FAILED with the first problem and the number of the others, or PASSED with the text `good`."""
    if not problems:
        return Result(check, PASSED, good, measured or {})
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Result(check, FAILED, problems[0] + more, {**(measured or {}), "problems": problems})
