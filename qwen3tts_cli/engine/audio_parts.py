"""The parts of the engine without a language model: recording to speaker vector or to codes, codes to samples.

Each is opened when it is needed, with weights and threads of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .._native import ffi, lib
from ..common.arguments import refuse
from ..common.lifetime import Lifetime
from ..common.reader import Reader
from ..common.sample_conversion import to_float32
from ..errors import CheckpointError, EngineError, InputError
from .binding import check, fill_codec, fill_transformer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..models.config.encoders import EncoderConfig, SpeakerConfig
    from ..models.config.model import CodecConfig

    _P = TypeVar("_P", bound="_Part")

_Tensors = list[tuple[str, int, np.ndarray]]
MAX_CHUNK = 64  # frames that the decoder takes at once


def _native_tensors(tensors: _Tensors) -> tuple[object, list[np.ndarray]]:
    """q3t_tensor[] of (slot name, layer, array), and the arrays that it points into."""
    native, kept = ffi.new("q3t_tensor[]", len(tensors)), []
    for out, (slot, layer, array) in zip(native, tensors, strict=True):
        if array.ctypes.data % array.itemsize:
            array = array.copy()
        kept.append(array)
        out.slot, out.layer, out.dims = getattr(lib, f"Q3T_W_{slot}"), layer, array.ndim
        out.dtype = lib.Q3T_BF16 if array.dtype == np.uint16 else lib.Q3T_F32
        out.shape[0 : array.ndim] = array.shape
        out.data = ffi.cast("void *", array.ctypes.data)
    return native, kept


def _open(kind: str, path: Path, config: object, tensors: _Tensors, threads: int, cpu_mask: int) -> object:
    """A q3t_<kind>, which packs its weights: nothing is kept of the tensors."""
    native, _kept = _native_tensors(tensors)
    options = ffi.new("q3t_model_options *", {"cpu_mask": cpu_mask, "threads": threads})
    handle = ffi.new(f"q3t_{kind} **")
    status = getattr(lib, f"q3t_{kind}_open")(config, native, len(tensors), options, handle)
    if status in (lib.Q3T_E_CONFIG, lib.Q3T_E_SHAPE):
        raise CheckpointError(f"{path}: {kind}: {ffi.string(lib.q3t_status_text(status)).decode()}")
    check(status, f"opening the {kind}")
    return handle[0]


def _mono(samples: np.ndarray) -> np.ndarray:
    """Checked samples: contiguous float32 (n,), finite."""
    samples = to_float32(samples)
    if len(samples) >= 2**30:
        raise InputError(f"samples: {len(samples)} of them, the limit is {2**30 - 1}")
    if not np.isfinite(samples).all():
        raise InputError("samples: some are not finite")
    return samples


def _encoded(status: int, what: str) -> None:
    if status == lib.Q3T_E_STOPPED:
        raise EngineError(f"the {what} is closed")
    if status == lib.Q3T_E_ENCODER_NONFINITE:
        raise CheckpointError(f"{what}: values that are not finite; the checkpoint is damaged")
    check(status, what)


class _Part:
    """Something of the engine with a handle; a context manager. Its calls take turns; every call after `close` raises
    EngineError."""

    _handle: object
    lifetime: Lifetime

    def _own(self, kind: str, what: str, handle: object) -> None:
        """Take over a q3t_<kind>."""
        stop = getattr(lib, f"q3t_{kind}_stop", None)
        options = {} if stop is None else {"stop": partial(stop, handle)}
        self._handle = handle
        self.lifetime = Lifetime(what, partial(getattr(lib, f"q3t_{kind}_close"), handle), **options)
        self.lifetime.watch(self)

    def close(self) -> None:
        """Release the weights, once what another thread has it do has ended early; see lifetime.py."""
        self.lifetime.close()

    def __enter__(self: _P) -> _P:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class SpeakerEncoder(_Part):
    """The speaker encoder of a base model; a context manager. Calls from several threads take turns.

    tensors: as weights_encoders.collect_speaker gives them. path: what an error names. Raises CheckpointError,
    EngineError.
    """

    def __init__(
        self, path: Path, config: SpeakerConfig, tensors: _Tensors, *, threads: int = 1, cpu_mask: int = lib.Q3T_CPU_ALL
    ) -> None:
        self.config = config
        native = ffi.new("q3t_speaker_config *")
        native.layers, native.scale, native.se = len(config.channels), config.scale, config.se_channels
        native.attention, native.embedding = config.attention_channels, config.embedding
        for name in ("channels", "kernels", "dilations"):
            values = getattr(config, name)
            getattr(native, name)[0 : len(values)] = values
        self._own("speaker", "speaker encoder", _open("speaker", path, native, tensors, threads, cpu_mask))

    def embed(self, samples: np.ndarray) -> np.ndarray:
        """samples: 0.1 s or more at 24 kHz, as pcm.to_float32 takes them. Returns float32 (config.embedding,).

        Raises UsageError and InputError for samples that cannot be used, EngineError.
        """
        samples = _mono(samples)
        out = np.empty(self.config.embedding, np.float32)
        with self.lifetime.alone():
            status = lib.q3t_speaker_embed(
                self._handle, ffi.from_buffer("float[]", samples), len(samples), ffi.from_buffer("float[]", out)
            )
        _encoded(status, "speaker encoder")
        return out

    def mel(self, samples: np.ndarray) -> np.ndarray:
        """The log-mel spectrogram behind `embed`: float32 (n // 256, 128)."""
        samples = _mono(samples)
        out = np.empty((len(samples) // 256, 128), np.float32)
        with self.lifetime.alone():
            status = lib.q3t_speaker_mel(
                self._handle, ffi.from_buffer("float[]", samples), len(samples), ffi.from_buffer("float[]", out)
            )
        _encoded(status, "mel spectrogram")
        return out


class CodecEncoder(_Part):
    """The encoder of the codec; a context manager. Calls from several threads take turns.

    tensors: as weights_encoders.collect_encoder gives them. path: what an error names. Raises CheckpointError,
    EngineError.
    """

    def __init__(
        self, path: Path, config: EncoderConfig, tensors: _Tensors, *, threads: int = 1, cpu_mask: int = lib.Q3T_CPU_ALL
    ) -> None:
        self.config = config
        native = ffi.new("q3t_encoder_config *")
        fill_transformer(native.transformer, config.transformer)
        native.filters, native.kernel, native.last_kernel = config.filters, config.kernel, config.last_kernel
        native.residual_kernel, native.compress, native.units = config.residual_kernel, config.compress, config.units
        native.dilation_growth, native.halving = config.dilation_growth, config.halving
        native.stages, native.rates[0 : len(config.rates)] = len(config.rates), config.rates
        native.code_groups, native.codebook_size = config.num_quantizers, config.codebook_size
        native.codebook_dim = config.codebook_dim
        self._own("encoder", "codec encoder", _open("encoder", path, native, tensors, threads, cpu_mask))

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """samples: n of them at 24 kHz, as pcm.to_float32 takes them. Returns int32 (ceil(n / samples_per_frame),
        num_quantizers).

        Raises UsageError and InputError for samples that cannot be used, EngineError.
        """
        samples = _mono(samples)
        frames = -(-len(samples) // self.config.samples_per_frame)
        out = np.empty((frames, self.config.num_quantizers), np.int32)
        with self.lifetime.alone():
            status = lib.q3t_encoder_run(
                self._handle, ffi.from_buffer("float[]", samples), len(samples), ffi.from_buffer("int32_t[]", out)
            )
        _encoded(status, "codec encoder")
        return out


def _parts(codes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Frames that the decoder takes at once, and the number of the first."""
    for first in range(0, len(codes), MAX_CHUNK):
        yield first, codes[first : first + MAX_CHUNK]


class CodecDecoder(_Part):
    """The decoder of the codec; a context manager. One stream at a time: a new one ends the one before.

    tensors: as weights.collect_decoder gives them. path: what an error names. Raises CheckpointError, EngineError.
    """

    def __init__(
        self, path: Path, config: CodecConfig, tensors: _Tensors, *, threads: int = 1, cpu_mask: int = lib.Q3T_CPU_ALL
    ) -> None:
        self.config = config
        native = ffi.new("q3t_config *")
        fill_codec(native, config)
        self._stream: object = None
        self._own("decoder", "codec decoder", _open("decoder", path, native, tensors, threads, cpu_mask))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """codes: integers (frames, num_quantizers). Returns float32 (frames * samples_per_frame,) at 24 kHz.

        Raises InputError for codes out of range, UsageError for what is no array of numbers, GenerationError for values
        that are not finite.
        """
        codes = self.check(codes)
        with self.lifetime.alone():  # all of it, or another stream could begin in between
            self._stream = None
            parts = [self._run(first == 0, part) for first, part in _parts(codes)]
        return np.concatenate([np.empty(0, np.float32), *parts])

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Decode consecutive frames as they come: yields float32 samples of at most 64 frames. How the frames are cut
        changes nothing. Raises UsageError at once for what is no iterable; then as `decode` does, and EngineError once
        another stream has begun."""
        if not isinstance(blocks, Iterable):
            refuse("blocks", blocks, "an iterable of integers (frames, code groups)")
        return Reader("stream of the codec", self._stream_of(blocks), self.lifetime)

    def _stream_of(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        stream, restart = object(), True
        for block in blocks:
            for _, part in _parts(self.check(block)):
                with self.lifetime.alone():
                    if restart:
                        self._stream = stream
                    elif self._stream is not stream:
                        raise EngineError("decoding: another stream has begun")
                    samples = self._run(restart, part)
                yield samples
                restart = False

    def _run(self, restart: bool, codes: np.ndarray) -> np.ndarray:
        """To be called alone."""
        samples = np.empty(len(codes) * self.config.samples_per_frame, np.float32)
        buffers = ffi.from_buffer("int32_t[]", codes), len(codes), ffi.from_buffer("float[]", samples)
        status = lib.q3t_decoder_run(self._handle, int(restart), *buffers)
        self.lifetime.check()
        check(status, "decoding")
        return samples

    def check(self, codes: np.ndarray) -> np.ndarray:
        """The codes as int32, if they are of this codec. Raises InputError, and UsageError for what is no array."""
        groups, size = self.config.num_quantizers, self.config.codebook_size
        try:
            array = np.asarray(codes)
        except (TypeError, ValueError, OverflowError):
            array = np.asarray(None)
        if array.dtype.kind not in "biufc":
            refuse("codes", codes, f"integers (frames, {groups})")
        codes = array
        if codes.ndim != 2 or codes.shape[1] != groups or codes.dtype.kind not in "iu":
            raise InputError(f"codes: found {codes.dtype} {list(codes.shape)}, expected integers (frames, {groups})")
        if codes.size and (codes.min() < 0 or codes.max() >= size):
            raise InputError(f"codes: values from {codes.min()} to {codes.max()}, expected 0 to {size - 1}")
        return np.ascontiguousarray(codes, np.int32)
