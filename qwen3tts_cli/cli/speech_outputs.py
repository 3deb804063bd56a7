"""The opened outputs of one run of `say`: codes file, report, audio file or stream, audio device.

All outputs are opened before the first sample is generated, so that a full or read-only disk is found early. Files get
their names at the end, in that order. After a failure no file is left; a stream on stdout keeps the audio that was
written before the failure. This module imports NumPy only for outputs that need it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from ..errors import GenerationError
from ..output import files as output_files
from ..output import formats

if TYPE_CHECKING:
    import numpy as np

    from .commands.say_output import SayOutput
    from .commands.say_timing import Timings
    from .console import Console, Progress


class SpeechOutputs:
    """The outputs of one run. samples: the number of samples written so far. seed: given, or drawn here."""

    def __init__(self, given: dict[str, Any], output: SayOutput, console: Console, timings: Timings) -> None:
        """given: the options of `say` by name. timings: gets the time of writing, and of the first samples."""
        self.samples = 0
        self.seed: int = int.from_bytes(os.urandom(8), "little") if given["seed"] is None else given["seed"]
        self._given, self._output, self._console, self._timings = given, output, console, timings
        self._audio: Any = None  # the sink of the audio file or stream
        self._player: Any = None
        self._outputs: dict[str, Any] = {}  # "codes", "report", "audio"
        self._digest: Any = None  # the digest of the samples as 16-bit PCM, for the report

    @contextlib.contextmanager
    def opened(self, text: str) -> Iterator[None]:
        """Within the block all outputs are open. If it raises, they are cleaned up.

        text: decides, with the seed, the serial number of an Ogg stream. Raises OutputError.
        """
        try:
            self._open(text)
            yield
        except BaseException as error:
            self._clean_up(error)
            if isinstance(error, GenerationError) and self._given["seed"] is None:
                self._console.note(f"seed {self.seed}")
            raise

    def _open(self, text: str) -> None:
        given = self._given
        if given["report"] is not None:
            import hashlib

            self._digest = hashlib.sha256()
        for key in ("codes", "report"):
            if (path := given[key]) is not None and not (key == "report" and path == "-"):
                self._outputs[key] = output_files.open_output(path)
        if self._output.path is not None and self._output.audio is not None:
            file = self._outputs["audio"] = output_files.open_output(self._output.path)
            origin = formats.origin_of(text, self.seed)
            self._audio = formats.open_sink(file, self._output.audio, given["rate"], origin)
        if self._output.plays:
            from ..output.player import PlayerSink

            self._player = PlayerSink(given["rate"])

    @property
    def takes_pcm16(self) -> bool:
        """Whether all opened outputs take 16-bit PCM, so that `write_pcm16` may be called instead of `write`."""
        return self._player is None and self._audio is not None and self._audio.takes_pcm16

    @property
    def seconds(self) -> float:
        """Seconds of audio written so far."""
        return self.samples / self._given["rate"]

    @property
    def pcm_sha256(self) -> str:
        """The hexadecimal digest of the samples as 16-bit PCM; only with a report."""
        return self._digest.hexdigest()

    def progress(self) -> Progress:
        """A context manager that shows the length of the audio so far while its block runs."""
        began = time.perf_counter()
        return self._console.progress(lambda: f"{self.seconds:.1f} s of audio, {time.perf_counter() - began:.0f} s")

    def write(self, samples: np.ndarray) -> None:
        """Write samples, float32 of shape (n,)."""
        self._timings.note_first_audio()
        with self._timings.of("output"):
            self.samples += len(samples)
            if self._digest is not None:
                from ..common.sample_conversion import to_pcm16

                self._digest.update(to_pcm16(samples))
            if self._audio is not None:
                self._audio.write(samples)
            if self._player is not None:
                self._player.write(samples)

    def write_pcm16(self, data: bytes) -> None:
        """Write samples that are 16-bit little-endian PCM already; needs `takes_pcm16`."""
        self._timings.note_first_audio()
        with self._timings.of("output"):
            self.samples += len(data) // 2
            if self._digest is not None:
                self._digest.update(data)
            self._audio.write_pcm16(data)

    def finish(self, codes: Callable[[], np.ndarray], facts: Callable[[], dict[str, Any]]) -> None:
        """Write all bytes of all outputs, which fails on a full disk; then rename the files.

        codes: returns the codes, int32 of shape (frames, code groups). facts: returns the report of --json. Both are
        called only if they are wanted.
        """
        if self._audio is not None:
            with self._timings.of("output"):
                self._audio.finish()
        if "codes" in self._outputs:
            import numpy as np

            array = io.BytesIO()
            np.save(array, np.ascontiguousarray(codes(), np.int32))
            self._outputs["codes"].write(array.getvalue())
        report = json.dumps(facts()) if self._given["report"] is not None else None
        if report is not None and "report" in self._outputs:
            self._outputs["report"].write(report.encode() + b"\n")
            report = None
        for output in self._outputs.values():
            output.finish()
        for output in self._outputs.values():
            output.commit()
        if report is not None:
            click.echo(report, err=True)

    def note_end(self, elapsed: float) -> None:
        """Write the note after a good run. elapsed: the seconds that it took."""
        seconds, path = self.seconds, self._output.path
        rtf = f" (RTF {elapsed / seconds:.2f})" if seconds else ""
        name = "" if path is None or output_files.is_stdout(path) else f"{path}: "
        self._console.note(f"{name}{seconds:.2f} s of audio in {elapsed:.2f} s{rtf}, seed {self.seed}")

    def finish_playing(self) -> None:
        """Wait until the audio device has played all samples. Raises OutputError for an error of the device."""
        if self._player is None:
            return
        try:
            self._player.finish()
        except BaseException:
            self._player.discard()
            raise

    def _clean_up(self, error: BaseException) -> None:
        """Do every step of the clean-up after `error`. An exception of a step is dropped: it would hide `error`."""
        with ExitStack() as stack:
            for step in reversed([*self._clean_up_steps(error)]):  # an ExitStack runs the last callback first
                stack.enter_context(contextlib.suppress(Exception))
                stack.callback(step)

    def _clean_up_steps(self, error: BaseException) -> Iterator[Callable[[], None]]:
        if self._player is not None:
            yield self._player.discard
        output = self._outputs.get("audio")
        if self._output.live and self.samples and isinstance(output, output_files.Stdout) and self._audio is not None:
            # A pipe that nobody reads would block an interrupted command.
            if not isinstance(error, BrokenPipeError) and (isinstance(error, Exception) or output.seekable):
                yield self._audio.finish
            yield output.commit
        if self._audio is not None:
            yield self._audio.discard
        for each in self._outputs.values():
            yield each.discard
