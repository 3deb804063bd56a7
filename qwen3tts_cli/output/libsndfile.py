"""Imports soundfile, whose library libsndfile may be missing."""

from __future__ import annotations

from typing import Any

from ..errors import OutputError


def load_soundfile(extension: str) -> Any:
    """The module soundfile. extension: the extension of the output, for the message. Raises OutputError if it cannot
    be loaded."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise OutputError(f".{extension} needs libsndfile, which cannot be loaded ({error}); .wav does not") from None
    return soundfile
