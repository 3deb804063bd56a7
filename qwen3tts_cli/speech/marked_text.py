"""A text with markup or a lexicon: its parts, each with the plan of its voice, and the silence of its pauses."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from ..common.audio_constants import SAMPLE_RATE
from ..errors import UsageError
from ..spoken_text.markup_tags import Pause, PauseBudget, Text, VoiceChange, parse_markup
from .plan import make_plan
from .reader import Silence

if TYPE_CHECKING:
    from ..spoken_text.markup_tags import Piece
    from .plan import SpeechPlan
    from .speak_options import SpeakOptions
    from .synthesizer import Synthesizer


def marked_parts(
    synthesizer: Synthesizer, text: str, plan: SpeechPlan, options: SpeakOptions
) -> list[tuple[str, SpeechPlan] | Silence]:
    """Return the parts of a text in order: (text, plan), at least one, or the silence of a pause.

    plan: that of the options. Raises UsageError, with the line, for markup that cannot be read or a voice that the
    model does not have.
    """
    pieces: list[Piece] = [Text(text)]
    if options.markup:
        warn = options.on_warning or synthesizer.on_warning or warnings.warn
        pieces = parse_markup(text, 1, PauseBudget(warn))
    has_tags = len(pieces) > 1
    if not any(isinstance(piece, Text) for piece in pieces):
        pieces.append(Text(" "))  # so that there is a text which nothing can be said of
    plans: dict[str | None, SpeechPlan] = {None: plan}
    parts: list[tuple[str, SpeechPlan] | Silence] = []
    now = plan
    for piece in pieces:
        if isinstance(piece, VoiceChange):
            if piece.name not in plans:
                plans[piece.name] = _plan_of(synthesizer, piece, plan, options)
            now = plans[piece.name]
        elif isinstance(piece, Pause):
            # a pause keeps its length at other speeds
            if samples := round(piece.seconds * SAMPLE_RATE * plan.speed):
                parts.append(Silence(samples))
        else:
            spoken = piece.text.strip() if has_tags else piece.text
            parts.append((options.lexicon.apply(spoken, now.language) if options.lexicon else spoken, now))
    return parts


def _plan_of(synthesizer: Synthesizer, change: VoiceChange, plan: SpeechPlan, options: SpeakOptions) -> SpeechPlan:
    """The plan of the text behind a change of the voice: the plan of the options, with another voice."""
    chosen = replace(options, voice=change.name, ref_audio=None, ref_text=None, seed=plan.seed)
    try:
        return make_plan(synthesizer, chosen)
    except UsageError as error:
        raise UsageError(f"line {change.line}: {error}") from None
