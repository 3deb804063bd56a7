"""An iterator that any thread may read, in turns, and close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from .lifetime import Lifetime

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_T = TypeVar("_T")


class Reader(Generic[_T]):
    """What a generator yields. Raises EngineError, at each `next` before its end, once it or its owner is closed.

    what: names it in errors. owner: the lifetime of what the generator reads from. Closing the owner does not wait for
    a reader, which may be waiting for what its caller gives it.
    """

    def __init__(self, what: str, generator: Generator[_T, None, None], owner: Lifetime) -> None:
        self._generator, self._owner, self._ended = generator, owner, False
        self.lifetime = Lifetime(what, generator.close, inherited=False)

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        if self._ended:
            raise StopIteration
        self._owner.check()
        with self.lifetime.alone():
            try:
                return next(self._generator)
            except StopIteration:
                self._ended = True
                raise

    def close(self) -> None:
        """Stop, once a `next` of another thread has returned, and free what it holds; see lifetime.py."""
        self.lifetime.close()
