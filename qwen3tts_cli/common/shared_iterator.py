"""An iterator that several threads may read in turns, and that any thread may close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from .lifetime import Lifetime

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_T = TypeVar("_T")


class SharedIterator(Generic[_T]):
    """Iterates over the items of a generator. `next` raises EngineError once this object or its owner is closed, unless
    the generator has ended before.

    what: names this object in errors. owner: the lifetime of the object that the generator reads from. Closing the
    owner does not wait for a thread inside `next`, because that thread may itself wait for input from its caller.
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
        """Close the generator, after a `next` in another thread has returned. See common/lifetime.py."""
        self.lifetime.close()
