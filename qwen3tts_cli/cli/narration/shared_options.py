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
    options.setting(
        "-v",
        "--voice",
        metavar="NAME",
        shell_complete=options.completion.voices,
        help="A preset voice, a kept voice, or a voice file. [default: the model's first]",
    ),
    options.file("--ref", help="Speak with the voice of a recording (base models)."),
    click.option(
        "--ref-text", metavar="TEXT", help="What the recording says, word for word; makes the voice more similar."
    ),
    silences,
    click.option("--design", metavar="TEXT", help="Speak with a voice of this description (1.7b-design)."),
    options.setting(
        "-l",
        "--language",
        metavar="NAME",
        shell_complete=options.completion.languages,
        help="Language: english, en, zh, ...; auto: by the script, else the model chooses.",
    ),
    options.setting("--instruct", metavar="TEXT", help="How to speak, in words (1.7B models)."),
)
_ENGINE = (
    options.model,
    options.engine,
    options.no_cache,
    options.seed_setting,
    click.option("--greedy", is_flag=True, help="Always take the likeliest code."),
    options.sampling,
    options.setting(
        "--text-mode",
        type=options.Choice("full", "streaming"),
        help="Give the model the full text at the start, or a token with each frame.",
    ),
    options.speed_setting,
    options.rate_setting,
    options.setting(
        "--retries",
        type=options.Integer(0, 1000),
        default=2,
        show_default=True,
        metavar="N",
        help="New attempts for a segment that fails a check; 0: no runaway guard either.",
    ),
    options.batch,
)
_SEGMENTS = (
    options.file(
        "--lexicon",
        metavar="FILE.tsv",
        help="Replace words: lines of from, to, language (or empty), flags i (any case) and w (whole word).",
    ),
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
