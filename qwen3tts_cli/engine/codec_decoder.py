"""The decoder of the codec, which decodes codes to samples, opened without a language model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from .._native import ffi, lib
from ..common.arguments import refuse
from ..common.shared_iterator import SharedIterator
from ..errors import EngineError, InputError
from .binding import check_status, fill_codec
from .standalone import Standalone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..models.config.model import CodecConfig
    from .binding import Tensor

MAX_CHUNK = 64  # frames that the decoder decodes in one call


def _chunks(codes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Consecutive chunks of at most MAX_CHUNK frames, each with the number of its first frame."""
    for first in range(0, len(codes), MAX_CHUNK):
        yield first, codes[first : first + MAX_CHUNK]


class CodecDecoder(Standalone):
    """The decoder of the codec; a context manager. It has the state of one stream: a new stream ends the one before.

    path: the checkpoint's folder, for errors. tensors: the result of models.tensor_specs.collect_decoder.
    threads: the number of threads that compute, the caller's included. cpu_mask: see engine.model.Model.
    Raises CheckpointError, EngineError.
    """

    def __init__(
        self,
        path: Path,
        config: CodecConfig,
        tensors: list[Tensor],
        *,
        threads: int = 1,
        cpu_mask: int = lib.Q3T_CPU_ALL,
    ) -> None:
        self.config = config
        native = ffi.new("q3t_config *")
        fill_codec(native, config)
        self._stream: object = None
        self._open("decoder", "codec decoder", path, native, tensors, threads, cpu_mask)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Decode codes, integers of shape (frames, num_quantizers).

        Returns samples at 24 kHz, float32 of shape (frames * samples_per_frame,).

        Raises UsageError for anything but an array of numbers, InputError for another shape or codes out of range,
        GenerationError for samples that are not finite, EngineError.
        """
        codes = self.check(codes)
        with self.lifetime.alone():  # held for all chunks, so that no other stream begins between two of them
            self._stream = None
            samples = [self._run(first == 0, chunk) for first, chunk in _chunks(codes)]
        return np.concatenate([np.empty(0, np.float32), *samples])

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Decode blocks of consecutive frames, each as soon as `blocks` yields it.

        blocks: arrays of codes, int32 of shape (frames, code groups). Yields arrays of samples, float32 of shape (n,),
        each for at most 64 frames; the samples do not depend on how the frames are cut into blocks. Raises UsageError
        at once if `blocks` is not iterable. The returned iterator raises as `decode` does, and EngineError after
        `decode` or `stream` was called again.
        """
        if not isinstance(blocks, Iterable):
            refuse("blocks", blocks, "an iterable of integers (frames, code groups)")
        return SharedIterator("stream of the codec", self._stream_of(blocks), self.lifetime)

    def _stream_of(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        stream, restart = object(), True
        for block in blocks:
            for _, chunk in _chunks(self.check(block)):
                with self.lifetime.alone():
                    if restart:
                        self._stream = stream
                    elif self._stream is not stream:
                        raise EngineError("decoding: another stream has begun")
                    samples = self._run(restart, chunk)
                yield samples
                restart = False

    def _run(self, restart: bool, codes: np.ndarray) -> np.ndarray:
        """Decode one chunk; the caller is inside `lifetime.alone`. restart: whether to forget the frames before."""
        samples = np.empty(len(codes) * self.config.samples_per_frame, np.float32)
        buffers = ffi.from_buffer("int32_t[]", codes), len(codes), ffi.from_buffer("float[]", samples)
        status = lib.q3t_decoder_run(self._handle, int(restart), *buffers)
        self.lifetime.check()
        check_status(status, "decoding")
        return samples

    def check(self, codes: np.ndarray) -> np.ndarray:
        """The codes as a contiguous int32 array of shape (frames, num_quantizers).

        Raises UsageError for anything but an array of numbers, InputError for another shape or codes out of range.
        """
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
