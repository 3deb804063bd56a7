"""AAC as it is made: samples go into the program `ffmpeg`, and its ADTS frames come out through a pipe."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from ...errors import OutputError
from ...output.ffmpeg import encoder_arguments, require_ffmpeg, sample_arguments

if TYPE_CHECKING:
    import numpy as np

_READ_BYTES = 1 << 16
_WAIT_SECONDS = 20.0  # the longest time that ffmpeg may take for one call


class AacEncoder:
    """A sink that writes AAC in ADTS frames to an output of output/files.py.

    ffmpeg begins to write when its buffers are full, so the frames of a call may come out of a later call. Every method
    raises OutputError with the last line of ffmpeg if it failed, or if it does nothing for 20 s.
    """

    def __init__(self, output: Any, sample_rate: int) -> None:
        program = require_ffmpeg("aac")
        self._output = output
        arguments = [*sample_arguments(sample_rate), *encoder_arguments(sample_rate), "-map_metadata", "-1"]
        arguments += ["-flush_packets", "1", "-f", "adts", "pipe:1"]
        self._messages: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (`_close` closes it)
        try:
            self._process: Any = subprocess.Popen(
                [program, *arguments],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                start_new_session=True,  # Ctrl-C is for this process, which then ends ffmpeg
            )
        except OSError as error:
            self._messages.close()
            raise OutputError(f"{output.name}: ffmpeg: {error.strerror or error}") from None
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)

    def write(self, samples: np.ndarray) -> None:
        """Append samples, float32 of shape (n,)."""
        import numpy as np

        self._exchange(memoryview(np.ascontiguousarray(samples, "<f4").tobytes()))

    def finish(self) -> None:
        """Write the remaining frames, and wait until ffmpeg has ended."""
        self._exchange(None)
        try:
            code = self._process.wait(_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise self._failure("does not end") from None
        if code != 0:
            raise self._failure(f"exit code {code}")
        self.discard()

    def stop(self) -> None:
        """Tell ffmpeg to end at once. Another thread may be inside another method."""
        self._process.kill()

    def discard(self) -> None:
        """End ffmpeg at once. May be called at any time."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_WAIT_SECONDS)
        self._messages.close()

    def _exchange(self, data: memoryview | None) -> None:
        """Write `data` to ffmpeg, and what ffmpeg has written meanwhile to the output. None: the end of the samples,
        after which ffmpeg is read to its end."""
        to, from_ = self._process.stdin, self._process.stdout
        if data is None:
            to.close()
        deadline = time.monotonic() + _WAIT_SECONDS
        while data is None or data:
            writable = [to] if data else []
            readable, ready, _ = select.select([from_], writable, [], max(0.0, deadline - time.monotonic()))
            if not readable and not ready:
                raise self._failure("takes no samples" if data else "does not end")
            if readable and not self._read():
                if data:
                    raise self._failure("ended before the samples did")
                return
            if ready and data:
                data = data[self._write_some(data) :]
        self._read()

    def _write_some(self, data: memoryview) -> int:
        try:
            return self._process.stdin.write(data) or 0
        except BrokenPipeError:
            raise self._failure("ended before the samples did") from None

    def _read(self) -> bool:
        """Pass on what ffmpeg has written so far. Returns whether more may come."""
        while True:
            data = self._process.stdout.read(_READ_BYTES)
            if not data:
                return data is None  # None: nothing for now; no bytes: the end
            self._output.write(data)

    def _failure(self, what: str) -> OutputError:
        """The error with the last line of ffmpeg, or with `what` if it said nothing."""
        with contextlib.suppress(OSError, ValueError):
            self._messages.seek(0)
            said = [line for line in self._messages.read().decode("utf-8", "replace").split("\n") if line.strip()]
            what = said[-1].strip() if said else what
        return OutputError(f"{self._output.name}: ffmpeg: {what}")
