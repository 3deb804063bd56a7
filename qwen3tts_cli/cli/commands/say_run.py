"""One run of `say`: the engine, the loop over its samples, and files that appear only when all went well."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import click

from ...common import user_folders
from ...common.audio_constants import SAMPLE_RATE
from ...common.sample_conversion import to_pcm16
from ...errors import GenerationError, UsageError
from ...output import files as output_files
from ...output import formats
from .. import names_and_paths
from ..console import Console
from ..keep_packed import finish_packing
from .say_output import Plan
from .say_timing import Timings

_NOTED = "large-models-note"
_LARGE_MODELS = (
    "note: this is the small embedded voice; for the large ones: qwen3tts models pull 0.6b, "
    'then: qwen3tts say -m 0.6b "Hello."'
)
_PASSED_ON = (
    "voice",
    "language",
    "instruct",
    "design",
    "greedy",
    "temperature",
    "top_k",
    "top_p",
    "repetition_penalty",
    "subtalker_temperature",
    "subtalker_top_k",
    "subtalker_top_p",
    "text_mode",
    "retries",
    "batch",
)


def speak(text: str, given: dict[str, Any]) -> None:
    """Speak `text` as the options of `say` ask for. Raises Qwen3TTSError, and BrokenPipeError of a reader that left."""
    plan, timings = Plan(given), Timings()
    console = Console(given["quiet"], plan.path)
    if late := plan.late_sound():
        console.note(late)
    with timings.of("start"):
        from ...speech.synthesizer import Synthesizer
    engine = {name: given[name] for name in ("precision", "decoder_precision", "threads")}
    engine["cache"] = not given["no_cache"]
    with _open(Synthesizer, console, timings, given["model"], engine) as synthesizer:
        if given["model"] is None:
            _note_large_models(console)
        if console.is_terminal and (hint := plan.player_hint()):
            console.note(hint)
        if given["ref"] is not None:
            with timings.of("voice"):
                given = {**given, "voice": _cloned(synthesizer, console, given)}
        Take(given, plan, console, timings).record(synthesizer, text)
        if synthesizer.packing and plan.path is not None and output_files.is_stdout(plan.path):
            _close_stdout()
        finish_packing([synthesizer], console, "audio")


def _cloned(synthesizer: Any, console: Console, given: dict[str, Any]) -> Any:
    """The voice of the recording --ref."""
    from .voices_recording import clone

    if given["voice"] is not None:
        raise UsageError("--voice and --ref are both given, leave one out")
    return clone(synthesizer, console, given["ref"], given["ref_text"], given)


def _open(synthesizer, console: Console, timings: Timings, model: str | None, engine: dict[str, object]):
    """Open the model, with a line while its weights are packed for the first time."""
    done = [0, 0]
    began = time.perf_counter()

    def report(there: int, total: int) -> None:
        done[:] = there, total
        timings.stages["pack"] = time.perf_counter() - began

    def line() -> str:
        return f"packing the weights for the first time, {100 * done[0] // done[1]} %" if done[1] else ""

    warnings: list[str] = []  # shown once the line is erased
    with console.progress(line):
        opened = synthesizer.open(names_and_paths.model(model), progress=report, on_warning=warnings.append, **engine)
    timings.stages["open"] = time.perf_counter() - began - timings.stages["pack"]
    for warning in warnings:
        console.warning(warning)
    return opened


def _close_stdout() -> None:
    """Whoever reads the audio has all of it: what is still to be done is not theirs to wait for."""
    if sys.stdout is not None:
        sys.stdout.flush()
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)


def _note_large_models(console: Console) -> None:
    """Once on a machine: how to get the large models. That it cannot be remembered is no error."""
    folder = user_folders.state_folder()
    if console.quiet or (folder is not None and os.path.exists(folder / _NOTED)):
        return
    console.note(_LARGE_MODELS)
    if folder is not None:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _NOTED).touch()


class Take:
    """The outputs of one run, opened before the first sample so that a full or read-only disk is known early."""

    def __init__(self, given: dict[str, Any], plan: Plan, console: Console, timings: Timings) -> None:
        self.given, self.plan, self.console, self.timings = given, plan, console, timings
        self.seed: int = int.from_bytes(os.urandom(8), "little") if given["seed"] is None else given["seed"]
        self.samples = 0
        self.digest = hashlib.sha256()
        self.audio: Any = None  # sink of the audio file or stream
        self.player: Any = None
        self.outputs: dict[str, Any] = {}

    def record(self, synthesizer: Any, text: str) -> None:
        """Speak, then give every file its name."""
        speak_options = self._speak_options(synthesizer.config.codec)
        with ExitStack() as stack:
            try:
                self._open(text)
                started = time.perf_counter()
                speech = synthesizer.speak(text, speak_options)
                stack.callback(speech.close)
                with self.console.progress(lambda: self._progress(time.perf_counter() - started)):
                    for samples in speech:
                        self.timings.sound()
                        with self.timings.of("output"):
                            self._write(samples)
                elapsed = time.perf_counter() - started
                self._finish(synthesizer, speech, elapsed)
            except BaseException as error:
                self._abandon(error)
                raise
        self._report_end(speech, elapsed)
        if self.player is not None:
            self._play_out()

    def _play_out(self) -> None:
        try:
            self.player.finish()
        except BaseException:
            self.player.discard()
            raise

    def _speak_options(self, codec: Any) -> Any:
        from ...speech.synthesizer import SpeakOptions

        given, frames = self.given, self.given["max_frames"]
        if given["max_seconds"] is not None:
            # The addend keeps a product that rounding puts just below an integer from losing a frame.
            limit = math.floor(given["max_seconds"] * codec.sample_rate / codec.samples_per_frame + 1e-6)
            if limit < 1:
                one = codec.samples_per_frame / codec.sample_rate
                raise UsageError(f"--max-seconds {given['max_seconds']:g}: one frame is {one:g} s")
            frames = limit if frames is None else min(limit, frames)
        chosen = {name: given[name] for name in _PASSED_ON}
        if isinstance(chosen["voice"], str):
            chosen["voice"] = names_and_paths.voice(chosen["voice"])
        split = not given["no_split"]
        return SpeakOptions(seed=self.seed, max_frames=frames, split=split, live=self.plan.live, **chosen)

    def _open(self, text: str) -> None:
        for key in ("codes", "report"):
            if (path := self.given[key]) is not None and not (key == "report" and path == "-"):
                self.outputs[key] = output_files.open_output(path)
        if self.plan.path is not None:
            output = self.outputs["audio"] = output_files.open_output(self.plan.path)
            self.audio = formats.open_sink(output, self.plan.audio, SAMPLE_RATE, formats.origin_of(text, self.seed))
        if self.plan.plays:
            from ...output.player import PlayerSink

            self.player = PlayerSink(SAMPLE_RATE)

    def _write(self, samples: Any) -> None:
        self.samples += len(samples)
        if self.given["report"] is not None:
            self.digest.update(to_pcm16(samples))
        if self.audio is not None:
            self.audio.write(samples)
        if self.player is not None:
            self.player.write(samples)

    def _progress(self, elapsed: float) -> str:
        return f"{self.samples / SAMPLE_RATE:.1f} s of audio, {elapsed:.0f} s"

    def _finish(self, synthesizer: Any, speech: Any, elapsed: float) -> None:
        """Everything that can fail for want of space comes first, the renames last."""
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
            facts = json.dumps(self._facts(synthesizer, speech, elapsed))
        if "report" in self.outputs:
            self.outputs["report"].write(facts.encode() + b"\n")
            facts = None
        for output in self.outputs.values():
            output.finish()
        for output in self.outputs.values():
            output.commit()
        if facts is not None:
            click.echo(facts, err=True)

    def _facts(self, synthesizer: Any, speech: Any, elapsed: float) -> dict[str, Any]:
        first = speech.first_audio_seconds
        return {
            "frames": int(speech.frames),
            "seconds": float(speech.seconds),
            "rtf": elapsed / speech.seconds if speech.seconds else None,
            "first_audio_ms": None if first is None else first * 1000,
            "seed": self.seed,
            "sample_rate": SAMPLE_RATE,
            "stop": speech.stop,
            "pcm_sha256": self.digest.hexdigest(),
            "model": synthesizer.name,
            "voice": speech.voice,
            "language": speech.language,
            "precision": synthesizer.precision,
            "threads": synthesizer.threads,
            "batch": speech.batch,
            "timings": self.timings.facts(speech),
        }

    def _report_end(self, speech: Any, elapsed: float) -> None:
        rtf = f" (RTF {elapsed / speech.seconds:.2f})" if speech.seconds else ""
        name = "" if self.plan.path is None or output_files.is_stdout(self.plan.path) else f"{self.plan.path}: "
        self.console.note(f"{name}{speech.seconds:.2f} s of audio in {elapsed:.2f} s{rtf}, seed {self.seed}")
        if self.given["timings"]:
            click.echo(self.timings.table(speech), err=True)

    def _abandon(self, error: BaseException) -> None:
        """Leave nothing that looks like a result; a stream keeps, and closes properly, what was good.

        Each clean-up is done whatever becomes of the others: what they raise would hide `error`.
        """
        with ExitStack() as stack:
            for clean_up in reversed([*self._clean_ups(error)]):  # the stack begins with the last one
                stack.enter_context(contextlib.suppress(Exception))
                stack.callback(clean_up)
        if isinstance(error, GenerationError) and self.given["seed"] is None:
            self.console.note(f"seed {self.seed}")

    def _clean_ups(self, error: BaseException) -> Iterator[Callable[[], None]]:
        if self.player is not None:
            yield self.player.discard
        output = self.outputs.get("audio")
        if self.plan.live and self.samples and isinstance(output, output_files.Stdout) and self.audio is not None:
            # a pipe that nobody reads would keep an interrupted command waiting
            if not isinstance(error, BrokenPipeError) and (isinstance(error, Exception) or output.seekable):
                yield self.audio.finish
            yield output.commit
        if self.audio is not None:
            yield self.audio.discard
        for each in self.outputs.values():
            yield each.discard
