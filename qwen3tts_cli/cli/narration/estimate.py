"""`narrate --dry-run`: what a narration would be, without speaking it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from ...books.selection import list_chapters
from ...common.audio_constants import SAMPLE_RATE
from ...scheduling.guard import expected_seconds
from ..console import Console

if TYPE_CHECKING:
    from ...books.document import Document
    from ...narration.options import NarrateOptions

# bytes for a second of mono speech: of 16 bits, and as measured on the embedded voice
_BYTES = {"flac": 25_000, "ogg": 8_000, "opus": 6_500, "mp3": 8_000, "m4b": 8_000, "m4a": 8_000, "aac": 8_000}
_SAMPLE = "It was late that evening, and the rain had not stopped for three days."


def show_estimate(document: Document, chapters: list[int], chosen: NarrateOptions, given: dict[str, Any]) -> None:
    """Print chapters, characters, and the estimated length, time and size. The time is measured on one sentence."""
    found = [each for each in list_chapters(document) if each["number"] - 1 in set(chapters)]
    seconds = (
        sum(
            expected_seconds(paragraph.text) + chosen.pause_paragraph
            for index in chapters
            for paragraph in document.chapters[index].paragraphs
        )
        / chosen.speed
    )
    extension = (given["output"] or "").rpartition(".")[2].lower()
    extension = extension if extension in (*_BYTES, "wav") else chosen.audio_format or "opus"
    size = seconds * _BYTES.get(extension, 2 * chosen.rate)
    facts = {
        "chapters": len(found),
        "characters": sum(int(each["characters"]) for each in found),
        "seconds": round(seconds),
        "time": round(seconds * chosen.speed * _measured_rtf(chosen, given)),
        "bytes": round(size),
        "format": extension,
    }
    if given["as_json"]:
        click.echo(json.dumps(facts))
        return
    click.echo(f"{facts['chapters']} chapters, {facts['characters']} characters")
    click.echo(f"about {seconds / 3600:.1f} hours of speech, {size / 1e6:.0f} MB of {extension}")
    click.echo(f"about {facts['time'] / 3600:.1f} hours to speak it on this machine")


def _measured_rtf(chosen: NarrateOptions, given: dict[str, Any]) -> float:
    """Seconds that a second of speech takes on this machine, several segments together."""
    import numpy as np

    from ...speech.reader import default_batch
    from ..open_model import open_model

    with open_model(Console(True), given)[0] as synthesizer:
        batch = chosen.batch or default_batch(synthesizer.model)
        voice = chosen.speak.voice
        if voice is None and synthesizer.config.model_type == "base":  # any recording takes the same time
            hum = 0.1 * np.sin(np.arange(2 * SAMPLE_RATE, dtype=np.float32) / 20)
            voice = synthesizer.clone((hum, SAMPLE_RATE), on_warning=lambda line: None)
        options = {"voice": voice, "language": chosen.speak.language, "seed": 1, "retries": 0}
        synthesizer.say(_SAMPLE, **options, max_frames=5)
        began = time.perf_counter()
        made = synthesizer.say_many([_SAMPLE] * batch, batch=batch, **options, max_frames=25)
        elapsed = time.perf_counter() - began
    return elapsed / (sum(map(len, made)) / SAMPLE_RATE)
