"""One run of `say`: opens the model, writes the samples, and gives the files their names only after it succeeded."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from ...common import user_folders
from ...common.sample_conversion import to_pcm16
from ...errors import GenerationError, UsageError
from ...output import files as output_files
from ...output import formats
from .. import names_and_paths
from ..console import Console
from ..keep_packed import finish_packing
from ..open_model import open_model
from .say_output import SayOutput
from .say_timing import Timings

if TYPE_CHECKING:
    import numpy as np

    from ...cloning.voice_file import Voice
    from ...speech.speak_options import SpeakOptions
    from ...speech.stream import Speech
    from ...speech.synthesizer import Synthesizer

_NOTED = "large-models-note"
_LARGE_MODELS = (
    "note: this is the small embedded voice; for the large models: qwen3tts models pull 0.6b, "
    'then: qwen3tts say -m 0.6b "Hello."'
)
# Options of `say` that are fields of SpeakOptions of the same name.
_SPEAK_OPTIONS = (
    "voice", "language", "instruct", "design", "greedy", "temperature", "top_k", "top_p", "repetition_penalty",
    "subtalker_temperature", "subtalker_top_k", "subtalker_top_p", "text_mode", "retries", "batch", "idle_ms", "lines",
    "max_frames", "max_seconds", "speed", "rate", "markup", "lexicon",
)  # fmt: skip


def speak(text: str | Iterator[str], given: dict[str, Any]) -> None:
    """Speak `text`, which may come in pieces. given: the options of `say` by name.

    Raises Qwen3TTSError, and BrokenPipeError if the reader of the audio closed the pipe.
    """
    output, timings = SayOutput(given), Timings()
    console = Console(given["quiet"], output.path)
    if delay := output.delay_note():
        console.note(delay)
    with timings.of("start"):
        from ...speech import synthesizer as _  # noqa: F401  its import is a stage of its own
    began = time.perf_counter()
    opened, timings.stages["pack"] = open_model(console, given)
    timings.stages["open"] = time.perf_counter() - began - timings.stages["pack"]
    with opened as synthesizer:
        if given["model"] is None:
            _note_large_models(console)
        if console.is_terminal and (hint := output.player_hint()):
            console.note(hint)
        if given["ref"] is not None:
            with timings.of("voice"):
                given = {**given, "voice": _clone(synthesizer, console, given)}
        SayRun(given, output, console, timings).speak(synthesizer, text)
        if synthesizer.packing and output.path is not None and output_files.is_stdout(output.path):
            _close_stdout()
        finish_packing([synthesizer], console, "audio")


def _clone(synthesizer: Synthesizer, console: Console, given: dict[str, Any]) -> Voice:
    """Clone the voice of the recording that the option --ref names."""
    from .voices_recording import clone

    if given["voice"] is not None:
        raise UsageError("--voice and --ref are both given, leave one out")
    return clone(synthesizer, console, given["ref"], given["ref_text"], given)


def _close_stdout() -> None:
    """Close the pipe of the audio, so that its reader does not wait until the packed weights are written."""
    if sys.stdout is not None:
        sys.stdout.flush()
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)


def _note_large_models(console: Console) -> None:
    """Write the note about large models once. An empty file in the state folder records that it was written; an error
    in creating that file is ignored."""
    folder = user_folders.state_folder()
    if console.quiet or (folder is not None and os.path.exists(folder / _NOTED)):
        return
    console.note(_LARGE_MODELS)
    if folder is not None:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _NOTED).touch()


class SayRun:
    """Speaks one text into its outputs: the codes file, the report, the audio file or stream, the audio device.

    All outputs are opened before the first sample is generated, so that a full or read-only disk is found early. Files
    get their names at the end, in that order. After a failure no file is left; a stream on stdout keeps the audio that
    was written before the failure.
    """

    def __init__(self, given: dict[str, Any], output: SayOutput, console: Console, timings: Timings) -> None:
        """given: the options of `say` by name."""
        self.given, self.output, self.console, self.timings = given, output, console, timings
        self.seed: int = int.from_bytes(os.urandom(8), "little") if given["seed"] is None else given["seed"]
        self.rate: int = given["rate"]
        self.samples = 0  # the number of samples written so far
        self.digest = hashlib.sha256()  # the digest of the samples as 16-bit PCM
        self.audio: Any = None  # the sink of the audio file or stream
        self.player: Any = None
        self.outputs: dict[str, Any] = {}  # "codes", "report", "audio"

    def speak(self, synthesizer: Synthesizer, text: str | Iterator[str]) -> None:
        """Speak `text` into the outputs. Raises as `speak` of this module does."""
        speak_options = self._speak_options()
        with ExitStack() as stack:
            try:
                self._open(text if isinstance(text, str) else "")  # the outputs are opened before the text is known
                started = time.perf_counter()
                speech = synthesizer.speak(text, speak_options)
                stack.callback(speech.close)
                with self.console.progress(lambda: self._progress(time.perf_counter() - started)):
                    for samples in speech:
                        self.timings.note_first_audio()
                        with self.timings.of("output"):
                            self._write(samples)
                elapsed = time.perf_counter() - started
                self._finish(synthesizer, speech, elapsed)
            except BaseException as error:
                self._clean_up(error)
                raise
        self._note_end(speech, elapsed)
        if self.player is not None:
            self._finish_playing()

    def _finish_playing(self) -> None:
        try:
            self.player.finish()
        except BaseException:
            self.player.discard()
            raise

    def _speak_options(self) -> SpeakOptions:
        from ...speech.synthesizer import SpeakOptions

        chosen = {name: self.given[name] for name in _SPEAK_OPTIONS}
        if isinstance(chosen["voice"], str):
            chosen["voice"] = names_and_paths.voice(chosen["voice"])
        if chosen["markup"]:
            chosen["on_warning"] = self.console.warning
        return SpeakOptions(seed=self.seed, split=not self.given["no_split"], live=self.output.live, **chosen)

    def _open(self, text: str) -> None:
        for key in ("codes", "report"):
            if (path := self.given[key]) is not None and not (key == "report" and path == "-"):
                self.outputs[key] = output_files.open_output(path)
        if self.output.path is not None:
            file = self.outputs["audio"] = output_files.open_output(self.output.path)
            self.audio = formats.open_sink(file, self.output.audio, self.rate, formats.origin_of(text, self.seed))
        if self.output.plays:
            from ...output.player import PlayerSink

            self.player = PlayerSink(self.rate)

    def _write(self, samples: np.ndarray) -> None:
        self.samples += len(samples)
        if self.given["report"] is not None:
            self.digest.update(to_pcm16(samples))
        if self.audio is not None:
            self.audio.write(samples)
        if self.player is not None:
            self.player.write(samples)

    def _progress(self, elapsed: float) -> str:
        return f"{self.samples / self.rate:.1f} s of audio, {elapsed:.0f} s"

    def _finish(self, synthesizer: Synthesizer, speech: Speech, elapsed: float) -> None:
        """Write all bytes of all outputs, which fails on a full disk; then rename the files."""
        if self.audio is not None:
            with self.timings.of("output"):
                self.audio.finish()
        if "codes" in self.outputs:
            import numpy as np

            array = io.BytesIO()
            np.save(array, np.ascontiguousarray(speech.codes, np.int32))
            self.outputs["codes"].write(array.getvalue())
        facts = None
        if self.given["report"] is not None:
            from ...speech.facts import speech_facts

            timings = self.timings.facts(speech)
            facts = json.dumps(speech_facts(synthesizer, speech, elapsed, self.digest.hexdigest(), timings))
        if "report" in self.outputs:
            self.outputs["report"].write(facts.encode() + b"\n")
            facts = None
        for output in self.outputs.values():
            output.finish()
        for output in self.outputs.values():
            output.commit()
        if facts is not None:
            click.echo(facts, err=True)

    def _note_end(self, speech: Speech, elapsed: float) -> None:
        rtf = f" (RTF {elapsed / speech.seconds:.2f})" if speech.seconds else ""
        path = self.output.path
        name = "" if path is None or output_files.is_stdout(path) else f"{path}: "
        self.console.note(f"{name}{speech.seconds:.2f} s of audio in {elapsed:.2f} s{rtf}, seed {self.seed}")
        if self.given["timings"]:
            click.echo(self.timings.table(speech), err=True)

    def _clean_up(self, error: BaseException) -> None:
        """Do every step of the clean-up after `error`. An exception of a step is dropped: it would hide `error`."""
        with ExitStack() as stack:
            for step in reversed([*self._clean_up_steps(error)]):  # an ExitStack runs the last callback first
                stack.enter_context(contextlib.suppress(Exception))
                stack.callback(step)
        if isinstance(error, GenerationError) and self.given["seed"] is None:
            self.console.note(f"seed {self.seed}")

    def _clean_up_steps(self, error: BaseException) -> Iterator[Callable[[], None]]:
        if self.player is not None:
            yield self.player.discard
        output = self.outputs.get("audio")
        if self.output.live and self.samples and isinstance(output, output_files.Stdout) and self.audio is not None:
            # A pipe that nobody reads would block an interrupted command.
            if not isinstance(error, BrokenPipeError) and (isinstance(error, Exception) or output.seekable):
                yield self.audio.finish
            yield output.commit
        if self.audio is not None:
            yield self.audio.discard
        for each in self.outputs.values():
            yield each.discard
