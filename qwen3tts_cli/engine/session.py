"""A session of the C engine: one utterance of a model. Every array is checked before its pointer is taken."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .._native import ffi, lib
from ..common.lifetime import Lifetime
from .binding import check, free_handle, pointer
from .records import SessionInfo

if TYPE_CHECKING:
    from ..text.prompt import Prompt
    from .model import Model
    from .records import Sampling

READ_SAMPLES = 65536
RUNNING, STOP_EOS, STOP_MAX_FRAMES = lib.Q3T_RUNNING, lib.Q3T_STOP_EOS, lib.Q3T_STOP_MAX_FRAMES


def _info_of(info) -> SessionInfo:
    return SessionInfo(*(getattr(info, name) for name in SessionInfo.__dataclass_fields__))


class Session:
    """One utterance of a model; a context manager. `read` and `codes` may be called between steps.

    Every call of a session that was closed, by itself or with its model, raises EngineError.

    prompt: see prompt.Prompt. speaker: float32 (hidden,). reference_codes: int32 (frames, code_groups).
    key: what, with seed, the draws depend on. max_frames: most frames made; min_frames: the model may not end before.
    chunk_frames: 0 = 1, 2, 4, then 8.
    pipeline: decode on a thread of its own instead of inside `Model.step`.
    """

    def __init__(
        self,
        model: Model,
        prompt: Prompt,
        *,
        talker: Sampling,
        predictor: Sampling,
        seed: int,
        key: int,
        max_frames: int,
        min_frames: int = 0,
        chunk_frames: int = 0,
        pipeline: bool = False,
        speaker: np.ndarray | None = None,
        reference_codes: np.ndarray | None = None,
    ) -> None:
        self.model, self._handle, self._stepped = model, None, False
        groups = model.config.num_code_groups
        frames = 0 if reference_codes is None else len(reference_codes)
        p = ffi.new("q3t_session_params *")
        p.rows, p.prefix_rows, p.trailing = len(prompt.text_ids), prompt.prefix_rows, len(prompt.trailing_ids)
        p.text_ids = pointer(prompt.text_ids, np.int32, "int32_t[]")
        p.codec_ids = pointer(prompt.codec_ids, np.int32, "int32_t[]", prompt.text_ids.shape)
        p.trailing_ids = pointer(prompt.trailing_ids, np.int32, "int32_t[]")
        p.speaker = pointer(speaker, np.float32, "float[]", (model.config.talker.hidden_size,))
        p.reference_codes, p.reference_frames = (
            pointer(reference_codes, np.int32, "int32_t[]", (frames, groups)),
            frames,
        )
        for out, s in ((p.talker, talker), (p.predictor, predictor)):
            out.greedy, out.temperature, out.top_k, out.top_p = int(s.greedy), s.temperature, s.top_k, s.top_p
            out.repetition_penalty = s.repetition_penalty
        p.seed, p.key, p.max_frames, p.min_frames = seed, key, max_frames, min_frames
        p.chunk_frames, p.pipeline = chunk_frames, int(pipeline)
        handle = ffi.new("q3t_session **")
        with model.lifetime.call():
            model._expect_text(prompt.text_ids, prompt.trailing_ids)
            self.lifetime = Lifetime("session", partial(free_handle, lib.q3t_session_close, handle), inherited=False)
            self.lifetime.watch(self)
            model.lifetime.adopt(self.lifetime)
            check(lib.q3t_session_open(model._handle, p, handle), "opening a session")
            self._handle = handle[0]
        self._samples = np.empty(READ_SAMPLES, np.float32)
        self._count, self._info = ffi.new("int32_t *"), ffi.new("q3t_session_info *")

    def close(self) -> None:
        """Free everything, once a step that another thread is in has ended."""
        self.lifetime.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read(self, wait: bool = False) -> np.ndarray:
        """Decoded samples that are waiting: float32 (n,), a copy; empty if there are none.

        wait: in pipeline mode, block until there are some or none will come without another step.
        """
        samples = ffi.from_buffer("float[]", self._samples)
        with self.lifetime.alone():
            check(lib.q3t_session_read(self._handle, samples, READ_SAMPLES, int(wait), self._count), "reading samples")
            return self._samples[: self._count[0]].copy()

    def progress(self, first: int) -> tuple[SessionInfo, np.ndarray, np.ndarray]:
        """`info`, the codes of the frames from `first` on, and `read()`, in one call."""
        with self.lifetime.alone():
            check(lib.q3t_session_info_get(self._handle, self._info), "session")
            info = _info_of(self._info)
            codes = np.empty((info.frames - first, self.model.config.num_code_groups), np.int32)
            if len(codes):
                out = ffi.from_buffer("int32_t[]", codes)
                check(lib.q3t_session_codes(self._handle, first, len(codes), out), "reading codes")
            samples = ffi.from_buffer("float[]", self._samples)
            check(lib.q3t_session_read(self._handle, samples, READ_SAMPLES, 0, self._count), "reading samples")
            return info, codes, self._samples[: self._count[0]].copy()

    def codes(self, first: int, n: int) -> np.ndarray:
        """Frames first .. first + n - 1: int32 (n, code_groups)."""
        out = np.empty((n, self.model.config.num_code_groups), np.int32)
        with self.lifetime.alone():
            if n:
                check(lib.q3t_session_codes(self._handle, first, n, ffi.from_buffer("int32_t[]", out)), "reading codes")
        return out

    @property
    def info(self) -> SessionInfo:
        """Where the session stands."""
        with self.lifetime.alone():
            check(lib.q3t_session_info_get(self._handle, self._info), "session")
            return _info_of(self._info)

    def peek(self, what: str, shape: tuple[int, ...]) -> np.ndarray:
        """An intermediate value, for tests: PREFILL, LOGITS, ... of q3t_peek, float32 of that shape."""
        out = np.empty(shape, np.float32)
        buffer = ffi.from_buffer("float[]", out)
        with self.lifetime.alone():
            status = lib.q3t_session_peek(self._handle, getattr(lib, f"Q3T_PEEK_{what}"), buffer, out.size)
        check(status, f"peek {what}")
        return out
