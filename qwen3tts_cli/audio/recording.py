"""Recordings: any file that libsndfile reads, checked and converted to mono float32 at 24 kHz.

As in the reference: the mean of the channels, soxr's HQ resampler, ceil(n * 24000 / rate) samples.
Source: qwen3_tts_model.py, _load_audio_to_np; librosa.load, librosa.resample(res_type="soxr_hq").
"""

from __future__ import annotations

import hashlib
import io
import math
import operator
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.audio_constants import SAMPLE_RATE
from ..common.sample_conversion import to_float32
from ..errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


MIN_SECONDS, MAX_SECONDS = 0.1, 600
GOOD_SECONDS = (3, 30)
_SILENT_PEAK = 1e-4
_CLIPPED = 0.999
_CLIPPED_SHARE = 1e-3
_BLOCK_FRAMES = 1 << 16
_APPENDED_SECONDS = 0.5
_TRIM_WINDOW_SECONDS, _TRIM_MARGIN_SECONDS, _TRIM_LEVEL = 0.02, 0.1, 0.01
# Letters a second of the slowest and the fastest speech; a Chinese or Japanese character counts as three letters.
_SLOWEST, _FASTEST = 2.0, 35.0
_CJK_LETTERS = 3


@dataclass(frozen=True)
class Recording:
    """A checked recording, as load_recording returns it.

    samples: float32 of shape (n,), mono, 24 kHz. name: the path of the file, or "samples". seconds: the length before
    silence is appended. sha256: the hexadecimal digest of the mono float32 samples before they were resampled.
    warnings: one line for each property that makes a worse voice.

    >>> recording = load_recording(Path("anna.wav"), trim_silence=True)
    >>> f"{recording.seconds:.1f} s", recording.warnings
    ('8.2 s', ())
    """

    samples: np.ndarray
    name: str
    seconds: float
    sha256: str
    warnings: tuple[str, ...] = ()


def load_recording(
    source: str | os.PathLike[str] | tuple[np.ndarray, int] | io.BytesIO,
    *,
    trim_silence: bool = False,
    append_silence: bool = False,
    most_samples: int | None = None,
) -> Recording:
    """Read and check a recording: a file that libsndfile reads, its content in an io.BytesIO, or (samples, rate).

    samples: shape (n,) or (n, channels); channels are averaged. Floats have full scale 1; integers have the full scale
    of their type. rate: in Hz, at least 1. trim_silence: whether to remove the silence before and after the speech,
    except for 0.1 s. append_silence: whether to add 0.5 s of silence to the end. most_samples: the most samples of a
    channel that an io.BytesIO may have, at its own rate; None: as many as 10 minutes have.
    Raises UsageError if there is no such file, or for an argument of another type or shape; InputError for audio that
    cannot be used: unreadable, empty, not finite, silent, shorter than 0.1 s or longer than 10 minutes.
    """
    if isinstance(source, tuple):
        if len(source) != 2:
            raise UsageError(f"recording: a tuple of {len(source)}, expected (samples, rate)")
        name, rate = "samples", _rate(source[1])
        mono = _from_array(source[0], rate)
    elif isinstance(source, io.BytesIO):
        name = "recording"
        mono, rate = _decode(source, name, most_samples)
    elif isinstance(source, (str, bytes, os.PathLike)):
        name = os.fsdecode(source)
        mono, rate = _read(name)
    else:
        raise UsageError(f"recording: {type(source).__name__}, expected the path of a file or (samples, rate)")
    return _checked(mono, rate, name, trim_silence, append_silence)


def transcript_warning(text: str, seconds: float) -> str | None:
    """A warning if a recording of this length cannot say this text, which makes generation run away; else None."""
    letters = sum(_CJK_LETTERS if ord(c) > 0x2E80 else 1 for c in text if c.isalnum())
    speed = letters / max(seconds, 0.1)
    if _SLOWEST <= speed <= _FASTEST:
        return None
    what = "more than anyone says" if speed > _FASTEST else "less than is spoken"
    return f"the transcript has {letters} letters, {what} in {seconds:.1f} s; a wrong one makes the speech run away"


def _rate(rate: Any) -> int:
    try:
        found = operator.index(rate)
    except TypeError:
        found = None
    if found is None or isinstance(rate, (bool, np.bool_)):
        raise UsageError(f"rate: {type(rate).__name__}, expected an integer: a recording is (samples, rate)")
    if found < 1:
        raise InputError(f"samples: a rate of {found} Hz")
    return found


def _from_array(samples: Any, rate: int) -> np.ndarray:
    """Mono samples, float32 of shape (n,): a copy, so that the Recording does not change with the caller's array."""
    mono = np.array(to_float32(samples))
    if len(mono) > MAX_SECONDS * rate:
        raise InputError(f"samples: {len(mono) / rate:.0f} s, the limit is {MAX_SECONDS} s")
    return mono


