"""The options that `narrate` and `batch` share: how a text is spoken, and what becomes of the segments."""

from __future__ import annotations

from typing import Any

import click

from .. import options
from ..commands.voices_recording import silences

# Options that are fields of SpeakOptions of the same name.
SPEAK_OPTIONS = (
    "language", "instruct", "design", "greedy", "temperature", "top_k", "top_p", "repetition_penalty",
    "subtalker_temperature", "subtalker_top_k", "subtalker_top_p", "text_mode",
)  # fmt: skip


def pause(name: str, default: float, text: str) -> Any:
    """Declare an option for the length of a pause in seconds."""
    kind = options.Number(0, 10)
    return click.option(name, type=kind, default=default, show_default=True, metavar="S", help=text)


_VOICE = (
    options.voice("A preset voice, a kept voice, or a voice file. [default: the model's first]"),
    options.reference,
    options.ref_text,
    silences,
    options.design,
    options.language("by the script, else the model chooses"),
    options.instruct,
)
_ENGINE = (
    options.model,
    options.engine,
    options.no_cache,
    options.seed_setting,
    options.greedy,
    options.sampling,
    options.text_mode,
    options.speed_setting,
    options.rate_setting,
    options.retries("New attempts for a segment that fails a check; 0: no runaway guard either."),
    options.batch,
)
_SEGMENTS = (
    options.lexicon,
    click.option(
        "--lufs",
        type=options.Number(-50, -5),
        metavar="X",
        help="Loudness of each chapter in LUFS, such as -18. [default: the voice's]",
    ),
    options.file(
        "--verify", metavar="MODEL", help="Hear each segment with a model of faster-whisper, a folder or a cached name."
    ),
    click.option(
        "--max-wer",
        type=options.Number(0, 10),
        default=0.3,
        show_default=True,
        metavar="X",
        help="With --verify: a segment with a greater word error rate fails.",
    ),
    pause("--pause-sentence", 0.25, "Seconds between segments of a paragraph."),
    pause("--pause-paragraph", 0.6, "Seconds between paragraphs."),
    click.option("--keep", is_flag=True, help="Keep the folder of segments when all is done."),
    click.option(
        "--progress",
        type=options.Choice("auto", "json"),
        default="auto",
        help="json: a line of JSON on stderr for each change. [default: auto]",
    ),
    options.quiet,
)


def speaking(command: Any) -> Any:
    """Declare the options of both commands."""
    for decorate in reversed((*_VOICE, *_ENGINE, *_SEGMENTS)):
        command = decorate(command)
    return command
