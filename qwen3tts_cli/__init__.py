"""Speech from text with Qwen3-TTS on a CPU.

>>> from qwen3tts_cli import Synthesizer
>>> with Synthesizer.open() as synthesizer:
...     samples = synthesizer.say("Hello.")  # float32 of shape (n,), 24 kHz
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio.codec import Codec
    from .audio.recording import Recording, load_recording
    from .cloning.voice_file import Voice, read_voice
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
    from .narration.entry import batch, narrate
    from .scheduling.scheduler import Scheduler
    from .speech.synthesizer import SpeakOptions, Speech, Synthesizer

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
    "Scheduler",
    "SpeakOptions",
    "Speech",
    "Synthesizer",
    "UsageError",
    "Voice",
    "__version__",
    "batch",
    "load_recording",
    "narrate",
    "read_voice",
]
_MODULES = {
    "Codec": "audio.codec",
    "Recording": "audio.recording",
    "SpeakOptions": "speech.synthesizer",
    "Scheduler": "scheduling.scheduler",
    "Speech": "speech.synthesizer",
    "Synthesizer": "speech.synthesizer",
    "Voice": "cloning.voice_file",
    "batch": "narration.entry",
    "load_recording": "audio.recording",
    "narrate": "narration.entry",
    "read_voice": "cloning.voice_file",
}


def __getattr__(name: str) -> Any:
    # A name is imported at its first use, so that `qwen3tts --help` does not wait for the import of NumPy.
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module("." + _MODULES.get(name, "errors"), __name__)
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
