"""Every error this package raises on purpose.

A message is one line that names what failed, the file and field where there is one, the value found and the limit.
Each class also inherits the builtin that a caller would expect, and carries the exit code of the command line.
"""

from __future__ import annotations


class Qwen3TTSError(Exception):
    """Base of all errors of this package."""

    exit_code = 1


class UsageError(Qwen3TTSError, ValueError):
    """A request that cannot be met: unknown voice or language, bad option, text that cannot be spoken."""

    exit_code = 2


class InputError(Qwen3TTSError, ValueError):
    """A file of the user's that is unreadable or malformed."""


class CheckpointError(Qwen3TTSError, ValueError):
    """A model file that is missing, corrupt, inconsistent or out of range."""


class ModelNotFoundError(Qwen3TTSError, LookupError):
    """No such model on this machine."""

    exit_code = 3


class DownloadError(Qwen3TTSError, OSError):
    """A download that failed or came out wrong."""


class OutputError(Qwen3TTSError, OSError):
    """Output that cannot be written: full disk, read-only folder."""


class EngineError(Qwen3TTSError, RuntimeError):
    """A failure of the native engine: memory, threads."""


class GenerationError(Qwen3TTSError, RuntimeError):
    """Speech that did not come out well: runaway after all retries, or values that are not finite."""

    exit_code = 4
