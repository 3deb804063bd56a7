"""A session of the C engine, which generates one utterance, its sampling settings, and the record of its progress."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._native import ffi, lib
from ..common.lifetime import Lifetime
from ..errors import EngineError
from .binding import check_status, free_handle, pointer

if TYPE_CHECKING:
    from ..text.prompt import Prompt
    from .model import Model

READ_SAMPLES = 65536
RUNNING, STOP_EOS, STOP_MAX_FRAMES = lib.Q3T_RUNNING, lib.Q3T_STOP_EOS, lib.Q3T_STOP_MAX_FRAMES


class Sampling(NamedTuple):
    """How a language model chooses codes; see q3t_sampling in native/q3t.h. `top_k` 0 and `top_p` 1 are off."""

    greedy: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0


class SessionInfo(NamedTuple):
    """The progress of a session, and the seconds spent in each stage.

    state: RUNNING, STOP_EOS or STOP_MAX_FRAMES. frames: the number of frames generated. decoded: how many of them the
    codec's decoder has decoded. positions: how many positions of the talker's KV cache are in use. cached_rows: how
    many prompt rows were taken from the prefix cache. rows_left, reference_left: how many prompt rows and reference
    frames are not taken in yet. needs_text: 1 if a step makes no frame before `Session.append` is called, else 0.
    """

    state: int
    frames: int
    decoded: int
    positions: int
    cached_rows: int
    rows_left: int
    reference_left: int
    needs_text: int
    prefill_seconds: float
    talker_seconds: float
    predictor_seconds: float
    codec_seconds: float


def _info_of(info: Any) -> SessionInfo:
    return SessionInfo(
        info.state, info.frames, info.decoded, info.positions, info.cached_rows, info.rows_left, info.reference_left,
        info.needs_text, info.prefill_seconds, info.talker_seconds, info.predictor_seconds, info.codec_seconds,
    )  # fmt: skip


class Session:
    """The generation of one utterance by a model; a context manager. `Model.step` advances it by one frame.

    `read`, `codes` and `progress` may be called between steps. Every call after the session or its model was closed
    raises EngineError.

    prompt: the rows of the talker's input. talker, predictor: how the two language models choose codes.
    seed, key: 64-bit integers that the random draws depend on. max_frames: the most frames that are generated.
    min_frames: the number of frames before which the model cannot end the utterance.
    chunk_frames: frames that the decoder decodes at a time, 1 to 64; 0 means 1, 2, 4, then always 8.
    pipeline: whether to decode on a separate thread instead of inside `Model.step`.
    speaker: the speaker vector, float32 of shape (hidden,). reference_codes: int32 of shape (frames, code_groups).
    forced_codes: codes that the first frames get instead of chosen codes, int32 of shape (frames, code_groups); see
    engine/forced.py. open_text: whether `append` will add trailing ids to those of the prompt.
    Raises EngineError for an array of another dtype or shape, or if memory or a thread is not available.
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
        forced_codes: np.ndarray | None = None,
        open_text: bool = False,
    ) -> None:
        self.model, self._handle = model, None
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
        if forced_codes is not None:
            p.forced_codes = pointer(forced_codes, np.int32, "int32_t[]", (len(forced_codes), groups))
            p.forced_frames = len(forced_codes)
        for out, s in ((p.talker, talker), (p.predictor, predictor)):
            out.greedy, out.temperature, out.top_k, out.top_p = int(s.greedy), s.temperature, s.top_k, s.top_p
            out.repetition_penalty = s.repetition_penalty
        p.seed, p.key, p.max_frames, p.min_frames = seed, key, max_frames, min_frames
        p.chunk_frames, p.pipeline, p.open_text = chunk_frames, int(pipeline), int(open_text)
        handle = ffi.new("q3t_session **")
        with model.lifetime.call():
            model._load_text_rows(prompt.text_ids, prompt.trailing_ids)
            self.lifetime = Lifetime("session", partial(free_handle, lib.q3t_session_close, handle), inherited=False)
            self.lifetime.watch(self)
            model.lifetime.adopt(self.lifetime)
            check_status(lib.q3t_session_open(model._handle, p, handle), "opening a session")
            self._handle = handle[0]
        self._samples = np.empty(READ_SAMPLES, np.float32)
        self._count, self._info = ffi.new("int32_t *"), ffi.new("q3t_session_info *")

    def _reserve(self, rows: int) -> EngineError | None:
        """Make room in the KV cache for the positions of a step: of the prompt the rows that are left, at most `rows`,
        then one. Returns an error if memory is short. The caller holds the lifetimes of model and session."""
        check_status(lib.q3t_session_info_get(self._handle, self._info), "session")
        used, left = self._info.positions, self._info.rows_left
        needed = 0 if self._info.needs_text else min(left, rows) if left else 1
        status = lib.q3t_session_reserve(self._handle, needed)
        if status != lib.Q3T_E_MEMORY:
            check_status(status, "making room in the KV cache")
            return None
        size = (used + needed) * lib.q3t_model_position_bytes(self.model._handle) / 1e6
        return EngineError(
            f"the KV cache could not grow to {used + needed} positions ({size:.0f} MB): not enough memory"
        )

    def close(self) -> None:
        """Wait for a step that another thread runs, then free the session."""
        self.lifetime.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def append(self, ids: np.ndarray, last: bool) -> None:
        """Append trailing text ids to a session with `open_text`, between two steps.

        ids: int32 of shape (n,); n may be 0. last: whether no more will come. The caller ends a text with the id of
        tts_eos. Raises EngineError, and nothing changes, after the last id, for an array of another dtype or shape, for
        an id outside of the text vocabulary, and if there are more trailing ids than positions.
        """
        native = pointer(ids, np.int32, "int32_t[]", (ids.size,))
        with self.lifetime.alone():
            self.model._load_text_rows(ids)
            check_status(lib.q3t_session_append(self._handle, native, len(ids), int(last)), "appending text")

    def read(self, wait: bool = False) -> np.ndarray:
        """Take the next decoded samples: a new float32 array of shape (n,), n <= READ_SAMPLES; n is 0 if none wait.

        wait: in pipeline mode, whether to block until samples are there or no more can come without another step.
        """
        samples = ffi.from_buffer("float[]", self._samples)
        with self.lifetime.alone():
            check_status(
                lib.q3t_session_read(self._handle, samples, READ_SAMPLES, int(wait), self._count), "reading samples"
            )
            return self._samples[: self._count[0]].copy()

    def progress(self, first: int) -> tuple[SessionInfo, np.ndarray, np.ndarray]:
        """Return (`info`, codes, samples) in one call: the codes of frame `first` and all later frames, int32 of shape
        (n, code_groups), and the samples that `read()` returns."""
        with self.lifetime.alone():
            check_status(lib.q3t_session_info_get(self._handle, self._info), "session")
            info = _info_of(self._info)
            codes = np.empty((info.frames - first, self.model.config.num_code_groups), np.int32)
            if len(codes):
                out = ffi.from_buffer("int32_t[]", codes)
                check_status(lib.q3t_session_codes(self._handle, first, len(codes), out), "reading codes")
            samples = ffi.from_buffer("float[]", self._samples)
            check_status(lib.q3t_session_read(self._handle, samples, READ_SAMPLES, 0, self._count), "reading samples")
            return info, codes, self._samples[: self._count[0]].copy()

    def codes(self, first: int, n: int) -> np.ndarray:
        """The codes of frames `first` to `first + n - 1`: int32 of shape (n, code_groups)."""
        out = np.empty((n, self.model.config.num_code_groups), np.int32)
        with self.lifetime.alone():
            if n:
                check_status(
                    lib.q3t_session_codes(self._handle, first, n, ffi.from_buffer("int32_t[]", out)), "reading codes"
                )
        return out

    @property
    def info(self) -> SessionInfo:
        """The progress of the session."""
        with self.lifetime.alone():
            check_status(lib.q3t_session_info_get(self._handle, self._info), "session")
            return _info_of(self._info)

    def peek(self, what: str, shape: tuple[int, ...]) -> np.ndarray:
        """An intermediate result, for tests: float32 of the given shape.

        what: the name of an enumerator of q3t_peek in native/q3t.h without its prefix, such as "LOGITS".
        """
        out = np.empty(shape, np.float32)
        buffer = ffi.from_buffer("float[]", out)
        with self.lifetime.alone():
            status = lib.q3t_session_peek(self._handle, getattr(lib, f"Q3T_PEEK_{what}"), buffer, out.size)
        check_status(status, f"peek {what}")
        return out
