"""One run of `say`: opens the model, writes the samples, and gives the files their names only after it succeeded."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from ...common import user_folders
from ...errors import UsageError
from ...output import files as output_files
from .. import names_and_paths
from ..console import Console
from ..keep_packed import finish_packing
from ..open_model import open_model
from ..speech_outputs import SpeechOutputs
from .say_output import SayOutput
from .say_timing import Timings

if TYPE_CHECKING:
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
    """Speaks one text into its outputs."""

    def __init__(self, given: dict[str, Any], output: SayOutput, console: Console, timings: Timings) -> None:
        """given: the options of `say` by name."""
        self.given, self.output, self.console, self.timings = given, output, console, timings
        self.outputs = SpeechOutputs(given, output, console, timings)

    def speak(self, synthesizer: Synthesizer, text: str | Iterator[str]) -> None:
        """Speak `text` into the outputs. Raises as `speak` of this module does."""
        speak_options, outputs = self._speak_options(), self.outputs
        with ExitStack() as stack, outputs.opened(text if isinstance(text, str) else ""):  # before a text has come
            started = time.perf_counter()
            speech = synthesizer.speak(text, speak_options)
            stack.callback(speech.close)
            with outputs.progress():
                for samples in speech:
                    outputs.write(samples)
            elapsed = time.perf_counter() - started
            outputs.finish(lambda: speech.codes, lambda: self._facts(synthesizer, speech, elapsed))
        outputs.note_end(elapsed)
        if self.given["timings"]:
            click.echo(self.timings.table(speech.timings, speech.seconds), err=True)
        outputs.finish_playing()

    def _speak_options(self) -> SpeakOptions:
        from ...speech.synthesizer import SpeakOptions

        chosen = {name: self.given[name] for name in _SPEAK_OPTIONS}
        if isinstance(chosen["voice"], str):
            chosen["voice"] = names_and_paths.voice(chosen["voice"])
        if chosen["markup"]:
            chosen["on_warning"] = self.console.warning
        return SpeakOptions(seed=self.outputs.seed, split=not self.given["no_split"], live=self.output.live, **chosen)

    def _facts(self, synthesizer: Synthesizer, speech: Speech, elapsed: float) -> dict[str, Any]:
        """The report of --json."""
        from ...speech.facts import speech_facts

        timings = self.timings.facts(speech.timings)
        return speech_facts(synthesizer, speech, elapsed, self.outputs.pcm_sha256, timings)
