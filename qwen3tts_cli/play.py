"""Play samples on the default audio device, through the optional package `sounddevice`."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

from .errors import OutputError

if TYPE_CHECKING:
    import numpy as np

_QUEUED_CHUNKS = 256  # bounds the memory when a fast model is far ahead of the loudspeaker


def why_not() -> str | None:
    """Why nothing can be played here, as one clause; None where it can."""
    try:
        import sounddevice
    except ImportError:
        return "sounddevice is not installed: pip install 'qwen3tts-cli[play]'"
    except OSError as error:  # the package is there, the PortAudio library is not
        return f"sounddevice cannot be loaded: {error}"
    try:
        sounddevice.query_devices(kind="output")
    except (ValueError, sounddevice.PortAudioError) as error:
        return f"no audio output device: {error}"
    return None


class PlayerSink:
    """Plays (samples,) float32 in order on a thread of its own, so that the speech is made while it sounds."""

    def __init__(self, sample_rate: int) -> None:
        import sounddevice

        try:
            self._stream: Any = sounddevice.OutputStream(samplerate=sample_rate, channels=1, dtype="float32")
            self._stream.start()
        except sounddevice.PortAudioError as error:
            raise OutputError(f"audio device: {error}") from None
        self._failures = sounddevice.PortAudioError
        self._error: Exception | None = None
        self._stopped = False
        self._chunks: queue.Queue[np.ndarray | None] = queue.Queue(_QUEUED_CHUNKS)
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self) -> None:
        while (samples := self._chunks.get()) is not None:
            if self._stopped or self._error:
                continue
            try:
                self._stream.write(samples.reshape(-1, 1))
            except self._failures as error:
                self._error = error

    def write(self, samples: np.ndarray) -> None:
        """Queue samples; waits where many are queued already."""
        self._check()
        self._chunks.put(samples.copy())

    def finish(self) -> None:
        """Wait until everything has been heard."""
        self._chunks.put(None)
        self._thread.join()
        self._stream.stop()
        self._stream.close()
        self._check()

    def discard(self) -> None:
        """Be silent at once."""
        self._stopped = True
        self._stream.abort()

    def _check(self) -> None:
        if self._error:
            raise OutputError(f"audio device: {self._error}")
