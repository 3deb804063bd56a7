"""What a run writes down in the folder of segments before the first segment is spoken."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .segment_store import SegmentStore
    from .segments import Segment, SpokenChapter


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

    # ---------------------------------------------------------------- new seeds
    def redone(self) -> dict[str, int]:
        """How often each segment was to be spoken with a new seed, by the key that `redo` got."""
        found = self.facts.get("redone")
        items = found.items() if isinstance(found, dict) else ()
        return {key: count for key, count in items if isinstance(count, int)}

    def redo(self, *keys: str) -> None:
        """Record that segments are to be spoken with a new seed.

        A run that was interrupted goes on with the seed that it had: until `finish` each key counts once.
        """
        redone, pending = self.redone(), self._pending()
        new = [key for key in keys if key not in pending]
        if new:
            redone.update({key: redone.get(key, 0) + 1 for key in new})
            self.save(redone=redone, redoing=[*pending, *new])

    def finish(self) -> None:
        """Record that the run has ended: `redo` of the same segment is a further seed from now on."""
        if self._pending():
            self.save(redoing=[])

    def _pending(self) -> list[str]:
        found = self.facts.get("redoing")
        return [key for key in found if isinstance(key, str)] if isinstance(found, list) else []

    def with_redone(self, chapters: list[SpokenChapter], redo: tuple[str, ...]) -> list[SpokenChapter]:
        """The chapters with the segments that were to be spoken with a new seed, now and in earlier runs.

        redo: the names of segments that are to be spoken with a new seed now. Raises UsageError for an unknown one.
        """
        keyed = list(_with_keys(chapters))
        if redo:
            often = Counter(segment.base for segment, _ in keyed)
            keys = {each.name: each.base if often[each.base] == 1 else key for each, key in keyed}
            for name in redo:
                if name not in keys:
                    raise UsageError(f"redo: there is no segment {name}")
            self.redo(*dict.fromkeys(keys[name] for name in redo))
        redone = self.redone()
        if not redone:
            return chapters
        counts = iter([redone.get(key, redone.get(segment.base, 0)) for segment, key in keyed])
        return [
            replace(chapter, segments=[replace(each, redone=next(counts)) for each in chapter.segments])
            for chapter in chapters
        ]


def _with_keys(chapters: list[SpokenChapter]) -> Iterator[tuple[Segment, str]]:
    """Each segment with a key of its own, also where others are spoken from the same text with the same draws."""
    for chapter in chapters:
        seen: Counter[str] = Counter()
        for segment in chapter.segments:
            yield segment, f"{segment.base}.{chapter.number}.{seen[segment.base]}"
            seen[segment.base] += 1
