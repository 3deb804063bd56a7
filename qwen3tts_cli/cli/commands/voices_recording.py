"""Cloning a voice from a recording, for `say --ref` and `voices create`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ...cloning.voice_file import Voice
    from ...speech.synthesizer import Synthesizer
    from ..console import Console


def silences(command: Any) -> Any:
    """Declare --trim-silence and --append-silence."""
    for option, text in (
        ("--append-silence", "Add 0.5 s of silence to the end of the recording."),
        ("--trim-silence", "Cut silence before and after the speech of the recording."),
    ):
        command = click.option(option, is_flag=True, help=text)(command)
    return command


def clone(
    synthesizer: Synthesizer, console: Console, path: str, text: str | None, given: dict[str, Any], **facts: Any
) -> Voice:
    """Clone the voice of the recording in the file `path`; warnings about the recording go to the console.

    text: the text that the recording says, or None. given: the parsed options, among them those that `silences`
    declares. facts: see Synthesizer.clone, which raises the same errors.
    """
    from ...audio.recording import load_recording
    from ...cloning import clone as cloning

    cloning.check_can_clone(synthesizer.config, synthesizer.name, path)
    recording = load_recording(path, trim_silence=given["trim_silence"], append_silence=given["append_silence"])
    return synthesizer.clone(recording, text, on_warning=console.warning, **facts)
