"""One run of `say`: where the audio goes, the engine, the loop, and the files that appear only when all went well."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import stat
import sys
from contextlib import ExitStack
from typing import Any

import click

from .. import outputs, play, settings, sinks
from ..errors import GenerationError, OutputError, UsageError
from ..pcm import to_pcm16
from .console import Console, clock

SAMPLE_RATE = 24000
_SPEAK_OPTIONS = (
    "voice",
    "language",
    "instruct",
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
)
_NOTED = "large-models-note"


def speak(text: str, given: dict[str, Any]) -> None:
    """Speak `text` with the options of `say`. Raises Qwen3TTSError, BrokenPipeError."""
    console = Console(given["quiet"])
    plan = Plan(given)
    if given["model"] is None:
        _note_large_models(console)
    _Run(text, given, plan, console).go()


class Plan:
    """Where the audio goes; made, and refused, before anything is opened."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.path: str | None = given["output"]
        self.live: bool = given["stream"]
        self.plays: bool = given["play"]
        for option in ("codes", "report"):
            _check_name(f"--{'json' if option == 'report' else option}", given[option], option == "report")
        _check_name("-o", self.path, True)
        if self.path is None and not self.plays:
            self._choose_output(given["raw"])
        elif self.plays and (reason := play.why_not()):
            raise OutputError(f"--play: {reason}")
        self.audio: sinks.AudioFormat | None = None
        if self.path is not None:
            self.audio = self._format(given["subtype"], given["raw"])
        elif given["raw"]:
            raise UsageError("--raw and --play without -o: nothing would be written")

    def _choose_output(self, raw: bool) -> None:
        if sys.stdout is None or not sys.stdout.isatty():
            self.path = "-"
        elif raw:
            raise UsageError("raw audio is not written to a terminal, add -o FILE or pipe it")
        elif reason := play.why_not():
            raise UsageError(f"audio is not written to a terminal and cannot be played ({reason}), add -o FILE")
        else:
            self.plays = True

    def _format(self, subtype: str | None, raw: bool) -> sinks.AudioFormat:
        path = self.path or ""
        if outputs.is_stdout(path) and sys.stdout is not None and sys.stdout.isatty():
            raise UsageError("-o -: audio is not written to a terminal, name a file or pipe it")
        nameless = outputs.is_stdout(path) or (outputs.is_special(path) and not os.path.splitext(path)[1])
        audio = sinks.choose_format(None if nameless else path, subtype, raw, SAMPLE_RATE)
        if self.live and outputs.is_stdout(path) and not audio.streams:
            raise UsageError(f"--stream writes PCM_16, FLOAT or DOUBLE to stdout, not {audio.subtype}")
        return audio


def _check_name(option: str, path: str | None, dash: bool) -> None:
    if path is None:
        return
    if not path or "\0" in path:
        raise UsageError(f"{option}: {'an empty name' if not path else 'a name with a NUL character'}")
    if outputs.is_stdout(path) and not dash:
        raise UsageError(f"{option} {path}: needs the name of a file")


def _note_large_models(console: Console) -> None:
    """Once on a machine: how to get the large models. That it cannot be remembered is no error."""
    if console.quiet:
        return
    mark = settings.state_folder() / _NOTED
    if mark.exists():
        return
    console.note(
        "note: this is the small embedded voice; for the large ones: qwen3tts models pull 0.6b, then say -m 0.6b"
    )
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:
        pass


class _Run:
    def __init__(self, text: str, given: dict[str, Any], plan: Plan, console: Console) -> None:
        self.text, self.given, self.plan, self.console = text, given, plan, console
        self.seed = secrets.randbits(64) if given["seed"] is None else given["seed"]
        self.digest = hashlib.sha256()
        self.samples = 0
        self.outputs: list[Any] = []
        self.sinks: list[Any] = []

    def go(self) -> None:
        from ..synthesizer import Synthesizer

        given = self.given
        with ExitStack() as stack:
            synthesizer = stack.enter_context(
                Synthesizer.open(
                    given["model"],
                    precision=given["precision"],
                    decoder_precision=given["decoder_precision"],
                    threads=given["threads"],
                )
            )
            options = self._speak_options(synthesizer.config.codec)
            stack.callback(self._discard)
            self._open_outputs()
            speech = synthesizer.speak(self.text, options)
            if close := getattr(speech, "close", None):
                stack.callback(close)
            self._pump(speech)
            self._finish(synthesizer, speech)
            stack.pop_all().close() if False else None

    def _speak_options(self, codec: Any) -> Any:
        from ..synthesizer import SpeakOptions

        given = self.given
        frames = given["max_frames"]
        if given["max_seconds"] is not None:
            # The small addend keeps a product such as 0.56 * 12.5, that falls short of its integer, on it.
            limit = math.floor(given["max_seconds"] * codec.sample_rate / codec.samples_per_frame + 1e-6)
            if limit < 1:
                one = codec.samples_per_frame / codec.sample_rate
                raise UsageError(f"--max-seconds {given['max_seconds']:g}: one frame is {one:g} seconds")
            frames = min(limit, options_limit()) if frames is None else min(limit, frames)
        chosen = {name: given[name] for name in _SPEAK_OPTIONS}
        return SpeakOptions(
            **chosen, seed=self.seed, max_frames=frames, split=not given["no_split"], live=self.plan.live
        )
