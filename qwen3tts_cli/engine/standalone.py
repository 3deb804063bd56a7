"""The base class of the speaker encoder, the codec encoder and the codec decoder, and checks that they share.

Each of them is opened by itself, without a language model, with its own weights and its own threads.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .._native import ffi, lib
from ..common.lifetime import Lifetime
from ..common.sample_conversion import to_float32
from ..errors import CheckpointError, EngineError, InputError
from .binding import check_open_status, check_status, native_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from .binding import Tensor

    _P = TypeVar("_P", bound="Standalone")

_MAX_SAMPLES = 2**30 - 1


class Standalone:
    """An engine object with a C handle; a context manager. Its calls take turns and raise EngineError after `close`."""

    _handle: Any
    lifetime: Lifetime

    def _open(
        self, kind: str, what: str, path: Path, config: Any, tensors: list[Tensor], threads: int, cpu_mask: int
    ) -> None:
        """Open a q3t_<kind> of the engine. Opening packs the weights: the tensors are not read afterwards.

        what: the object's name in errors. path: the checkpoint's folder, for errors. config: a C struct.
        Raises CheckpointError, EngineError.
        """
        native, _arrays = native_tensors(tensors)
        options = ffi.new("q3t_model_options *", {"cpu_mask": cpu_mask, "threads": threads})
        opened = ffi.new(f"q3t_{kind} **")
        status = getattr(lib, f"q3t_{kind}_open")(config, native, len(tensors), options, opened)
        check_open_status(status, path, kind)
        handle = self._handle = opened[0]
        stop = getattr(lib, f"q3t_{kind}_stop", None)
        given = {} if stop is None else {"stop": partial(stop, handle)}
        self.lifetime = Lifetime(what, partial(getattr(lib, f"q3t_{kind}_close"), handle), **given)
        self.lifetime.watch(self)

    def close(self) -> None:
        """Free the weights, after the running call of another thread; an encoder ends that call early."""
        self.lifetime.close()

    def __enter__(self: _P) -> _P:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def mono_samples(samples: np.ndarray) -> np.ndarray:
    """Samples as the encoders take them: contiguous, finite, float32 of shape (n,). See to_float32 for valid `samples`.

    Raises UsageError for another dtype or shape, InputError for too many samples or samples that are not finite.
    """
    samples = to_float32(samples)
    if len(samples) > _MAX_SAMPLES:
        raise InputError(f"samples: {len(samples)} of them, the limit is {_MAX_SAMPLES}")
    if not np.isfinite(samples).all():
        raise InputError("samples: some are not finite")
    return samples


def check_encoded(status: int, what: str) -> None:
    """Raise for the status of an encoder's call: EngineError, or CheckpointError for values that are not finite."""
    if status == lib.Q3T_E_STOPPED:
        raise EngineError(f"the {what} is closed")
    if status == lib.Q3T_E_ENCODER_NONFINITE:
        raise CheckpointError(f"{what}: values that are not finite; the checkpoint is damaged")
    check_status(status, what)
