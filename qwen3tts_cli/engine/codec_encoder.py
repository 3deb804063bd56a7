"""The encoder of the codec, which encodes a recording to codes.

Source: modeling_mimi.py, MimiEncoder, MimiTransformerModel, MimiSplitResidualVectorQuantizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._native import ffi, lib
from .binding import fill_transformer
from .standalone import Standalone, check_encoded, mono_samples

if TYPE_CHECKING:
    from pathlib import Path

    from ..models.config.encoders import EncoderConfig
    from .binding import Tensor


class CodecEncoder(Standalone):
    """The encoder of the codec; a context manager. Calls from several threads take turns.

    path: the checkpoint's folder, for errors. tensors: the result of models.encoder_tensor_specs.collect_encoder.
    threads: the number of threads that compute, the caller's included. cpu_mask: see engine.model.Model.
    Raises CheckpointError, EngineError.
    """

    def __init__(
        self,
        path: Path,
        config: EncoderConfig,
        tensors: list[Tensor],
        *,
        threads: int = 1,
        cpu_mask: int = lib.Q3T_CPU_ALL,
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
        self._open("encoder", "codec encoder", path, native, tensors, threads, cpu_mask)

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """Encode samples at 24 kHz, an array of shape (n,) or (n, channels).

        Returns codes, int32 of shape (ceil(n / samples_per_frame), num_quantizers).

        Raises UsageError for another dtype or shape, InputError for samples that are not finite, EngineError.
        """
        samples = mono_samples(samples)
        frames = -(-len(samples) // self.config.samples_per_frame)
        out = np.empty((frames, self.config.num_quantizers), np.int32)
        with self.lifetime.alone():
            status = lib.q3t_encoder_run(
                self._handle, ffi.from_buffer("float[]", samples), len(samples), ffi.from_buffer("int32_t[]", out)
            )
        check_encoded(status, "codec encoder")
        return out
