"""Float samples to the bytes of an audio format, written as they come.

A sink has `write(samples)` for (samples,) float32, `finish()` when all is written, and `discard()`. It does not open,
name or keep its output: see outputs.py. WAV in PCM_16, FLOAT and DOUBLE is written here, because the bytes must not
depend on the clock (libsndfile puts the time into its PEAK chunk) nor need an output that can seek; libsndfile writes
the rest.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import OutputError, UsageError

if TYPE_CHECKING:
    import numpy as np

_UNKNOWN_SIZE = 0xFFFFFFFF  # what players take as "until the end"
_BLOCK_SAMPLES = 16384  # libsndfile's Vorbis encoder keeps a whole write on the C stack
_COPY_BYTES = 1 << 20

# Extension -> container and subtype of its own (None: every subtype the container has).
_EXTENSIONS = {
    "wav": ("WAV", "PCM_16", None),
    "flac": ("FLAC", "PCM_16", None),
    "ogg": ("OGG", "VORBIS", None),
    "opus": ("OGG", "OPUS", ("OPUS",)),
    "mp3": ("MP3", "MPEG_LAYER_III", None),
}
_OWN_WAV = {"PCM_16": (1, 2), "FLOAT": (3, 4), "DOUBLE": (3, 8)}  # format tag, bytes a sample


@dataclass(frozen=True)
class AudioFormat:
    """A container (`RAW`, or libsndfile's name) and a subtype, both known to be writable."""

    container: str
    subtype: str

    @property
    def streams(self) -> bool:
        """Whether it can be written to an output that cannot seek, as it is made."""
        return self.container == "RAW" or (self.container == "WAV" and self.subtype in _OWN_WAV)


def choose_format(path: str | None, subtype: str | None, raw: bool, sample_rate: int) -> AudioFormat:
    """The format for an output: from the extension of `path`, WAV where there is no path. Raises UsageError."""
    subtype = subtype.upper().replace("-", "_") if subtype else None
    if raw:
        if subtype not in (None, "PCM_16"):
            raise UsageError(f"--subtype {subtype}: raw audio is PCM_16, leave one of --raw and --subtype out")
        return AudioFormat("RAW", "PCM_16")
    extension = "wav" if path is None else os.path.splitext(path)[1][1:].lower()
    if extension not in _EXTENSIONS:
        found = f"unknown extension .{extension}" if extension else "no extension"
        known = ", ".join(f".{name}" for name in _EXTENSIONS)
        raise UsageError(f"{path}: {found}, known are {known} (or --raw for any name)")
    container, own, allowed = _EXTENSIONS[extension]
    if subtype is None:
        subtype = own
    if not (container == "WAV" and subtype in _OWN_WAV):
        _check_subtype(extension, container, subtype, allowed, sample_rate)
    return AudioFormat(container, subtype)


def _soundfile(extension: str) -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise OutputError(f".{extension} needs libsndfile, which cannot be loaded ({error}); .wav does not") from None
    return soundfile


def _check_subtype(extension: str, container: str, subtype: str, allowed: Any, sample_rate: int) -> None:
    soundfile = _soundfile(extension)
    if container not in soundfile.available_formats():
        version = soundfile.__libsndfile_version__
        raise UsageError(f".{extension}: this libsndfile ({version}) cannot write {container}")
    known = allowed or tuple(soundfile.available_subtypes(container))
    if subtype not in known or not _writable(soundfile, container, subtype, sample_rate):
        valid = [name for name in known if _writable(soundfile, container, name, sample_rate)]
        raise UsageError(f"--subtype {subtype}: not available for .{extension}, which has {', '.join(valid)}")


def _writable(soundfile: Any, container: str, subtype: str, sample_rate: int) -> bool:
    import io

    if not soundfile.check_format(container, subtype):
        return False
    try:
        soundfile.SoundFile(io.BytesIO(), "w", sample_rate, 1, subtype, format=container).close()
    except (RuntimeError, ValueError):
        return False
    return True


def open_sink(output: Any, audio: AudioFormat, sample_rate: int) -> RawSink | WavSink | EncodedSink:
    """A sink that writes mono audio of a format to an output."""
    if audio.container == "RAW":
        return RawSink(output)
    if audio.streams:
        return WavSink(output, sample_rate, audio.subtype)
    return EncodedSink(output, sample_rate, audio)


class RawSink:
    """Headerless little-endian 16-bit PCM."""

    def __init__(self, output: Any) -> None:
        self._output = output

    def write(self, samples: np.ndarray) -> None:
        """Append (samples,) float32."""
        from .pcm import to_pcm16

        self._output.write(to_pcm16(samples).tobytes())

    def finish(self) -> None:
        """Nothing is pending."""

    def discard(self) -> None:
        """Nothing is held."""


class WavSink:
    """WAV: the header goes out with the first samples, its sizes are put in at the end where the output can seek.

    Elsewhere, and beyond the 4 GiB that the header can express, the sizes stay 0xFFFFFFFF.
    """

    def __init__(self, output: Any, sample_rate: int, subtype: str) -> None:
        self._output, self._rate, self._subtype = output, sample_rate, subtype
        self._data_bytes = 0
        self._begun = False

    def _header(self, data_bytes: int | None) -> bytes:
        tag, width = _OWN_WAV[self._subtype]
        form = struct.pack("<HHIIHH", tag, 1, self._rate, self._rate * width, width, 8 * width)
        if tag == 1:
            chunks = b"fmt " + struct.pack("<I", len(form)) + form
        else:  # a format other than PCM has an extension size and a chunk that counts the frames
            frames = _UNKNOWN_SIZE if data_bytes is None else data_bytes // width
            form += struct.pack("<H", 0)
            chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"fact" + struct.pack("<II", 4, frames)
        riff_bytes = _UNKNOWN_SIZE if data_bytes is None else 4 + len(chunks) + 8 + data_bytes
        data_size = _UNKNOWN_SIZE if data_bytes is None else data_bytes
        return b"RIFF" + struct.pack("<I", riff_bytes) + b"WAVE" + chunks + b"data" + struct.pack("<I", data_size)

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return self._header(None)

    def write(self, samples: np.ndarray) -> None:
        """Append (samples,) float32."""
        import numpy as np

        from .pcm import to_pcm16

        if self._subtype == "PCM_16":
            data = to_pcm16(samples).tobytes()
        else:
            data = np.asarray(samples, "<f4" if self._subtype == "FLOAT" else "<f8").tobytes()
        self._output.write(self._begin() + data)
        self._data_bytes += len(data)

    def finish(self) -> None:
        """Write a header that is still due, and the sizes."""
        header = self._begin()
        if header:
            self._output.write(header)
        whole = len(self._header(0)) + self._data_bytes
        if self._output.seekable and whole - 8 < _UNKNOWN_SIZE:
            self._output.patch(0, self._header(self._data_bytes))

    def discard(self) -> None:
        """Nothing is held."""


class _KeepsErrors:
    """A binary file for libsndfile's callbacks, which no exception can cross: the first one is kept instead."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class EncodedSink:
    """A format that libsndfile writes. To an output that cannot seek it goes by way of an unnamed temporary file.

    libsndfile is called from one thread of its own: an interrupt is raised in the main thread, and would otherwise be
    lost in a callback of libsndfile's.
    """

    def __init__(self, output: Any, sample_rate: int, audio: AudioFormat) -> None:
        import tempfile
        from concurrent.futures import ThreadPoolExecutor

        soundfile = _soundfile(audio.container.lower())
        self._output, self._integers = output, audio.subtype == "PCM_16"
        try:
            self._spool = None if output.file else tempfile.TemporaryFile()  # noqa: SIM115
        except OSError as error:
            raise OutputError(f"temporary file in {tempfile.gettempdir()}: {error.strerror}") from None
        self._file = _KeepsErrors(output.file or self._spool)
        self._failures = (soundfile.LibsndfileError, AssertionError)
        self._thread, self._released = ThreadPoolExecutor(1), False
        self._sound = self._call(
            lambda: soundfile.SoundFile(
                self._file, "w", sample_rate, 1, audio.subtype, format=audio.container, closefd=False
            )
        )

    def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            result = self._thread.submit(function, *arguments).result()
        except self._failures as error:
            self._check()
            raise OutputError(f"{self._output.name}: libsndfile: {error}") from None
        self._check()
        return result

    def _check(self) -> None:
        if self._file.error is not None:
            raise OutputError(f"{self._output.name}: {self._file.error.strerror}") from None

    def write(self, samples: np.ndarray) -> None:
        """Append (samples,) float32."""
        from .pcm import to_pcm16

        frames = to_pcm16(samples) if self._integers else samples
        for start in range(0, len(frames), _BLOCK_SAMPLES):
            self._call(self._sound.write, frames[start : start + _BLOCK_SAMPLES])

    def finish(self) -> None:
        """Close the encoder, and copy a temporary file to the output."""
        self._call(self._sound.close)
        if self._spool is not None:
            self._spool.seek(0)
            while data := self._spool.read(_COPY_BYTES):
                self._output.write(data)
        self._release()

    def discard(self) -> None:
        """Give up: close the encoder and drop a temporary file."""
        self._file.error = self._file.error or OSError("discarded")  # nothing more is written
        if not self._released:
            self._thread.submit(self._sound.close)
            self._release()

    def _release(self) -> None:
        self._released = True
        self._thread.shutdown()
        if self._spool is not None:
            self._spool.close()
