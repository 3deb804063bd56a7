"""Audio formats: choosing one for an output, and the sinks that write float samples in it.

A sink has `write(samples)`, which takes float32 of shape (n,); `finish()`, called after the last samples; and
`discard()`. A sink whose `takes_pcm16` is true also has `write_pcm16(data)`, for samples that are bytes of 16-bit PCM
already, which imports no NumPy. A sink writes to an output of files.py, which the caller opens, finishes and commits;
the output need not be seekable. A sink writes bytes as soon as it has them. WAV of PCM_16, FLOAT and DOUBLE is written
here, since libsndfile would put the time of day into its PEAK chunk, and so is raw PCM_16; compressed_formats.py writes
all other formats with libsndfile.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from ..common.audio_constants import RATES, SAMPLE_RATE
from ..errors import UsageError
from .libsndfile import load_soundfile

if TYPE_CHECKING:
    import numpy as np

    from .compressed_formats import EncodedSink
    from .tagging import Tags

_UNKNOWN_SIZE = 0xFFFFFFFF  # players read until the end of the file

# Extension: (container, default subtype, allowed subtypes). None: all subtypes that the container has are allowed.
EXTENSIONS = {
    "wav": ("WAV", "PCM_16", None),
    "flac": ("FLAC", "PCM_16", None),
    "ogg": ("OGG", "VORBIS", None),
    "opus": ("OGG", "OPUS", ("OPUS",)),
    "mp3": ("MP3", "MPEG_LAYER_III", None),
}
_RAW = ("PCM_16", "ULAW", "ALAW")
_OWN_WAV = {"PCM_16": (1, 2), "FLOAT": (3, 4), "DOUBLE": (3, 8)}  # (format tag, bytes per sample)


class AudioFormat(NamedTuple):
    """A container ("RAW", or its name in libsndfile) and a subtype that can be written."""

    container: str
    subtype: str


def choose_format(
    path: str | None,
    subtype: str | None,
    raw: bool,
    sample_rate: int,
    requested: str | None = None,
    default: str | None = None,
    default_subtype: str | None = None,
) -> AudioFormat:
    """Choose the format of an output. Raises UsageError if the arguments contradict each other or cannot be written.

    path: the file, whose extension is a key of EXTENSIONS; None for an output without a name, such as a pipe.
    subtype: the name of a subtype in libsndfile; None for the default of the format. raw: whether to write samples
    without a header: PCM_16, ULAW or ALAW. sample_rate: in Hz. requested: the key of EXTENSIONS to use; the path then
    has no known extension, or one with the same container. default: the key for an output without a name or extension;
    if it is None, an output without a name is WAV. default_subtype: replaces the default of each format that has this
    subtype.
    """
    subtype, default_subtype = _subtype_name(subtype), _subtype_name(default_subtype)
    if raw:
        if subtype not in (None, *_RAW):
            raise UsageError(f"--subtype {subtype}: --raw writes {', '.join(_RAW[:-1])} or {_RAW[-1]}")
        if requested is not None:
            raise UsageError(f"--audio-format {requested}: raw audio has no format, leave one of it and --raw out")
        return AudioFormat("RAW", subtype or "PCM_16")
    extension = _extension(path, requested, default)
    container, own, allowed = EXTENSIONS[extension]
    if subtype is None:
        subtype = own if default_subtype is None or _lacks(extension, default_subtype) else default_subtype
    if not (container == "WAV" and subtype in _OWN_WAV):
        _check_subtype(extension, container, subtype, allowed, sample_rate)
    return AudioFormat(container, subtype)


def _subtype_name(subtype: str | None) -> str | None:
    return subtype.upper().replace("-", "_") if subtype else None


def _lacks(extension: str, subtype: str) -> bool:
    """Whether the format of this extension lacks a subtype that another format has."""
    container, _, allowed = EXTENSIONS[extension]
    if container == "WAV" and subtype in _OWN_WAV:
        return False
    soundfile = load_soundfile(extension)
    has = allowed or tuple(soundfile.available_subtypes(container))
    return subtype not in has and subtype in soundfile.available_subtypes()


def _extension(path: str | None, requested: str | None, default: str | None) -> str:
    """The key of EXTENSIONS, from the arguments of choose_format."""
    if path is None:
        return requested or default or "wav"
    found = os.path.splitext(path)[1][1:].lower()
    if found in EXTENSIONS and requested is not None:
        (container, own, _), (other, _, allowed) = EXTENSIONS[requested], EXTENSIONS[found]
        if container != other or own not in (allowed or (own,)):
            raise UsageError(
                f"--audio-format {requested}: {path} has the extension of another format, change one of them"
            )
    if requested is not None:
        return requested
    if found in EXTENSIONS:
        return found
    if default is not None and not found:
        return default
    what = f"unknown extension .{found}" if found else "no extension"
    known = ", ".join(f".{name}" for name in EXTENSIONS)
    raise UsageError(f"{path}: {what}, known are {known} (or --audio-format or --raw for any name)")


def _check_subtype(extension: str, container: str, subtype: str, allowed: Any, sample_rate: int) -> None:
    soundfile = load_soundfile(extension)
    if container not in soundfile.available_formats():
        version = soundfile.__libsndfile_version__
        raise UsageError(f".{extension}: this libsndfile ({version}) cannot write {container}")
    known = allowed or tuple(soundfile.available_subtypes(container))
    if subtype in known and _writable(soundfile, container, subtype, sample_rate):
        return
    rates = [str(rate) for rate in RATES if _writable(soundfile, container, subtype, rate)]
    if subtype in known and rates:
        raise UsageError(f"--rate {sample_rate}: .{extension} has {subtype} only at {', '.join(rates)} Hz")
    valid = [name for name in known if _writable(soundfile, container, name, SAMPLE_RATE)]
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


def origin_of(*parts: object) -> int:
    """A 32-bit hash of the values that determine the audio: a text and a seed, or codes. Runs of whitespace in a text
    count as one space."""
    import zlib

    data = [
        part if isinstance(part, bytes) else " ".join(str(part).split()).encode("utf-8", "replace") for part in parts
    ]
    return zlib.crc32(b"\0".join(data))


def open_sink(
    output: Any, audio: AudioFormat, sample_rate: int, origin: int = 0, tags: Tags | None = None
) -> RawSink | WavSink | EncodedSink:
    """Return the sink that writes mono audio in a format to an output of files.py.

    origin: the result of origin_of, from which the serial number of an Ogg stream is computed. tags: as clean_tags
    returns them, for WAV, FLAC and Ogg; MP3 gets its tags in tagged_file.py.
    """
    if audio.container == "RAW" and audio.subtype == "PCM_16":
        return RawSink(output)
    if audio.container == "WAV" and audio.subtype in _OWN_WAV:
        return WavSink(output, sample_rate, audio.subtype, b"" if tags is None else list_info(tags))
    from .compressed_formats import EncodedSink

    return EncodedSink(output, sample_rate, audio, origin, tags)


def list_info(tags: Tags) -> bytes:
    """The LIST INFO chunk of a WAV file, texts in UTF-8; none if there is nothing to say. tags: as clean_tags returns
    them."""
    track = "" if tags.track is None else str(tags.track)
    texts = {b"INAM": tags.title, b"IART": tags.author, b"IPRD": tags.album, b"ITRK": track, b"ILNG": tags.language}
    body = b"".join(_riff_chunk(name, text.encode() + b"\0") for name, text in texts.items() if text)
    return _riff_chunk(b"LIST", b"INFO" + body) if body else b""


def _riff_chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


class RawSink:
    """The sink of raw audio: 16-bit little-endian PCM without a header."""

    takes_pcm16 = True

    def __init__(self, output: Any) -> None:
        self._output = output

    def write(self, samples: np.ndarray) -> None:
        """Append samples, float32 of shape (n,)."""
        from ..common.sample_conversion import to_pcm16

        self.write_pcm16(to_pcm16(samples).tobytes())

    def write_pcm16(self, data: bytes) -> None:
        """Append samples that are 16-bit little-endian PCM already."""
        self._output.write(data)

    def finish(self) -> None:
        """Does nothing: all samples are written."""

    def discard(self) -> None:
        """Does nothing: no resource is held."""


class WavSink:
    """The sink of WAV: writes the header with the first samples, and the sizes in it at the end.

    If the output is not seekable, or has more than the 4 GiB that the header can express, the sizes stay 0xFFFFFFFF.
    info: chunks that go before the samples. takes_pcm16: whether `write_pcm16` may be called instead of `write`.
    """

    def __init__(self, output: Any, sample_rate: int, subtype: str, info: bytes = b"") -> None:
        self._output, self._rate, self._subtype, self._info = output, sample_rate, subtype, info
        self._data_bytes = 0
        self._begun = False
        self.takes_pcm16 = subtype == "PCM_16"

    def _header(self, data_bytes: int | None) -> bytes:
        tag, width = _OWN_WAV[self._subtype]
        form = struct.pack("<HHIIHH", tag, 1, self._rate, self._rate * width, width, 8 * width)
        if tag == 1:
            chunks = b"fmt " + struct.pack("<I", len(form)) + form
        else:  # a format other than PCM has an extension size and a chunk with the number of samples
            frames = _UNKNOWN_SIZE if data_bytes is None else data_bytes // width
            form += struct.pack("<H", 0)
            chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"fact" + struct.pack("<II", 4, frames)
        chunks += self._info
        riff_bytes = _UNKNOWN_SIZE if data_bytes is None else 4 + len(chunks) + 8 + data_bytes
        data_size = _UNKNOWN_SIZE if data_bytes is None else data_bytes
        return b"RIFF" + struct.pack("<I", riff_bytes) + b"WAVE" + chunks + b"data" + struct.pack("<I", data_size)

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return self._header(None)

    def write(self, samples: np.ndarray) -> None:
        """Append samples, float32 of shape (n,)."""
        import numpy as np

        from ..common.sample_conversion import to_pcm16

        if self.takes_pcm16:
            self.write_pcm16(to_pcm16(samples).tobytes())
        else:
            self._append(np.asarray(samples, "<f4" if self._subtype == "FLOAT" else "<f8").tobytes())

    def write_pcm16(self, data: bytes) -> None:
        """Append samples that are 16-bit little-endian PCM already, for the subtype PCM_16."""
        self._append(data)

    def _append(self, data: bytes) -> None:
        self._output.write(self._begin() + data)
        self._data_bytes += len(data)

    def finish(self) -> None:
        """Write the sizes into the header, which is written first if there were no samples."""
        header = self._begin()
        if header:
            self._output.write(header)
        whole = len(self._header(0)) + self._data_bytes
        if self._output.seekable and whole - 8 < _UNKNOWN_SIZE:
            self._output.patch(0, self._header(self._data_bytes))

    def discard(self) -> None:
        """Does nothing: no resource is held."""
