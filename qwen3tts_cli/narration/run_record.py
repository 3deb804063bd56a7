"""What a run writes down in the folder of segments before the first segment is spoken."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from .segment_store import SegmentStore
    from .segments import SpokenChapter


class RunRecord:
    """See the module. facts: what is recorded, by name."""

    def __init__(self, store: SegmentStore) -> None:
        self._store = store
        self.facts: dict[str, Any] = store.read_run() or {}

    def seed(self, given: int | None) -> int:
        """The seed: the one given, else that of an earlier run, else a new one, which is recorded."""
        if given is not None:
            return given
        if not isinstance(seed := self.facts.get("seed"), int):
            seed = int.from_bytes(os.urandom(8), "little")
            self.save(seed=seed)
        return seed

    def save(self, **facts: Any) -> None:
        """Record facts, beside those that are there."""
        self.facts.update(facts)
        self._store.write_run(self.facts)

    def with_redone(self, chapters: list[SpokenChapter], redo: tuple[str, ...]) -> list[SpokenChapter]:
        """The chapters with the segments that were to be spoken with a new seed, now and in earlier runs.

        redo: the names of segments that are to be spoken with a new seed now. Raises UsageError for an unknown one.
        """
        redone = dict(self.facts.get("redone", {}))
        if redo:
            bases = {segment.name: segment.base for chapter in chapters for segment in chapter.segments}
            for name in redo:
                if name not in bases:
                    raise UsageError(f"redo: there is no segment {name}")
                redone[bases[name]] = redone.get(bases[name], 0) + 1
            self.save(redone=redone)
        return [
            replace(chapter, segments=[replace(each, redone=redone.get(each.base, 0)) for each in chapter.segments])
            for chapter in chapters
        ]