def _read(path: str) -> tuple[np.ndarray, int]:
    """The mono samples of a regular file, float32 of shape (n,), and their rate in Hz."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise InputError(f"{path}: {kind}, expected a recording")
    if status.st_size == 0:
        raise InputError(f"{path}: an empty file, expected a recording")
    return _decode(path, path)


def _decode(source: str | io.BytesIO, path: str, most: int | None = None) -> tuple[np.ndarray, int]:
    """The mono samples that libsndfile reads, float32 of shape (n,), and their rate in Hz. path: for messages. most:
    the most samples."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise InputError(f"{path}: libsndfile cannot be loaded: {error}") from None
    try:
        with soundfile.SoundFile(source) as file:
            if file.samplerate < 1 or file.channels < 1:
                raise InputError(f"{path}: {file.channels} channels at {file.samplerate} Hz")
            # Otherwise soundfile seeks after each block, which fails if the header does not tell the length.
            file.seekable = lambda: False
            blocks = list(_blocks(file, path, most))
            return (np.concatenate(blocks) if blocks else np.empty(0, np.float32)), file.samplerate
    except soundfile.LibsndfileError as error:
        if why := _other_kind(source, path):
            raise InputError(f"{path}: {why}") from None
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise InputError(f"{path}: not audio that libsndfile reads ({reason})") from None
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None


def _other_kind(source: str | io.BytesIO, path: str) -> str | None:
    """The kind of a file that libsndfile cannot read, and a command that converts it; None if the kind is unknown."""
    from ..common.file_kinds import HEAD_BYTES, why_not_recording

    with open(source, "rb") if isinstance(source, str) else io.BytesIO(source.getvalue()) as file:
        return why_not_recording(file.read(HEAD_BYTES), path)


def _too_long(path: str) -> str:
    from ..common.file_kinds import shell_quote

    cut = f"ffmpeg -ss 0 -t 30 -i {shell_quote(path)} part.wav"
    return f"the limit is {MAX_SECONDS} s (10 minutes); for a part of it: {cut}"


def _blocks(file: Any, path: str, most: int | None) -> Iterator[np.ndarray]:
    """Yield the mono samples of a file in float32 blocks of shape (n,). most: the most samples, or None. Raises
    InputError.

    The limit of the length is checked on the samples too, since the header may be wrong.
    """
    limit, seen = MAX_SECONDS * file.samplerate, 0
    if file.frames < 1 << 62 and file.frames > limit:
        raise InputError(f"{path}: {file.frames / file.samplerate:.0f} s of audio, {_too_long(path)}")
    while True:
        block = file.read(max(1, _BLOCK_FRAMES // file.channels), dtype="float32", always_2d=True)
        seen += len(block)
        if most is not None and seen > most:
            raise InputError(f"{path}: more than {most} samples, the limit here")
        if seen > limit:
            raise InputError(f"{path}: too long, {_too_long(path)}")
        if not len(block):
            return
        yield block[:, 0] if file.channels == 1 else block.mean(axis=1)


def _checked(mono: np.ndarray, rate: int, name: str, trim: bool, append: bool) -> Recording:
    if not len(mono):
        raise InputError(f"{name}: no samples")
    if not np.isfinite(mono).all():
        raise InputError(f"{name}: samples that are not finite (NaN or infinity)")
    peak = float(np.abs(mono).max())
    if peak < _SILENT_PEAK:
        raise InputError(f"{name}: silence: no sample is above {_SILENT_PEAK:g}")
    warnings = []
    if trim:
        mono = _trimmed(mono, rate)
    seconds = len(mono) / rate
    if seconds < MIN_SECONDS:
        raise InputError(f"{name}: {seconds:.3f} s, at least {MIN_SECONDS} s is needed")
    if np.mean(np.abs(mono) >= _CLIPPED) > _CLIPPED_SHARE:
        warnings.append(f"{name}: the recording is clipped; a quieter one makes a cleaner voice")
    low, high = GOOD_SECONDS
    if not low <= seconds <= high:
        advice = "too short for a good likeness" if seconds < low else "longer than needed, and slows speech down"
        warnings.append(f"{name}: {seconds:.1f} s is {advice}; {low} to {high} s is good")
    samples = resample(mono, rate, name)
    if append:
        samples = np.concatenate([samples, np.zeros(int(_APPENDED_SECONDS * SAMPLE_RATE), np.float32)])
    digest = hashlib.sha256(mono.astype("<f4").tobytes()).hexdigest()
    return Recording(np.ascontiguousarray(samples, np.float32), name, seconds, digest, tuple(warnings))


def _trimmed(mono: np.ndarray, rate: int) -> np.ndarray:
    """The recording without the parts at both ends that are 40 dB or more below its loudest window of 20 ms.

    A margin of 0.1 s at each end stays.
    """
    window = max(1, int(_TRIM_WINDOW_SECONDS * rate))
    whole = mono[: len(mono) // window * window]
    if not len(whole):
        return mono
    level = np.sqrt(np.mean(whole.reshape(-1, window).astype(np.float64) ** 2, axis=1))
    loud = np.flatnonzero(level > _TRIM_LEVEL * level.max())
    margin = int(_TRIM_MARGIN_SECONDS * rate)
    return mono[max(0, loud[0] * window - margin) : (loud[-1] + 1) * window + margin] if len(loud) else mono


def resample(mono: np.ndarray, rate: int, name: str = "samples") -> np.ndarray:
    """Resample float32 samples from `rate` Hz to 24 kHz: n samples become ceil(n * 24000 / rate). Raises InputError."""
    if rate == SAMPLE_RATE:
        return mono
    import soxr

    # As in librosa: the quotient is rounded before it is multiplied.
    length = math.ceil(len(mono) * (SAMPLE_RATE / rate))
    try:
        out = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{name}: cannot be resampled from {rate} Hz: {error}") from None
    out = np.asarray(out[:length], np.float32)
    return np.concatenate([out, np.zeros(length - len(out), np.float32)])
