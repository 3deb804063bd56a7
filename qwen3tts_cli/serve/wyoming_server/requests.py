"""What a Wyoming client asks for: a whole text, or a text that it sends in pieces."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeTextFormat

from ..errors import ApiError
from ..live.growing_text import GrowingText, text_too_long

if TYPE_CHECKING:
    from wyoming.event import Event
    from wyoming.tts import SynthesizeVoice


_VOICE_FIELDS = ("name", "language")


class SpeechRequest(NamedTuple):
    """A text to speak. text: a GrowingText where the client sends it in pieces."""

    text: str | GrowingText
    voice: SynthesizeVoice | None


def whole_request(event: Event, most: int) -> SpeechRequest:
    """The request of an event `synthesize`. most: characters of a text. Raises ApiError."""
    asked = _parse(Synthesize, event)
    _check(asked, event)
    if len(asked.text) > most:
        raise text_too_long(most)
    return SpeechRequest(asked.text, asked.voice)


def growing_request(event: Event, most: int) -> SpeechRequest:
    """The request of an event `synthesize-start`. Raises ApiError."""
    asked = _parse(SynthesizeStart, event)
    _check(asked, event)
    return SpeechRequest(GrowingText(most), asked.voice)


def text_of(event: Event) -> str:
    """The text of an event `synthesize-chunk`. Raises ApiError."""
    asked = _parse(SynthesizeChunk, event)
    if not isinstance(asked.text, str):
        raise refusal(f"text: found a JSON {type(asked.text).__name__}, expected a text")
    return asked.text


def refusal(message: str) -> ApiError:
    """The error for an event that is wrong."""
    return ApiError(HTTPStatus.BAD_REQUEST, message, code="invalid_value", retry=False)


def _parse(kind: type[Any], event: Event) -> Any:
    try:
        return kind.from_event(event)
    except (AttributeError, KeyError, TypeError):
        raise refusal(f"{event.type}: a field is missing or has another type") from None


def _check(asked: Synthesize | SynthesizeStart, event: Event) -> None:
    """Refuse fields of other types, and SSML, whose tags would be spoken."""
    voice = event.data.get("voice") or {}
    if not isinstance(voice, dict) or any(not isinstance(voice.get(name) or "", str) for name in _VOICE_FIELDS):
        raise refusal("voice: found fields of other types, expected an object with a name or a language")
    if isinstance(asked, Synthesize) and not isinstance(asked.text, str):
        raise refusal(f"text: found a JSON {type(asked.text).__name__}, expected a text")
    if asked.text_format not in (None, SynthesizeTextFormat.TEXT):
        raise refusal(f"text_format: found {asked.text_format!r:.40}, expected text")
