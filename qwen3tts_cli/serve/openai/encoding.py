"""Runs encoders beside the event loop, on a few threads that all requests share."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ...common.machine import default_threads
from ...errors import OutputError, Qwen3TTSError
from .encoders import StreamEncoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Future

    import numpy as np


class EncoderError(Qwen3TTSError, RuntimeError):
    """An encoder has failed, or is not there."""


class Encoders:
    """Makes the encoders of a server.

    >>> async with encoders.open("mp3", 24000, origin) as encoder:
    ...     data = await encoder.feed(samples)
    ...     data += await encoder.finish()
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(default_threads(), "qwen3tts encode")

    @asynccontextmanager
    async def open(self, response_format: str, sample_rate: int, origin: int) -> AsyncIterator[Encoder]:
        """An encoder for the arguments of StreamEncoder, released at the end of the block. Raises EncoderError."""
        encoder = Encoder(self._threads)
        try:
            await encoder.begin(response_format, sample_rate, origin)
            yield encoder
        finally:
            encoder.release()


class Encoder:
    """A StreamEncoder for an event loop. Cancelling a task that waits for it leaves it usable for `release` alone."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._encoder: StreamEncoder | None = None
        self._running: Future[bytes] | None = None  # the last call on a thread

    async def begin(self, response_format: str, sample_rate: int, origin: int) -> None:
        """Make the encoder; ffmpeg is a process, which takes time to start."""

        def make() -> bytes:
            self._encoder = StreamEncoder(response_format, sample_rate, origin)
            return b""

        await self._call(make, response_format == "aac")

    async def feed(self, samples: np.ndarray) -> bytes:
        """Encode samples, float32 of shape (n,). Returns the bytes that are complete, possibly none."""
        encoder = self._encoder
        assert encoder is not None
        return await self._call(lambda: encoder.feed(samples), encoder.is_slow)

    async def finish(self) -> bytes:
        """End the audio. Returns the remaining bytes."""
        encoder = self._encoder
        assert encoder is not None
        return await self._call(encoder.finish, encoder.is_slow)

    async def _call(self, function: Callable[[], bytes], elsewhere: bool) -> bytes:
        try:
            if not elsewhere:
                return function()
            self._running = self._threads.submit(function)
            return await asyncio.wrap_future(self._running)
        except OutputError as error:  # here there is no output that could be full or read-only
            raise EncoderError(str(error)) from None

    def release(self) -> None:
        """Release the encoder, after the call that may still run on a thread. Never waits."""
        if self._encoder is not None:
            self._encoder.stop()
        if self._running is None:
            self._discard()
        elif self._running.done():
            self._threads.submit(self._discard)
        else:
            self._running.add_done_callback(lambda _: self._discard())

    def _discard(self) -> None:
        if self._encoder is not None:
            self._encoder.discard()
