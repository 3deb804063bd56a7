"""The codec by itself: recordings to codes and back, from the stand-alone tokenizer repository or any checkpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..common import arguments
from ..common.json_fields import read_bytes, shown
from ..common.lifetime import Lifetime
from ..common.machine import default_threads
from ..engine.codec_decoder import CodecDecoder
from ..engine.codec_encoder import CodecEncoder
from ..errors import CheckpointError, InputError, ModelNotFoundError, UsageError
from ..models import hub_cache
from ..models.config.codec import CodecConfig, load_codec_config
from ..models.config.encoders import EncoderConfig, load_encoder_config
from ..models.encoder_tensors import collect_encoder
from ..models.safetensors import WeightSet, open_weights, read_small, small_bytes
from ..models.tensors import collect_decoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np

TOKENIZER_REPO = "Qwen/Qwen3-TTS-Tokenizer-12Hz"
CODES_FORMAT = "qwen3tts-codes 1"
_MAX_CODES_BYTES = 256 << 20


class Codec:
    """An opened codec; a context manager. Its encoder and decoder are each opened at the first use.

    Any thread may use and close it; every call after `close` raises EngineError, see lifetime.py.

    >>> with Codec.open("0.6b-base") as codec:
    ...     codes = codec.encode(samples)  # int32, (frames, 16)
    ...     again = codec.decode(codes)    # float32, (frames * 1920,)
    """

    def __init__(self, folder: Path, name: str, *, threads: int | None = None) -> None:
        self.folder, self.name, self.threads = folder, name, threads or default_threads()
        self.config: CodecConfig = load_codec_config(folder / "config.json")
        self._weights: WeightSet = open_weights(folder)
        self._encoder: CodecEncoder | None = None
        self._decoder: CodecDecoder | None = None
        self.lifetime = Lifetime("codec", self._weights.close)

    @classmethod
    def open(cls, model: str | os.PathLike[str] | None = None, *, threads: int | None = None) -> Codec:
        """The codec of a model: its alias or repository id, or a pathlib.Path of its folder. Also that of a folder or
        repository which holds the codec alone. Raises ModelNotFoundError, CheckpointError, UsageError.
        """
        folder, name = resolve_codec(None if model is None else arguments.name_or_path("model", model))
        if threads is not None:
            threads = arguments.integer("threads", threads, 1, 1024)
        return cls(folder, name, threads=threads)

    def close(self) -> None:
        """Release the weights and their file, once what another thread has it do has ended early."""
        self.lifetime.close()

    def __enter__(self) -> Codec:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def encoder_config(self) -> EncoderConfig:
        """Dimensions of the encoder. Raises CheckpointError where there is no valid one."""
        return load_encoder_config(self.folder / "config.json")

    @property
    def encoder(self) -> CodecEncoder:
        """The encoder, opened at the first use. Raises CheckpointError, EngineError."""
        with self.lifetime.alone():
            if self._encoder is None:
                config = self.encoder_config
                tensors = collect_encoder(config, self._weights)
                self._encoder = CodecEncoder(self.folder, config, tensors, threads=self.threads)
                self.lifetime.adopt(self._encoder.lifetime)
            return self._encoder

    @property
    def decoder(self) -> CodecDecoder:
        """The decoder, opened at the first use. Raises CheckpointError, EngineError."""
        with self.lifetime.alone():
            if self._decoder is None:
                tensors = collect_decoder(self.config, self._weights)
                self._decoder = CodecDecoder(self.folder, self.config, tensors, threads=self.threads)
                self.lifetime.adopt(self._decoder.lifetime)
            return self._decoder

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """Samples at 24 kHz to int32 (ceil(n / 1920), code groups); see audio.load_recording for other rates.

        samples: (n,) or (n, channels): floats, or integers of which the type tells the full scale. Raises UsageError
        for another type or shape, InputError for samples that are not finite.
        """
        return self.encoder.encode(samples)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Integers (frames, code groups) to float32 (frames * 1920,) at 24 kHz. Raises InputError, and UsageError for
        what is no array of numbers."""
        return self.decoder.decode(codes)

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """`decode` of consecutive blocks of frames, as they come: the same samples. Raises as `decode` does, and
        UsageError at once for what is no iterable."""
        return self.decoder.stream(blocks)


def resolve_codec(model: str | os.PathLike[str] | None) -> tuple[Path, str]:
    """The folder with a codec's config.json and model.safetensors that a name or folder means, and the name to show.

    Raises ModelNotFoundError, UsageError.
    """
    if model == TOKENIZER_REPO:
        folder = hub_cache.snapshot(TOKENIZER_REPO)
        if folder is None:
            raise ModelNotFoundError(f"{TOKENIZER_REPO} is not on this machine; {hub_cache.pull_hint(TOKENIZER_REPO)}")
        return folder, TOKENIZER_REPO
    if isinstance(model, os.PathLike) and hub_cache.holds_codec_alone(Path(model)):
        return Path(model), os.fspath(model)
    resolved = hub_cache.resolve_model(model)
    return resolved.path / "speech_tokenizer", resolved.name


def codes_bytes(codes: np.ndarray, facts: dict[str, object]) -> bytes:
    """A safetensors file of codes (frames, groups); facts go beside them as JSON."""
    return small_bytes({"format": CODES_FORMAT, "codes": json.dumps(facts, ensure_ascii=True)}, {"codes": codes})


def _read_npy(data: bytes, path: str) -> np.ndarray:
    """The array in a .npy file; never a pickle."""
    import io
    import tokenize

    import numpy as np

    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"{path}: not an array of codes: {' '.join(str(error).split())[:200]}") from None


def read_codes(path: str) -> np.ndarray:
    """The codes in a file of `codec encode`, or in a .npy file of `say --codes`: int32 (frames, groups).

    Raises UsageError where there is none, InputError for what is wrong with it.
    """
    import numpy as np

    if not os.path.lexists(path):
        raise UsageError(f"{path}: no such file")
    try:
        if path.endswith(".npy"):
            codes = _read_npy(read_bytes(Path(path), _MAX_CODES_BYTES), path)
        else:
            codes = read_small(Path(path), _MAX_CODES_BYTES)[1].get("codes")
    except CheckpointError as error:
        raise InputError(str(error)) from None
    if not isinstance(codes, np.ndarray) or codes.ndim != 2 or codes.dtype.kind not in "iu" or not codes.size:
        found = "nothing" if codes is None else f"{codes.dtype} {list(codes.shape)}"
        raise InputError(f"{path}: codes: found {shown(found)}, expected integers (frames, groups)")
    return codes
