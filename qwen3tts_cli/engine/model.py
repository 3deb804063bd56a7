"""A model in the C engine; every array is checked before its pointer is taken."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .._native import ffi, lib
from ..common.lifetime import Lifetime
from ..errors import CheckpointError, EngineError
from .binding import DTYPES, check, describe, error_of, free_handle, native_config, pointer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..models.checkpoint import Checkpoint
    from .session import Session


def _of_codec(slot: str) -> bool:
    return getattr(lib, f"Q3T_W_{slot}") >= lib.Q3T_W_FIRST_SUM


class Model:
    """An opened checkpoint in the engine. Any number of threads may step sessions of one model; steps take turns.

    `close` and fork: see lifetime.py; a child of a fork may use the model unless it was forked during a step.
    checkpoint: kept, with its mapped files, until `close`. threads: workers, the caller included.
    cpu_mask: narrows the instruction sets, for tests. packed: (slot name, layer) -> (dtype, bytes as of pack_rows) of
    the matrices to be used in another precision than the checkpoint's. codec: the block of engine_codec.pack_codec, in
    place of the codec's tensors. Raises CheckpointError or EngineError.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        threads: int = 1,
        cpu_mask: int = lib.Q3T_CPU_ALL,
        packed: Mapping[tuple[str, int], tuple[str, np.ndarray]] | None = None,
        codec: np.ndarray | None = None,
    ) -> None:
        self.checkpoint, self.config, self.threads = checkpoint, checkpoint.config, threads
        tensors = checkpoint.tensors if codec is None else [t for t in checkpoint.opened if not _of_codec(t[0])]
        self._arrays = [codec]  # what C points into
        self._text = checkpoint.text_rows()
        self.weight_bytes: dict[str, int] = {}  # of all tensors of a slot, as they are read
        native = ffi.new("q3t_tensor[]", len(tensors))
        for out, (slot, layer, array) in zip(native, tensors, strict=True):
            if slot == "TEXT_EMBEDDING" and self._text is not None:
                array = self._text.array
            elif array.ctypes.data % array.itemsize:
                array = array.copy()
            describe(out, array)
            out.slot, out.layer = getattr(lib, f"Q3T_W_{slot}"), layer
            if packed is not None and (slot, layer) in packed:
                dtype, array = packed[slot, layer]
                out.dtype, out.data = DTYPES[dtype], ffi.cast("void *", array.ctypes.data)
            self._arrays.append(array)
            self.weight_bytes[slot] = self.weight_bytes.get(slot, 0) + array.nbytes
        config = native_config(self.config, {slot for slot, _, _ in tensors})
        options = ffi.new("q3t_model_options *", {"cpu_mask": cpu_mask, "threads": threads})
        if codec is not None:
            options.codec, options.codec_bytes = pointer(codec, np.uint8, "unsigned char[]"), codec.nbytes
        handle = ffi.new("q3t_model **")
        # Before it is opened: an interrupt that came during that is raised at once, and the handle would be lost.
        self.lifetime = Lifetime("model", partial(free_handle, lib.q3t_model_close, handle, self._arrays))
        self.lifetime.watch(self)
        status = lib.q3t_model_open(config, native, len(tensors), options, handle)
        if status in (lib.Q3T_E_CONFIG, lib.Q3T_E_SHAPE):
            raise CheckpointError(f"{checkpoint.config.path}: {ffi.string(lib.q3t_status_text(status)).decode()}")
        check(status, "opening the model")
        self._handle = handle[0]
        self._expect_text(np.array([self.config.tts_pad_id]))

    def _expect_text(self, *ids: np.ndarray) -> None:
        """See to it that these text ids, but for those below 0, can be embedded."""
        if (text := self._text) is not None:
            wanted = np.concatenate(ids)
            text.read(wanted[wanted >= 0])

    def close(self) -> None:
        """End the step that another thread is in, close the sessions, and release the model; see lifetime.py."""
        self.lifetime.close()
        self._arrays, self._text = [], None

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def position_bytes(self) -> int:
        """Bytes of the talker's cache that a step reads for each position before it."""
        with self.lifetime.call():
            return lib.q3t_model_position_bytes(self._handle)

    def step(self, sessions: Sequence[Session]) -> None:
        """Advance each session by one frame. Raises GenerationError or EngineError for the first that failed."""
        for error in filter(None, self.advance(sessions)):
            raise error

    def advance(self, sessions: Sequence[Session]) -> list[Exception | None]:
        """Advance each session by one frame; what went wrong with each. Raises EngineError if the model is closed."""
        handles = ffi.new("q3t_session *[]", len(sessions))
        status = ffi.new("int32_t[]", len(sessions))
        refused: dict[int, EngineError] = {}
        with self.lifetime.alone(), ExitStack() as calls:
            for i, session in enumerate(sessions):
                try:
                    calls.enter_context(session.lifetime.alone())
                    handles[i] = session._handle
                except EngineError as error:
                    refused[i] = error
            check(lib.q3t_step(self._handle, handles, len(sessions), status), "step")
            self.lifetime.check()
            if any(not s._stepped for s in sessions):
                self.checkpoint.forget_text()
                for s in sessions:
                    s._stepped = True
        return [refused.get(i) or error_of(code, "generation failed") for i, code in enumerate(status)]
