"""Plays samples on the default audio device with the optional package `sounddevice`."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any

from ..errors import OutputError

if TYPE_CHECKING:
    import numpy as np

_QUEUED_CHUNKS = 256  # limits the memory if speech is generated faster than it is played


def unavailable_reason() -> str | None:
    """The reason why audio cannot be played on this machine, as one clause; None if it can."""
    try:
        import sounddevice
    except ImportError:
        return "sounddevice is not installed: pip install 'qwen3tts-cli[play]'"
    except OSError as error:  # the package is installed, the PortAudio library is not
        return f"sounddevice cannot be loaded: {error}"
    try:
        sounddevice.query_devices(kind="output")
    except Exception as error:
        return f"no audio output device: {error}"
    return None


class PlayerSink:
    """The sink that plays samples, float32 of shape (n,), in order, on a separate thread.

    `write` and `finish` raise OutputError for an error of the device or its library.
    """

    def __init__(self, sample_rate: int) -> None:
        import sounddevice

        with contextlib.ExitStack() as stack:
            try:
                self._stream: Any = sounddevice.OutputStream(samplerate=sample_rate, channels=1, dtype="float32")
                stack.callback(self._stream.close)
                self._stream.start()
            except Exception as error:
                raise _failure(error) from None
            stack.pop_all()
        self._error: Exception | None = None
        self._stopped = False
        self._chunks: queue.Queue[np.ndarray | None] = queue.Queue(_QUEUED_CHUNKS)
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self) -> None:
        """Play chunks until the end mark None. After an error chunks are still taken, so that `write` does not wait."""
        while (samples := self._chunks.get()) is not None:
            if self._stopped or self._error:
                continue
            try:
                self._stream.write(samples.reshape(-1, 1))
            except Exception as error:
                self._error = error

    def write(self, samples: np.ndarray) -> None:
        """Queue samples, float32 of shape (n,); waits while the queue is full."""
        self._check()
        self._chunks.put(samples.copy())

    def finish(self) -> None:
        """Wait until all samples are played, and close the device."""
        self._chunks.put(None)
        self._thread.join()
        for end in (self._stream.stop, self._stream.close):
            try:
                end()
            except Exception as error:
                self._error = self._error or error
        self._check()

    def discard(self) -> None:
        """Stop playing at once; errors of the device are ignored."""
        self._stopped = True
        with contextlib.suppress(Exception):
            self._stream.abort()

    def _check(self) -> None:
        if self._error:
            raise _failure(self._error) from None


def _failure(error: Exception) -> OutputError:
    return OutputError(f"audio device: {' '.join(str(error).split()) or type(error).__name__}")
