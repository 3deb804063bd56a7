"""Writes finished files: audio with tags, chapter marks and a cover, whole or not at all."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import OutputError, UsageError
from . import ffmpeg, formats
from .files import is_special, is_stdout, open_output
from .formats import AudioFormat
from .id3 import id3_header
from .tagging import ChapterMark, Tags, clean_tags

if TYPE_CHECKING:
    import numpy as np

EXTENSIONS = (*formats.EXTENSIONS, *ffmpeg.EXTENSIONS)
WITH_CHAPTERS = ("mp3", "m4b", "m4a")  # the extensions of files that hold chapter marks and a cover
_CRC_16 = 0xA001  # the polynomial of the checksum in LAME's tag, least significant bit first
_MOST_DELAY_SECONDS = 0.049


def choose_tagged_format(
    path: str | None,
    subtype: str | None,
    sample_rate: int,
    requested: str | None = None,
    default: str | None = None,
    default_subtype: str | None = None,
) -> AudioFormat:
    """Choose the format of a finished file: as formats.choose_format, also M4B, M4A and AAC, whose container is the
    extension in capitals and whose subtype is AAC. Raises UsageError; whether there is an ffmpeg is not looked at."""
    found = os.path.splitext(path or "")[1][1:].lower()
    if path is not None and requested is None and found not in EXTENSIONS and (found or default is None):
        known = ", ".join(f".{name}" for name in EXTENSIONS)
        what = f"unknown extension .{found}" if found else "no extension"
        raise UsageError(f"{path}: {what}, known are {known} (or --audio-format for any name)")
    extension = requested or (found if found in EXTENSIONS else default) or "wav"
    if found in EXTENSIONS and found != extension and (found in ffmpeg.EXTENSIONS or extension in ffmpeg.EXTENSIONS):
        raise UsageError(f"--audio-format {requested}: {path} has the extension of another format, change one of them")
    if extension not in ffmpeg.EXTENSIONS:
        return formats.choose_format(path, subtype, False, sample_rate, requested, default, default_subtype)
    if subtype is not None and subtype.upper() != "AAC":
        raise UsageError(f"--subtype {subtype}: not available for .{extension}, which has AAC")
    return AudioFormat(extension.upper(), "AAC")


def require_encoder(audio: AudioFormat) -> None:
    """Raise OutputError if the format needs the program ffmpeg and there is none."""
    if (extension := audio.container.lower()) in ffmpeg.EXTENSIONS:
        ffmpeg.require_ffmpeg(extension)


def write_tagged(
    path: str,
    chunks: Iterable[np.ndarray],
    audio: AudioFormat,
    *,
    rate: int,
    tags: Tags,
    marks: Sequence[ChapterMark] = (),
    cover: bytes | None = None,
) -> None:
    """Write a file as its samples come; it appears when it is complete. The same samples, however they are cut, give
    the same bytes (M4B, M4A and AAC: with one version of ffmpeg).

    chunks: float32 of shape (n,), full scale 1, mono. rate: in Hz. marks, cover: what a format cannot hold is left
    out; WITH_CHAPTERS lists those that hold both. Raises OutputError, InputError for a cover that is neither JPEG nor
    PNG, and what `chunks` raises; then there is no file, or the file that was there before.
    """
    tags = clean_tags(tags)
    output: Any = None
    sink: Any = None
    try:
        if (extension := audio.container.lower()) in ffmpeg.EXTENSIONS:
            ffmpeg.require_ffmpeg(extension)
            if is_stdout(path) or is_special(path):
                raise OutputError(f"{path}: .{extension} needs a regular file")
            output = open_output(path)
            sink = ffmpeg.FfmpegSink(output, rate, extension, tags, marks, cover)
        elif audio.container == "MP3":
            header = id3_header(tags, marks, cover)
            output = open_output(path)
            sink = formats.open_sink(_Mp3Output(output, header, rate), audio, rate)
        else:
            origin = formats.origin_of(tags.title, tags.author, tags.album, tags.track)
            output = open_output(path)
            sink = formats.open_sink(output, audio, rate, origin, tags)
        for samples in chunks:
            sink.write(samples)
        sink.finish()
        output.finish()
        output.commit()
    except BaseException:
        if sink is not None:
            sink.discard()
        if output is not None:
            output.discard()
        raise


class _Mp3Output:
    """An output for the frames of an MP3 file, which follow an ID3 header."""

    def __init__(self, output: Any, header: bytes, rate: int) -> None:
        self.name, self.seekable = output.name, output.seekable
        self._output, self._header_bytes, self._rate = output, len(header), rate
        output.write(header)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._output.write(data)

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes at an offset from the first frame."""
        if offset == 0:
            data = shorten_length(data, self._rate)
        self._output.patch(self._header_bytes + offset, data)


def shorten_length(frame: bytes, rate: int) -> bytes:
    """The first frame of an MP3 file, whose tag says how many frames follow, with a number that fits the speech.

    ffmpeg before 7.1 and many players compute the length from the number of frames, which has the delay of the encoder
    and its padding in it: 52 to 98 ms at 24 kHz. Whole frames of padding are left out of both numbers, so that 49 ms
    remain at most from 24 kHz on. A decoder that trusts the numbers may then leave out the last 21 ms of the samples.
    Source: the description of the LAME tag, gabriel.mp3-tech.org/mp3infotag.html.
    """
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    tag = at + 120  # after flags, frames, bytes, table of contents and quality
    if at < 0 or len(frame) < tag + 36 or struct.unpack_from(">I", frame, at + 4)[0] != 15:
        return frame
    if _crc_16(frame[: tag + 34]) != struct.unpack_from(">H", frame, tag + 34)[0]:
        return frame
    (frames,) = struct.unpack_from(">I", frame, at + 8)
    gaps = int.from_bytes(frame[tag + 21 : tag + 24], "big")
    delay, padding = gaps >> 12, gaps & 0xFFF
    samples = 1152 if rate >= 32_000 else 576  # in a frame
    too_much = delay + padding - _MOST_DELAY_SECONDS * rate
    count = min(max(0, -int(-too_much // samples)), padding // samples)
    changed = bytearray(frame)
    struct.pack_into(">I", changed, at + 8, frames - count)
    changed[tag + 21 : tag + 24] = (delay << 12 | padding - count * samples).to_bytes(3, "big")
    struct.pack_into(">H", changed, tag + 34, _crc_16(changed[: tag + 34]))
    return bytes(changed)


def _crc_16(data: bytes | bytearray) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (_CRC_16 if value & 1 else 0)
    return value
