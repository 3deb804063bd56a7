"""What the `voice` of a request means for a model: a preset, a kept voice, or a built-in voice of the OpenAI API."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from ...common.json_fields import short_repr
from ...common.suggest import did_you_mean
from ...errors import UsageError
from ..errors import ApiError

if TYPE_CHECKING:
    from ...cloning.voice_file import Voice
    from ..engines import ServedModel
    from .kept_voices import KeptVoices

# The built-in voices of the OpenAI API, and the presets that speak for them.
BUILT_IN = {
    "alloy": "serena",
    "ash": "ryan",
    "ballad": "aiden",
    "coral": "vivian",
    "echo": "aiden",
    "fable": "ryan",
    "marin": "vivian",
    "nova": "serena",
    "onyx": "uncle_fu",
    "sage": "sohee",
    "shimmer": "ono_anna",
    "verse": "ryan",
    "cedar": "aiden",
}
_DEFAULT = ("", "default")
_NO_VOICE = "none"


def resolve_name(name: str, served: ServedModel, kept: KeptVoices) -> str | Voice | None:
    """The voice that a model speaks with when a request names `name`, in any case; None: the model's default.

    A preset of the model comes first, then a kept voice, then a built-in voice of the OpenAI API, which is the default
    where the model lacks its preset. Reads a file for a kept voice. Raises ApiError for a name that none of these has,
    and for a voice that the model cannot speak with; InputError for a damaged file of a kept voice.
    """
    key, config = name.strip().lower(), served.config
    if key in _DEFAULT:
        return None
    if key in config.speakers or (key == _NO_VOICE and config.model_type != "base"):
        return key
    found = kept.find(key)
    if found is not None:
        try:
            found.check_fits(config, served.id)
            return found
        except UsageError as error:
            if key not in BUILT_IN:
                raise _refusal(str(error), "invalid_value") from None
    if key in BUILT_IN:
        return BUILT_IN[key] if BUILT_IN[key] in config.speakers else None
    known = [*config.speakers, *kept.names()]
    raise _refusal(f"voice: found {short_repr(name)}, {_expected(served)}{did_you_mean(key, known)}", "voice_not_found")


def check_has_voice(served: ServedModel, voice: object) -> None:
    """Raise ApiError if the model speaks only with voices of others, and the request has none. voice: the Voice, name
    or recording of the request."""
    if voice is None and served.config.model_type == "base":
        raise _refusal(f"voice: {served.id} has no voice of its own, {_expected(served)}", "voice_required")


def _expected(served: ServedModel) -> str:
    if served.config.model_type == "base":
        return "expected ref_audio or a kept voice; GET /v1/audio/voices lists them"
    if not served.config.speakers:
        return f"expected none: {served.id} makes its voice from instructions"
    return f"expected a voice of {served.id}; GET /v1/audio/voices lists them"


def _refusal(message: str, code: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, code=code, param="voice", retry=False)
