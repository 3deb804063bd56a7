"""Models and sessions over the C engine; every array is checked before its pointer is taken."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ._native import ffi, lib
from .engine_native import DTYPES, check, describe, error_of, native_config, pointer
from .errors import CheckpointError, EngineError
from .lifetime import Lifetime
from .records import Sampling, SessionInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .checkpoint import Checkpoint
    from .prompt import Prompt

SAMPLE_RATE = 24000
READ_SAMPLES = 65536
RUNNING, STOP_EOS, STOP_MAX_FRAMES = lib.Q3T_RUNNING, lib.Q3T_STOP_EOS, lib.Q3T_STOP_MAX_FRAMES


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
        self.lifetime = Lifetime("model", partial(_free, lib.q3t_model_close, handle, self._arrays))
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
    def bytes(self) -> int:
        """Memory the engine owns for this model; the mapped files are not counted."""
        with self.lifetime.call():
            return lib.q3t_model_bytes(self._handle)

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

    def decode(self, codes: np.ndarray, chunk: int = 8) -> np.ndarray:
        """Decode codes (frames, code_groups) int32 to float32 (samples,) at 24 kHz, `chunk` frames at a time."""
        codes = np.ascontiguousarray(codes, np.int32)
        if codes.ndim != 2 or codes.shape[1] != self.config.num_code_groups or not len(codes):
            raise EngineError(f"codes: shape {codes.shape}, ({'frames'}, {self.config.num_code_groups}) is needed")
        samples = np.empty(len(codes) * self.config.codec.samples_per_frame, np.float32)
        with self.lifetime.alone():
            status = lib.q3t_codec_decode(
                self._handle,
                ffi.from_buffer("int32_t[]", codes),
                len(codes),
                chunk,
                ffi.from_buffer("float[]", samples),
            )
        check(status, "decoding")
        return samples


def _free(close: Callable[[object], None], handle: Any, *_kept: object) -> None:
    """handle: where the engine has put it, NULL if it came to nothing. _kept: what it reads is kept until then."""
    close(handle[0])


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
            self.lifetime = Lifetime("session", partial(_free, lib.q3t_session_close, handle), inherited=False)
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
