"""What commands share that take a recording of a voice: options, and the voice with its warnings shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ...cloning.voice_file import Voice
    from ...speech.synthesizer import Synthesizer
    from ..console import Console


def silences(command: Any) -> Any:
    """Declare what may be done to a recording: --trim-silence and --append-silence."""
    for option, text in (
        ("--append-silence", "Add 0.5 s of silence to the end of the recording."),
        ("--trim-silence", "Cut silence before and behind the speech of the recording."),
    ):
        command = click.option(option, is_flag=True, help=text)(command)
    return command


def clone(
    synthesizer: Synthesizer, console: Console, path: str, text: str | None, given: dict[str, Any], **facts: Any
) -> Voice:
    """The voice of a recording; what may spoil it is a note. Raises as Synthesizer.clone does."""
    from ...audio.recording import load_recording
    from ...cloning import clone as cloning

    cloning.check_can_clone(synthesizer.config, synthesizer.name, path)
    recording = load_recording(path, trim_silence=given["trim_silence"], append_silence=given["append_silence"])
    return synthesizer.clone(recording, text, on_warning=console.warning, **facts)
