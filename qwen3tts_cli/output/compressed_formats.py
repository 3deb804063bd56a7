"""The sink of the formats that libsndfile writes: FLAC, Ogg Vorbis, Ogg Opus, MP3, WAV and raw audio of other subtypes.

libsndfile writes into memory; after each call the new bytes go to the output. At the end libsndfile overwrites fields
of the header, which only a seekable output allows. In any other output, FLAC has no length and no MD5, WAV has sizes of
0xFFFFFFFF, and MP3 has a constant bit rate, from which readers compute the length.
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
    from .tagging import Tags

# The bytes of Vorbis depend on the number of samples of each write, so each write has this many. libsndfile copies them
# to the C stack, so a write must not be large.
_BLOCK_SAMPLES = 1920
_CALL_BLOCKS = 8
_UNKNOWN_SIZE = b"\xff" * 4
_SET_OGG_PAGE_LATENCY_MS = 0x1302  # SFC_SET_OGG_PAGE_LATENCY_MS of sndfile.h
_PAGE_MS = 80.0
# Subtypes that get 16-bit samples: they have no more than that, and samples beyond full scale are clipped before.
_FROM_INTEGERS = ("PCM_16", "ULAW", "ALAW")
_TAGGED = ("FLAC", "OGG", "WAV")  # in MP3 libsndfile spoils every letter outside ASCII
# The constant bit rate of MP3 up to a sample rate, and the lowest and highest bit rate that MP3 has there, in kbit/s.
_BIT_RATES = ((12_000, 32, 8, 64), (24_000, 64, 8, 160), (48_000, 96, 32, 320))


class _MemoryFile:
    """A writable file object for libsndfile, which holds only the bytes that `take` has not returned yet."""

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
        """Return (bytes appended since the last call, [(offset, new bytes) for bytes that were taken before])."""
        data, patches = bytes(self.pending), self._patches
        self._taken += len(data)
        self.pending, self._patches = bytearray(), []
        return data, patches


class _CallersThread:
    """Calls functions at once, with the methods of an executor that EncodedSink uses."""

    def submit(self, function: Any, *arguments: Any, **options: Any) -> Any:
        from concurrent.futures import Future

        future: Any = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self) -> None:
        """Does nothing: there is no thread."""


class EncodedSink:
    """The sink of a format that libsndfile writes. output: an output of files.py. origin, tags: see formats.open_sink.

    libsndfile runs on a separate thread: Python raises KeyboardInterrupt in the main thread, where a callback of
    libsndfile would drop it. The output is written in the caller's thread, so that an interrupt ends a blocked write.
    own_thread: False for a caller that is never the main thread: libsndfile then runs in the caller's thread.
    """

    takes_pcm16 = False

    def __init__(
        self,
        output: Any,
        sample_rate: int,
        audio: AudioFormat,
        origin: int = 0,
        tags: Tags | None = None,
        own_thread: bool = True,
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from .ogg_pages import OggPages

        soundfile = load_soundfile(audio.container.lower())
        self._output, self._integers = output, audio.subtype in _FROM_INTEGERS
        self._written, self._rest = _MemoryFile(), None
        self._pages = OggPages(origin) if audio.container == "OGG" else None
        self._failures = (soundfile.LibsndfileError, AssertionError)
        self._thread: Any = ThreadPoolExecutor(1) if own_thread else _CallersThread()
        options = {} if output.seekable or audio.container != "MP3" else _constant_bit_rate(sample_rate)
        try:
            self._sound = self._call(
                soundfile.SoundFile, self._written, "w", sample_rate, 1, audio.subtype, None, audio.container, **options
            )
            if audio.subtype == "OPUS":
                self._call(_shorten_pages, soundfile, self._sound)
            if tags is not None and audio.container in _TAGGED:
                self._call(_set_tags, self._sound, tags)
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
            _set_unknown_sizes(self._written.pending)
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
        """Append samples, float32 of shape (n,)."""
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
        """Encode the remaining samples, and close the encoder."""
        if self._rest is not None:
            self._call(self._encode, self._rest)
        self._call(self._sound.close)
        self._pass_on()
        if self._pages is not None and (data := self._pages.finish()):
            self._output.write(data)
        self._thread.shutdown()

    def discard(self) -> None:
        """Close the encoder and drop its last bytes."""
        with contextlib.suppress(RuntimeError):  # already shut down
            self._thread.submit(self._sound.close)
        self._thread.shutdown()


def xing_frame_bytes(sample_rate: int) -> int:
    """The length of the first frame of an MP3 stream of constant bit rate: LAME's empty Xing frame, without audio."""
    _, wanted, _, _ = next(row for row in _BIT_RATES if sample_rate <= row[0])
    return (144 if sample_rate >= 32_000 else 72) * 1000 * wanted // sample_rate


def _constant_bit_rate(sample_rate: int) -> dict[str, Any]:
    """Options of soundfile. libsndfile maps the bit rates of MP3 to compression levels, the highest rate to 0."""
    _, wanted, lowest, highest = next(row for row in _BIT_RATES if sample_rate <= row[0])
    return {"bitrate_mode": "CONSTANT", "compression_level": (highest - wanted) / (highest - lowest)}


def _set_tags(sound: Any, tags: Tags) -> None:
    """Set the tags that libsndfile knows; the language is none of them."""
    track = "" if tags.track is None else str(tags.track)
    texts = {"title": tags.title, "artist": tags.author, "album": tags.album, "tracknumber": track}
    for name, text in texts.items():
        if text:
            setattr(sound, name, text)


def _shorten_pages(soundfile: Any, sound: Any) -> None:
    """Make libsndfile write an Ogg page for each 80 ms of audio; its default, 1 s, would delay a stream by 1 s."""
    with contextlib.suppress(Exception):  # the handle is private to soundfile; without it pages stay long
        milliseconds = soundfile._ffi.new("double *", _PAGE_MS)
        soundfile._snd.sf_command(sound._file, _SET_OGG_PAGE_LATENCY_MS, milliseconds, struct.calcsize("d"))


def _set_unknown_sizes(wav: bytearray) -> None:
    """Set the sizes in the header of a WAV file to 0xFFFFFFFF: the audio lasts until the end of the file."""
    wav[4:8] = _UNKNOWN_SIZE
    at = 12
    while (name := wav[at : at + 4]) != b"data":
        (size,) = struct.unpack_from("<I", wav, at + 4)
        if name == b"fact":  # the number of samples
            wav[at + 8 : at + 12] = _UNKNOWN_SIZE
        at += 8 + size + size % 2
    wav[at + 4 : at + 8] = _UNKNOWN_SIZE
