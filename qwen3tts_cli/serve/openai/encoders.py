"""The response formats of `/v1/audio/speech`: their content types, and encoders that return bytes as samples come.

The bytes are those of `say --stream` on a pipe, except that MP3 begins without the empty Xing frame, so that the bodies
of several requests can be joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...common.audio_constants import RATES
from ...output.compressed_formats import EncodedSink, xing_frame_bytes
from ...output.formats import EXTENSIONS, AudioFormat, open_sink
from .aac import AacEncoder

if TYPE_CHECKING:
    import numpy as np

FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
_CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
}
_RATES_OF_OPUS = (8_000, 16_000, 24_000, 48_000)


def content_type(response_format: str, sample_rate: int) -> str:
    """The media type of a body in a format of FORMATS."""
    return _CONTENT_TYPES.get(response_format) or f"audio/pcm;rate={sample_rate};channels=1"


def sample_rates(response_format: str) -> tuple[int, ...]:
    """The sample rates in Hz that a format has."""
    return _RATES_OF_OPUS if response_format == "opus" else RATES


class StreamEncoder:
    """Encodes mono samples in a format of FORMATS. The bytes of all calls, in order, are the body.

    sample_rate: one of `sample_rates`. origin: see formats.origin_of. Any thread may call a method, one at a time;
    only `stop` may be called beside another one.
    Attribute `is_slow`: whether a call computes for long or may wait, so that an event loop must not make it.
    Every method raises OutputError if the encoder fails or is missing.
    """

    def __init__(self, response_format: str, sample_rate: int, origin: int) -> None:
        self.is_slow = response_format not in ("pcm", "wav")
        self._skip = xing_frame_bytes(sample_rate) if response_format == "mp3" else 0
        self._bytes = _Collected(f"response_format {response_format}")
        self._sink: Any
        if response_format == "aac":
            self._sink = AacEncoder(self._bytes, sample_rate)
        elif response_format == "pcm":
            self._sink = open_sink(self._bytes, AudioFormat("RAW", "PCM_16"), sample_rate)
        elif response_format == "wav":
            self._sink = open_sink(self._bytes, AudioFormat("WAV", "PCM_16"), sample_rate)
        else:
            container, subtype, _ = EXTENSIONS[response_format]
            audio = AudioFormat(container, subtype)
            self._sink = EncodedSink(self._bytes, sample_rate, audio, origin, own_thread=False)

    def feed(self, samples: np.ndarray) -> bytes:
        """Encode samples, float32 of shape (n,). Returns the bytes that are complete, possibly none."""
        self._sink.write(samples)
        return self._take()

    def finish(self) -> bytes:
        """End the audio. Returns the remaining bytes."""
        self._sink.finish()
        return self._take()

    def stop(self) -> None:
        """Let a call that waits for another program end soon, with OutputError. Never waits."""
        if isinstance(self._sink, AacEncoder):
            self._sink.stop()

    def discard(self) -> None:
        """Release the encoder at any time, also after `finish`."""
        self._sink.discard()

    def _take(self) -> bytes:
        data = self._bytes.take()
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        return data[skipped:]


class _Collected:
    """An output, as output/files.py describes it, whose bytes are taken out of memory as they come."""

    seekable = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._parts.append(data)

    def take(self) -> bytes:
        """The bytes since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data
