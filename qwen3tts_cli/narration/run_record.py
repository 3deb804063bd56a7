"""What a run writes down before the first segment is spoken: in its folder of segments, and for shards of a batch."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..common.atomic_write import write_whole
from ..errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .segment_store import SegmentStore
    from .segments import Segment, SpokenChapter

SHARED_SEED_NAME = ".segments.seed"
_SEED = re.compile(rb"(0|[1-9][0-9]{0,19})\n")
_MAX_SEED_BYTES = 32
_RESERVED_SECONDS = 10  # how long the file may be empty, where the file system has no links
_POLL_SECONDS = 0.05


def draw_seed() -> int:
    """A new seed."""
    return int.from_bytes(os.urandom(8), "little")


def shared_seed(folder: Path) -> int:
    """The seed that all shards of an output folder share, also those on other machines and at other times: the first
    one draws it and records it there. Raises UsageError if the record is damaged, OutputError."""
    path = folder / SHARED_SEED_NAME
    if (seed := recorded_seed(folder)) is None:
        try:
            with suppress(FileExistsError):  # another shard was first
                write_whole(path, b"%d\n" % draw_seed(), new=True)
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from None
        seed = recorded_seed(folder)
    if seed is None:
        raise OutputError(f"{path}: was removed while it was in use")
    return seed


def recorded_seed(folder: Path) -> int | None:
    """The seed that `shared_seed` has recorded in an output folder, or None. Raises as that does."""
    path, until = folder / SHARED_SEED_NAME, time.monotonic() + _RESERVED_SECONDS
    while True:
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_SEED_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({error.strerror or error})") from None
        if (found := _SEED.fullmatch(data)) and (seed := int(found[1])) < 1 << 64:
            return seed
        if data or time.monotonic() > until:
            raise UsageError(f"{path}: is damaged, expected a seed; delete it to draw another one")
        time.sleep(_POLL_SECONDS)


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
            seed = draw_seed()
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
