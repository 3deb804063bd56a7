"""The sink of the formats that libsndfile writes: FLAC, Ogg Vorbis, Ogg Opus, MP3, and WAV of other subtypes.

libsndfile writes into memory and goes back there; what it has written is passed on after each call. An output that
cannot seek gets the bytes as they come, and never what libsndfile puts into the beginning at the end: FLAC stays
without length and MD5, WAV has open sizes, MP3 has a constant bit rate, by which readers know the length all the same.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, Any

from ..errors import OutputError
from .libsndfile import load_soundfile

if TYPE_CHECKING:
    import numpy as np

    from .formats import AudioFormat

# One length for every write, as the bytes of Vorbis depend on it; a short one, as libsndfile keeps it on the C stack.
_BLOCK_SAMPLES = 1920
_CALL_BLOCKS = 8
_OPEN_SIZE = b"\xff" * 4
_SET_OGG_PAGE_LATENCY_MS = 0x1302  # SFC_SET_OGG_PAGE_LATENCY_MS of sndfile.h
_PAGE_MS = 80.0
# 64 kbit/s of the 8 to 160 that MP3 has at 24 kHz, as libsndfile counts
_CONSTANT_RATE = {"bitrate_mode": "CONSTANT", "compression_level": (160 - 64) / (160 - 8)}


class _Written:
    """A file for libsndfile, of which only what `take` has not returned yet is kept."""

    def __init__(self) -> None:
        self._taken = self._position = 0
        self._patches: list[tuple[int, bytes]] = []
        self.pending = bytearray()

    def write(self, data: bytes) -> int:
        start = self._position - self._taken
        behind = data[: max(0, -start)]
        if behind:
            self._patches.append((self._position, behind))
        start = max(0, start)
        self.pending[start : start + len(data) - len(behind)] = data[len(behind) :]
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        ends = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._taken + len(self.pending)}
        self._position = ends[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        return b""

    def take(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """What was appended, and (offset, bytes) of what was written over bytes that had been taken."""
        data, patches = bytes(self.pending), self._patches
        self._taken += len(data)
        self.pending, self._patches = bytearray(), []
        return data, patches


class EncodedSink:
    """A format that libsndfile writes, to an output as it comes.

    libsndfile is called from one thread of its own: an interrupt is raised in the main thread, and would otherwise be
    lost in a callback of libsndfile's. The output is written in the caller's thread, so that one that waits can be
    interrupted.
    """

    def __init__(self, output: Any, sample_rate: int, audio: AudioFormat, origin: int = 0) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from .ogg_pages import OggPages

        soundfile = load_soundfile(audio.container.lower())
        self._output, self._integers = output, audio.subtype == "PCM_16"
        self._written, self._rest = _Written(), None
        self._pages = OggPages(origin) if audio.container == "OGG" else None
        self._failures = (soundfile.LibsndfileError, AssertionError)
        self._thread: Any = ThreadPoolExecutor(1)
        options = {} if output.seekable or audio.container != "MP3" else _CONSTANT_RATE
        try:
            self._sound = self._call(
                soundfile.SoundFile, self._written, "w", sample_rate, 1, audio.subtype, None, audio.container, **options
            )
            if audio.subtype == "OPUS":
                self._call(_ask_for_short_pages, soundfile, self._sound)
        except BaseException:
            self._thread.shutdown()
            raise
        self._header_is_due = audio.container == "WAV" and not output.seekable

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return self._thread.submit(function, *arguments, **options).result()
        except self._failures as error:
            raise OutputError(f"{self._output.name}: libsndfile: {error}") from None

    def _encode(self, frames: np.ndarray) -> None:
        for start in range(0, len(frames), _BLOCK_SAMPLES):
            self._sound.write(frames[start : start + _BLOCK_SAMPLES])

    def _pass_on(self) -> None:
        if self._header_is_due:
            _open_sizes(self._written.pending)
            self._header_is_due = False
        data, patches = self._written.take()
        if self._pages is not None:
            data = self._pages.feed(data)
        if data:
            self._output.write(data)
        if self._output.seekable:
            for offset, patch in patches:
                self._output.patch(offset, patch)

    def write(self, samples: np.ndarray) -> None:
        """Append (samples,) float32."""
        import numpy as np

        from ..common.sample_conversion import to_pcm16

        frames = to_pcm16(samples) if self._integers else np.asarray(samples, np.float32)
        if self._rest is not None:
            frames = np.concatenate([self._rest, frames])
        whole = len(frames) // _BLOCK_SAMPLES * _BLOCK_SAMPLES
        self._rest = frames[whole:].copy()
        for start in range(0, whole, _CALL_BLOCKS * _BLOCK_SAMPLES):
            self._call(self._encode, frames[start : min(whole, start + _CALL_BLOCKS * _BLOCK_SAMPLES)])
            self._pass_on()

    def finish(self) -> None:
        """Encode what is left over, and close the encoder."""
        if self._rest is not None:
            self._call(self._encode, self._rest)
        self._call(self._sound.close)
        self._pass_on()
        if self._pages is not None and (data := self._pages.finish()):
            self._output.write(data)
        self._thread.shutdown()

    def discard(self) -> None:
        """Give up: close the encoder, whose last bytes go nowhere."""
        with contextlib.suppress(RuntimeError):  # shut down already
            self._thread.submit(self._sound.close)
        self._thread.shutdown()


def _ask_for_short_pages(soundfile: Any, sound: Any) -> None:
    """An Ogg page for each frame of speech; libsndfile's own are a second long, which nobody hears sooner."""
    with contextlib.suppress(Exception):  # the handle is private to soundfile: without it the pages are long
        milliseconds = soundfile._ffi.new("double *", _PAGE_MS)
        soundfile._snd.sf_command(sound._file, _SET_OGG_PAGE_LATENCY_MS, milliseconds, struct.calcsize("d"))


def _open_sizes(wav: bytearray) -> None:
    """Put 0xFFFFFFFF, "until the end", for the sizes in the header of a WAV file."""
    wav[4:8] = _OPEN_SIZE
    at = 12
    while (name := wav[at : at + 4]) != b"data":
        (size,) = struct.unpack_from("<I", wav, at + 4)
        if name == b"fact":  # the number of samples
            wav[at + 8 : at + 12] = _OPEN_SIZE
        at += 8 + size + size % 2
    wav[at + 4 : at + 8] = _OPEN_SIZE
