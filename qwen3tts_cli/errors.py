"""The exceptions that this package raises.

A message is one line: the operation that failed, the file and field if there is one, the value found and the limit.
Each class also inherits the builtin exception that a caller would expect, and holds the exit code of the command line.
"""

from __future__ import annotations


class Qwen3TTSError(Exception):
    """Base class of all errors of this package."""

    exit_code = 1


class UsageError(Qwen3TTSError, ValueError):
    """The request is wrong: an unknown voice or language, a bad option, a text without a letter or digit."""

    exit_code = 2


class InputError(Qwen3TTSError, ValueError):
    """A file or an array that the user gave cannot be read, or its contents are malformed."""


class CheckpointError(Qwen3TTSError, ValueError):
    """A file of a model is missing or damaged, or a value in it is inconsistent or out of range."""


class ModelNotFoundError(Qwen3TTSError, LookupError):
    """The model is not on this machine."""

    exit_code = 3


class DownloadError(Qwen3TTSError, OSError):
    """A download failed, or the downloaded file does not have the expected digest."""


class ServerError(Qwen3TTSError, ConnectionError):
    """A server cannot be reached, refuses to serve now, or its answer is cut off or not of this program."""


class OutputError(Qwen3TTSError, OSError):
    """The output cannot be written: the disk is full, the folder is read-only."""


class EngineError(Qwen3TTSError, RuntimeError):
    """The native engine failed (memory, threads), or an object is used after it was closed."""


class OutOfMemoryError(EngineError):
    """There is not enough memory for one more stream, or for the models of a server."""


class GenerationError(Qwen3TTSError, RuntimeError):
    """Generation failed: every attempt at an utterance ran away, or the model computed values that are not finite."""

    exit_code = 4
