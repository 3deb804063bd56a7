"""Writes M4B, M4A and AAC files with the program `ffmpeg`, if there is one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import OutputError
from .tagging import ChapterMark, Tags, cover_type, mark_titles, shorten, track_text

if TYPE_CHECKING:
    import numpy as np

    from .files import AtomicFile

EXTENSIONS = ("m4b", "m4a", "aac")
_FORMATS = {"m4b": "ipod", "m4a": "ipod", "aac": "adts"}  # ffmpeg's names; `ipod` is MP4 of audio
_BIT_RATES = ((12_000, "32k"), (24_000, "64k"), (48_000, "96k"))  # up to a sample rate
_AUDIOBOOK = "2"  # the media type by which players put a file on the shelf of audiobooks
_MOST_TITLE_BYTES = 250  # the length of a chapter's title in MP4 is one byte
_KILL_SECONDS = 10


def require_ffmpeg(extension: str) -> str:
    """The path of the program ffmpeg. extension: of the output, for the message. Raises OutputError if there is no
    such program."""
    import shutil

    path = shutil.which("ffmpeg")
    if path is None:
        raise OutputError(f".{extension} needs the program ffmpeg, which is not on the PATH; .mp3 and .opus do not")
    return path


class FfmpegSink:
    """Feeds samples to ffmpeg, which writes the file of an AtomicFile under its temporary name.

    extension: a key of EXTENSIONS. tags: as clean_tags returns them. cover: JPEG or PNG; AAC has neither cover nor
    chapters. Every method raises OutputError with the last line of ffmpeg if it failed.
    """

    def __init__(
        self,
        output: AtomicFile,
        sample_rate: int,
        extension: str,
        tags: Tags,
        marks: Sequence[ChapterMark] = (),
        cover: bytes | None = None,
    ) -> None:
        program = require_ffmpeg(extension)
        self._output = output
        with contextlib.ExitStack() as stack:
            try:
                self._messages: BinaryIO = stack.enter_context(tempfile.TemporaryFile())
                # Files without a name, which ffmpeg opens by their descriptors: nothing is left whatever happens.
                metadata = stack.enter_context(_unnamed_file(_metadata(tags, marks, extension).encode()))
                picture = None
                if cover is not None and extension != "aac":
                    picture = stack.enter_context(_unnamed_file(cover))
                command = [program, *_inputs(sample_rate, metadata, picture, cover)]
                command += _settings(sample_rate, extension, tags, picture is not None)
                self._process: Any = subprocess.Popen(
                    [*command, f"file:{output.temporary}"],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=self._messages,
                    pass_fds=[file.fileno() for file in (metadata, picture) if file is not None],
                    start_new_session=True,  # Ctrl-C is for this process, which then ends ffmpeg
                )
            except OSError as error:
                raise OutputError(f"{output.name}: {program}: {error.strerror or error}") from None
            stack.pop_all()
        for file in (metadata, picture):
            if file is not None:
                file.close()

    def write(self, samples: np.ndarray) -> None:
        """Append samples, float32 of shape (n,)."""
        import numpy as np

        view = memoryview(np.ascontiguousarray(samples, "<f4").tobytes())
        try:
            while view:
                view = view[self._process.stdin.write(view) :]
        except BrokenPipeError:  # it has ended, and says why
            self._process.wait()
            raise self._failure() from None

    def finish(self) -> None:
        """Wait until ffmpeg has written the file."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            if self._process.wait() != 0 or os.path.getsize(self._output.temporary) == 0:
                raise self._failure()
        except FileNotFoundError as error:  # the folder was removed meanwhile
            raise OutputError(f"{self._output.name}: {error.strerror}") from None
        self._messages.close()

    def discard(self) -> None:
        """End ffmpeg at once; what it has written stays with the output. May be called at any time."""
        self._process.kill()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for a disk
            self._process.wait(_KILL_SECONDS)
        self._messages.close()

    def _failure(self) -> OutputError:
        self._messages.seek(0)
        lines = self._messages.read().decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        code = self._process.returncode
        reason = said[-1] if said else f"ended by signal {-code}" if code < 0 else f"exit code {code}"
        reason = reason.replace(f"file:{self._output.temporary}", self._output.name)
        return OutputError(f"{self._output.name}: ffmpeg: {reason}")


