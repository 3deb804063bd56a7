"""Speech from text with Qwen3-TTS on a CPU.

>>> from qwen3tts_cli import Synthesizer
>>> with Synthesizer.open() as synthesizer:
...     samples = synthesizer.say("Hello.")  # float32, (samples,), 24 kHz
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio import Recording, load_recording
    from .codec import Codec
    from .errors import (
        CheckpointError,
        DownloadError,
        EngineError,
        GenerationError,
        InputError,
        ModelNotFoundError,
        OutputError,
        Qwen3TTSError,
        UsageError,
    )
    from .synthesizer import SpeakOptions, Speech, Synthesizer
    from .voicefile import Voice, read_voice

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "Codec",
    "DownloadError",
    "EngineError",
    "GenerationError",
    "InputError",
    "ModelNotFoundError",
    "OutputError",
    "Qwen3TTSError",
    "Recording",
    "SpeakOptions",
    "Speech",
    "Synthesizer",
    "UsageError",
    "Voice",
    "__version__",
    "load_recording",
    "read_voice",
]
_MODULES = {
    "Codec": "codec",
    "Recording": "audio",
    "Voice": "voicefile",
    "load_recording": "audio",
    "read_voice": "voicefile",
}


def __getattr__(name: str) -> Any:
    # The engine brings NumPy with it, which `qwen3tts --help` must not wait for: names are looked up when asked for.
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "errors" if name.endswith("Error") else _MODULES.get(name, "synthesizer")
    return getattr(importlib.import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
