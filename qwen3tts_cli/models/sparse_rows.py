"""A private copy of the requested rows of a mapped matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.memory_mapping import map_zeroed

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


class SparseRows:
    """A private copy of the requested rows of a mapped matrix; all other rows are 0. Thread-safe.

    Reading rows from the mapping itself would need more memory: if the system caches the file in huge pages, reading
    one row makes a whole huge page resident, and reading the rows of a long text makes most of the matrix resident.

    array: shape and dtype as in `source`. A row that was not copied takes up no memory.
    """

    def __init__(self, source: np.ndarray, drop_pages: Callable[[], None]) -> None:
        """source: the mapped matrix. drop_pages: frees the resident pages of `source`. Raises OSError."""
        import numpy as np

        memory = map_zeroed(max(1, source.nbytes), huge=False)
        self.array = np.frombuffer(memory, source.dtype, source.size).reshape(source.shape)
        self._source, self._drop_pages = source, drop_pages
        self._copied = np.zeros(len(source), bool)

    def read(self, rows: np.ndarray) -> None:
        """Copy rows of `source` into `array`, unless they are there already. rows: indices, integers of shape (n,)."""
        for row in {int(row) for row in rows[~self._copied[rows]]}:
            self.array[row] = self._source[row]
            self._copied[row] = True
            self._drop_pages()