def _unnamed_file(data: bytes) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    try:
        file.write(data)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def sample_arguments(sample_rate: int) -> list[str]:
    """The first arguments of ffmpeg, which make it read float32 samples from its standard input."""
    arguments = ["-hide_banner", "-nostats", "-nostdin", "-loglevel", "error", "-y"]
    return [*arguments, "-f", "f32le", "-ar", str(sample_rate), "-ac", "1", "-i", "pipe:0"]


def encoder_arguments(sample_rate: int) -> list[str]:
    """The arguments of the AAC encoder; the same samples give the same packets."""
    bit_rate = next(rate for most, rate in _BIT_RATES if sample_rate <= most)
    exact = ["-flags:a", "+bitexact", "-fflags", "+bitexact"]
    return ["-c:a", "aac", "-b:a", bit_rate, "-threads", "1", *exact]


def _inputs(sample_rate: int, metadata: BinaryIO, picture: BinaryIO | None, cover: bytes | None) -> list[str]:
    """The arguments that name the inputs: samples from the pipe, metadata, cover."""
    arguments = sample_arguments(sample_rate)
    arguments += ["-f", "ffmetadata", "-i", f"file:/dev/fd/{metadata.fileno()}"]
    if picture is not None and cover is not None:
        kind = cover_type(cover).removeprefix("image/")
        arguments += ["-f", f"{kind}_pipe", "-i", f"file:/dev/fd/{picture.fileno()}"]
    return arguments


def _settings(sample_rate: int, extension: str, tags: Tags, has_cover: bool) -> list[str]:
    """The arguments that describe the output. Without bitexact a file has the version of ffmpeg and the time of day."""
    arguments = ["-map", "0:a", *encoder_arguments(sample_rate), "-map_metadata", "1"]
    if extension == "aac":
        return [*arguments, "-map_chapters", "-1", "-write_id3v2", "1", "-f", "adts"]
    if has_cover:
        arguments += ["-map", "2:v", "-c:v", "copy", "-disposition:v:0", "attached_pic"]
    arguments += ["-map_chapters", "1", "-movflags", "+faststart"]
    if tags.language:
        arguments += ["-metadata:s:a:0", f"language={tags.language}"]
    return [*arguments, "-brand", "M4B " if extension == "m4b" else "M4A ", "-f", _FORMATS[extension]]


def _metadata(tags: Tags, marks: Sequence[ChapterMark], extension: str) -> str:
    """Tags and chapters in the language of ffmpeg's metadata files."""
    texts = {"title": tags.title, "artist": tags.author, "album": tags.album, "track": track_text(tags)}
    if extension == "m4b":
        texts["media_type"] = _AUDIOBOOK
    elif extension == "aac":
        texts["language"] = tags.language
    lines = [";FFMETADATA1", *(f"{name}={_escape(text)}" for name, text in texts.items() if text)]
    for mark, title in zip(marks, mark_titles(marks), strict=True):
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={round(mark.start * 1000)}", f"END={round(mark.end * 1000)}"]
        lines.append(f"title={_escape(shorten(title, _MOST_TITLE_BYTES))}")
    return "\n".join([*lines, ""])


def _escape(text: str) -> str:
    """A value of a metadata file. After a backslash ffmpeg takes the end of a line for a part of the value, also where
    the backslash is escaped; a space keeps them apart."""
    escaped = "".join("\\" + character if character in "=;#\\\n" else character for character in text)
    return escaped + " " if text.endswith("\\") else escaped
