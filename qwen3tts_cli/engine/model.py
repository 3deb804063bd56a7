"""A model in the C engine: an opened checkpoint and the steps that advance its sessions."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .._native import ffi, lib
from ..common.lifetime import Lifetime
from ..errors import EngineError
from .binding import check_open_status, check_status, free_handle, native_config, native_tensors, pointer, status_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..models.checkpoint import Checkpoint
    from .binding import PackedMatrices
    from .pool import ThreadPool
    from .session import Session


NO_LIMIT = 2**31 - 1


def _is_codec_slot(slot: str) -> bool:
    return getattr(lib, f"Q3T_W_{slot}") >= lib.Q3T_W_FIRST_SUM


class Model:
    """An opened checkpoint in the engine. Several threads may step sessions of one model; their steps take turns.

    checkpoint: stays open, with its mapped files, until `close`. threads: the number of threads that compute, the
    caller's included. pool: threads that the model shares with others, instead of `threads` of its own. cpu_mask: the
    instruction sets that may be used, Q3T_CPU_* flags; tests clear some of them. packed: maps (slot name, layer) to
    (format, bytes that engine.packing.pack_rows writes); these matrices replace the checkpoint's. codec: the uint8
    block that engine.packing.pack_codec writes; it replaces the codec's tensors.
    `close` and fork: see common/lifetime.py; a forked child may use the model unless the fork came during a step.
    Raises CheckpointError, EngineError.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        threads: int = 1,
        pool: ThreadPool | None = None,
        cpu_mask: int = lib.Q3T_CPU_ALL,
        packed: PackedMatrices | None = None,
        codec: np.ndarray | None = None,
    ) -> None:
        self.checkpoint, self.config = checkpoint, checkpoint.config
        self.threads, self.cpu_mask, self.pool = pool.threads if pool else threads, cpu_mask, pool
        self._text_rows = checkpoint.text_embedding_rows()
        tensors = checkpoint.tensors if codec is None else [t for t in checkpoint.collected if not _is_codec_slot(t[0])]
        if (rows := self._text_rows) is not None:
            tensors = [(s, layer, rows.array if s == "TEXT_EMBEDDING" else array) for s, layer, array in tensors]
        native, arrays = native_tensors(tensors, packed)
        self.weight_bytes: dict[str, int] = {}  # slot name: bytes of its tensors in the format that is used
        for (slot, _, _), array in zip(tensors, arrays, strict=True):
            self.weight_bytes[slot] = self.weight_bytes.get(slot, 0) + array.nbytes
        self._arrays = [codec, *arrays]  # C points into their memory
        config = native_config(self.config, set(self.weight_bytes))
        options = ffi.new("q3t_model_options *", {"cpu_mask": cpu_mask, "threads": self.threads})
        if codec is not None:
            options.codec, options.codec_bytes = pointer(codec, np.uint8, "unsigned char[]"), codec.nbytes
        handle = ffi.new("q3t_model **")
        # The lifetime exists before the open call, so that an interrupt right after that call cannot lose the handle.
        self.lifetime = Lifetime("model", partial(free_handle, lib.q3t_model_close, handle, self._arrays))
        self.lifetime.watch(self)
        with self._pool_turn():
            if pool is not None:
                pool.lifetime.adopt(self.lifetime)
                options.pool = pool._handle
            status = lib.q3t_model_open(config, native, len(tensors), options, handle)
        check_open_status(status, checkpoint.config.path)
        self._handle, self._projections = handle[0], 0
        self._load_text_rows(np.array([self.config.tts_pad_id]))

    def _pool_turn(self) -> AbstractContextManager[None]:
        """Return a context manager for a call that computes. Models that share a pool compute one at a time."""
        return nullcontext() if self.pool is None else self.pool.lifetime.alone()

    def _load_text_rows(self, *ids: np.ndarray) -> None:
        """Copy the embedding rows of text ids, int32 of shape (n,), before C reads them. Other ids have no row."""
        if (rows := self._text_rows) is not None:
            wanted = np.concatenate(ids)
            rows.read(wanted[(wanted >= 0) & (wanted < len(rows.array))])

    def close(self) -> None:
        """Wait for a step that another thread runs, close the sessions, and free the model; see common/lifetime.py."""
        self.lifetime.close()
        self._arrays, self._text_rows = [], None

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def position_bytes(self) -> int:
        """Bytes of the talker's KV cache for one position. A step reads as many for each earlier position."""
        with self.lifetime.call():
            return lib.q3t_model_position_bytes(self._handle)

    def session_bytes(
        self,
        rows: int,
        *,
        positions: int,
        max_frames: int,
        trailing: int = 0,
        open_text: bool = False,
        reference_frames: int = 0,
        speaker: bool = False,
        chunk_frames: int = 0,
        pipeline: bool = False,
    ) -> int:
        """The bytes of memory that a session takes at most once it has used `positions` positions, before it is opened.

        rows: the rows of its prompt. trailing: the number of trailing ids. speaker: whether it has a speaker vector.
        The others are as for Session; reference_frames counts the frames of the reference codes.
        Raises EngineError for numbers that no session of this model can have.
        """
        p, size = ffi.new("q3t_session_params *"), ffi.new("size_t *")
        p.rows, p.trailing, p.reference_frames, p.max_frames = rows, trailing, reference_frames, max_frames
        p.chunk_frames, p.pipeline, p.open_text = chunk_frames, int(pipeline), int(open_text)
        vector = ffi.new("float[1]") if speaker else ffi.NULL
        p.speaker = vector
        with self.lifetime.call():
            check_status(lib.q3t_session_bytes(self._handle, p, positions, size), "the memory of a session")
            return size[0]

    def step(self, sessions: Sequence[Session]) -> None:
        """Advance each session by one frame. Raises the error of the first session that failed; see `advance`."""
        for error in filter(None, self.advance(sessions)):
            raise error

    def advance(
        self, sessions: Sequence[Session], rows: int | None = None, spread: bool = False
    ) -> list[Exception | None]:
        """Advance each session by one frame. Returns for each session None or its GenerationError or EngineError.

        rows: how many prompt rows of all sessions together are taken in at most, at least 1; None: no limit. A session
        makes its first frame in the step that takes in the last row of its prompt. spread: whether decoding is spread
        over the steps, so that they take about the same time, instead of decoding sessions together, which is quicker.
        See q3t_step in native/q3t.h.
        Before the step the KV cache of each session gets room for the positions that the step may use. A session that
        fails, is closed or gets no room does not hinder the others. Raises EngineError if the model is closed or `rows`
        is less than 1.
        """
        handles = ffi.new("q3t_session *[]", len(sessions))
        status = ffi.new("int32_t[]", len(sessions))
        budget = NO_LIMIT if rows is None else min(max(rows, 0), NO_LIMIT)
        refused: dict[int, EngineError] = {}
        with self.lifetime.alone(), self._pool_turn(), ExitStack() as calls:
            for i, session in enumerate(sessions):
                try:
                    calls.enter_context(session.lifetime.alone())
                    if (error := session._reserve(budget)) is None:
                        handles[i] = session._handle
                    else:
                        refused[i] = error
                except EngineError as error:
                    refused[i] = error
            check_status(lib.q3t_step(self._handle, handles, len(sessions), budget, spread, status), "step")
            self.lifetime.check()
            if self._projections != (projections := lib.q3t_model_projections(self._handle)):
                self._projections = projections
                self.checkpoint.drop_text_projection_pages()
        return [refused.get(i) or status_error(code, "generation failed") for i, code in enumerate(status)]
