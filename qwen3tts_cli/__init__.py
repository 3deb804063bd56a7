"""Speech from text with Qwen3-TTS on a CPU.

>>> from qwen3tts_cli import Synthesizer
>>> with Synthesizer.open() as synthesizer:
...     samples = synthesizer.say("Hello.")  # float32, (samples,), 24 kHz
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "DownloadError",
    "EngineError",
    "GenerationError",
    "InputError",
    "ModelNotFoundError",
    "OutputError",
    "Qwen3TTSError",
    "SpeakOptions",
    "Speech",
    "Synthesizer",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # The engine brings NumPy with it, which `qwen3tts --help` must not wait for: names are looked up when asked for.
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "errors" if name.endswith("Error") else "synthesizer"
    return getattr(importlib.import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
