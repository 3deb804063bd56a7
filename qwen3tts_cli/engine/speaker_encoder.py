"""The speaker encoder of a base model, which computes the speaker vector of a recording.

Source: modeling_qwen3_tts.py, Qwen3TTSSpeakerEncoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._native import ffi, lib
from .standalone import Standalone, check_encoded, mono_samples

if TYPE_CHECKING:
    from pathlib import Path

    from ..models.config.encoders import SpeakerConfig
    from .binding import Tensor


class SpeakerEncoder(Standalone):
    """The speaker encoder of a base model; a context manager. Calls from several threads take turns.

    path: the checkpoint's folder, for errors. tensors: the result of models.encoder_tensor_specs.collect_speaker.
    threads: the number of threads that compute, the caller's included. cpu_mask: see engine.model.Model.
    Raises CheckpointError, EngineError.
    """

    def __init__(
        self,
        path: Path,
        config: SpeakerConfig,
        tensors: list[Tensor],
        *,
        threads: int = 1,
        cpu_mask: int = lib.Q3T_CPU_ALL,
    ) -> None:
        self.config = config
        native = ffi.new("q3t_speaker_config *")
        native.layers, native.scale, native.se = len(config.channels), config.scale, config.se_channels
        native.attention, native.embedding = config.attention_channels, config.embedding
        for name in ("channels", "kernels", "dilations"):
            values = getattr(config, name)
            getattr(native, name)[0 : len(values)] = values
        self._open("speaker", "speaker encoder", path, native, tensors, threads, cpu_mask)

    def embed(self, samples: np.ndarray) -> np.ndarray:
        """Compute the speaker vector, float32 of shape (config.embedding,).

        samples: at 24 kHz, shape (n,) or (n, channels), at least 0.1 s.

        Raises UsageError for another dtype or shape, InputError for samples that are not finite, EngineError.
        """
        samples = mono_samples(samples)
        out = np.empty(self.config.embedding, np.float32)
        with self.lifetime.alone():
            status = lib.q3t_speaker_embed(
                self._handle, ffi.from_buffer("float[]", samples), len(samples), ffi.from_buffer("float[]", out)
            )
        check_encoded(status, "speaker encoder")
        return out

    def mel(self, samples: np.ndarray) -> np.ndarray:
        """The log-mel spectrogram that `embed` computes first: float32 of shape (n // 256, 128). Raises as `embed`."""
        samples = mono_samples(samples)
        out = np.empty((len(samples) // 256, 128), np.float32)
        with self.lifetime.alone():
            status = lib.q3t_speaker_mel(
                self._handle, ffi.from_buffer("float[]", samples), len(samples), ffi.from_buffer("float[]", out)
            )
        check_encoded(status, "mel spectrogram")
        return out
