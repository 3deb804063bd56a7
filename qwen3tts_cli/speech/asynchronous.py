"""Speak in an asyncio event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from contextlib import suppress
from typing import TYPE_CHECKING

from .incoming import POLL_SECONDS, Flush

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    import numpy as np

    from .incoming import IncomingSpeech
    from .speak_options import SpeakOptions
    from .stream import Speech
    from .synthesizer import Synthesizer


# The event loop waits while a piece of text is taken in; so many characters take some milliseconds.
_PIECE_CHARACTERS = 64


class AsyncSpeech:
    """An async iterator of the samples of a text: float32 arrays of shape (n,) at 24 kHz. Synthesizer.astream returns
    one. One task may iterate.

    speech: the Speech with its counters, None before the first iteration. A task that is cancelled, or an iteration
    that is left and closed, cancels the speech. Raises as Speech does.
    """

    def __init__(
        self, synthesizer: Synthesizer, text: str | Iterable[str] | AsyncIterable[str], options: SpeakOptions
    ) -> None:
        self._synthesizer, self._text, self._options = synthesizer, text, options
        self.speech: Speech | None = None
        self._cancelled = False
        self._chunks = self._iterate()

    def __aiter__(self) -> AsyncSpeech:
        return self

    async def __anext__(self) -> np.ndarray:
        return await self._chunks.__anext__()

    async def aclose(self) -> None:
        """Stop the speech."""
        await self._chunks.aclose()

    def cancel(self) -> None:
        """Stop the speech without waiting, from any thread; the iteration raises EngineError then."""
        self._cancelled = True
        if self.speech is not None:
            self.speech.cancel()

    async def _iterate(self) -> AsyncIterator[np.ndarray]:
        given: asyncio.Task[None] | None = None
        # on a thread, because it reads files and may clone a voice
        if isinstance(self._text, AsyncIterable):
            speech, incoming = await asyncio.to_thread(self._synthesizer.speak_incoming, self._options)
            given = asyncio.create_task(_give(self._text, self._options.idle_ms / 1000, incoming))
        else:
            speech = await asyncio.to_thread(self._synthesizer.speak, self._text, self._options)
        self.speech = speech
        if self._cancelled:
            speech.cancel()
        try:
            async for pcm in speech:
                yield pcm
        finally:
            speech.cancel()
            if given is not None:
                given.cancel()
                with suppress(asyncio.CancelledError):
                    await given


async def _give(texts: AsyncIterable[str | type[Flush]], idle_seconds: float, speech: IncomingSpeech) -> None:
    """Give all texts to `speech`."""
    iterator = aiter(texts)
    following: asyncio.Future[str | type[Flush]] | None = None
    came = False
    try:
        while True:
            following = following or asyncio.ensure_future(anext(iterator))  # type: ignore[arg-type]
            done, _ = await asyncio.wait({following}, timeout=idle_seconds if came and idle_seconds else None)
            came = bool(done)
            if not done:
                speech.idle()
                continue
            try:
                text = following.result()
            except StopAsyncIteration:
                break
            finally:
                following = None
            if text is Flush:
                speech.flush()
            else:
                await _feed(text, speech)
        speech.finish()
    except Exception as error:
        speech.fail(error)
    finally:
        if following is not None:
            following.cancel()


async def _feed(text: str, speech: IncomingSpeech) -> None:
    """Give one text to `speech`, in pieces between which other tasks run."""
    pieces = [text]
    if isinstance(text, str):
        pieces = [text[start : start + _PIECE_CHARACTERS] for start in range(0, len(text), _PIECE_CHARACTERS)]
    for piece in pieces:
        while speech.is_full:
            await asyncio.sleep(POLL_SECONDS)
        speech.feed(piece)
        await asyncio.sleep(0)
