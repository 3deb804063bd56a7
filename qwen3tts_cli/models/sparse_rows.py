"""A copy of those rows of a mapped matrix that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.memory_mapping import zeroed

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


class SparseRows:
    """The rows of a mapped matrix that somebody asked for, in memory of their own.

    A mapping alone would cost more: where the system keeps a file in huge pages, a row that is looked at brings 2 MB
    into the process, and a long text most of an embedding. array: as `source`; the rows that were not asked for are 0.
    """

    def __init__(self, source: np.ndarray, forget: Callable[[], None]) -> None:
        """forget: gives back the memory of what was read of `source`. Raises OSError."""
        import numpy as np

        memory = zeroed(max(1, source.nbytes), huge=False)
        self.array = np.frombuffer(memory, source.dtype, source.size).reshape(source.shape)
        self._source, self._forget = source, forget
        self._there = np.zeros(len(source), bool)

    def read(self, rows: np.ndarray) -> None:
        """See to it that these rows are there. Any number of threads may do so at once."""
        for row in {int(row) for row in rows[~self._there[rows]]}:
            self.array[row] = self._source[row]
            self._there[row] = True
            self._forget()
