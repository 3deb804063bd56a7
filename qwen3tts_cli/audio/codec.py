"""The codec without a language model, which encodes recordings to codes and decodes codes; and files of codes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..common import arguments
from ..common.json_fields import read_bytes, short_repr
from ..common.lifetime import Lifetime
from ..common.machine import default_threads
from ..engine.codec_decoder import CodecDecoder
from ..engine.codec_encoder import CodecEncoder
from ..errors import CheckpointError, InputError, ModelNotFoundError, UsageError
from ..models import hub_cache, local_models
from ..models.config.codec import CodecConfig, load_codec_config
from ..models.config.encoders import EncoderConfig, load_encoder_config
from ..models.encoder_tensor_specs import collect_encoder
from ..models.safetensors import WeightSet, open_weights
from ..models.tensor_specs import collect_decoder
from .array_file import array_file_bytes, read_array_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np

TOKENIZER_REPO = "Qwen/Qwen3-TTS-Tokenizer-12Hz"
CODES_FORMAT = "qwen3tts-codes 1"
_MAX_CODES_BYTES = 256 << 20


class Codec:
    """The 12 Hz audio codec of a model, which encodes samples to codes and decodes codes. A context manager.

    A frame is 1920 samples at 24 kHz, and 16 codes. The encoder and the decoder are each opened at their first use.
    Any thread may use and close the codec; every call after `close` raises EngineError.

    >>> with Codec.open("0.6b-base") as codec:
    ...     codes = codec.encode(samples)  # int32 of shape (ceil(n / 1920), 16) for n samples
    ...     again = codec.decode(codes)    # float32 of shape (frames * 1920,) at 24 kHz
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
        """Open the codec of a model on this machine; never downloads.

        model: an alias ("0.6b-base"), a repository id, or a pathlib.Path of a folder; the repository or the folder may
        hold a model or the codec alone. None means the embedded voice. threads: 1 to 1024; None means one for each core
        that this process may use. Raises ModelNotFoundError, CheckpointError, and UsageError for an argument of another
        type or out of range.
        """
        folder, name = resolve_codec(None if model is None else arguments.name_or_path("model", model))
        if threads is not None:
            threads = arguments.integer("threads", threads, 1, 1024)
        return cls(folder, name, threads=threads)

    def close(self) -> None:
        """Stop the encoding or decoding of other threads, and free the weights and their file."""
        self.lifetime.close()

    def __enter__(self) -> Codec:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def encoder_config(self) -> EncoderConfig:
        """Dimensions of the encoder. Raises CheckpointError if config.json lacks them or a value is not valid."""
        return load_encoder_config(self.folder / "config.json")

    @property
    def encoder(self) -> CodecEncoder:
        """The encoder, opened at its first use. Raises CheckpointError, EngineError."""
        with self.lifetime.alone():
            if self._encoder is None:
                config = self.encoder_config
                tensors = collect_encoder(config, self._weights)
                self._encoder = CodecEncoder(self.folder, config, tensors, threads=self.threads)
                self.lifetime.adopt(self._encoder.lifetime)
            return self._encoder

    @property
    def decoder(self) -> CodecDecoder:
        """The decoder, opened at its first use. Raises CheckpointError, EngineError."""
        with self.lifetime.alone():
            if self._decoder is None:
                tensors = collect_decoder(self.config, self._weights)
                self._decoder = CodecDecoder(self.folder, self.config, tensors, threads=self.threads)
                self.lifetime.adopt(self._decoder.lifetime)
            return self._decoder

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """Encode samples at 24 kHz. Returns codes, int32 of shape (ceil(n / 1920), 16).

        samples: shape (n,) or (n, channels); channels are averaged. Floats have full scale 1; integers have the full
        scale of their type. load_recording reads files and resamples. Raises UsageError for another dtype or shape,
        InputError for samples that are not finite, CheckpointError, EngineError.
        """
        return self.encoder.encode(samples)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Decode codes, integers of shape (frames, 16). Returns samples at 24 kHz, float32 of shape (frames * 1920,).

        Raises UsageError for anything but an array of numbers, InputError for another shape or codes out of range,
        CheckpointError, EngineError.
        """
        return self.decoder.decode(codes)

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Decode blocks of consecutive frames as they come. Yields float32 arrays of shape (n,) at 24 kHz.

        The arrays joined are the samples that `decode` returns. blocks: an iterable of codes, integers of shape
        (frames, 16), each with any number of frames. Raises UsageError at once if `blocks` is not iterable. The
        iterator raises as `decode` does, and EngineError once another stream has begun.
        """
        return self.decoder.stream(blocks)


def resolve_codec(model: str | os.PathLike[str] | None) -> tuple[Path, str]:
    """The folder with the codec's config.json and model.safetensors, and the name to show; see Codec.open.

    Raises ModelNotFoundError, UsageError.
    """
    if model == TOKENIZER_REPO:
        folder = hub_cache.snapshot(TOKENIZER_REPO)
        if folder is None:
            raise ModelNotFoundError(
                f"{TOKENIZER_REPO} is not on this machine; {local_models.pull_hint(TOKENIZER_REPO)}"
            )
        return folder, TOKENIZER_REPO
    if isinstance(model, os.PathLike) and hub_cache.is_codec_only(Path(model)):
        return Path(model), os.fspath(model)
    resolved = local_models.resolve_model(model)
    return resolved.path / "speech_tokenizer", resolved.name


def codes_bytes(codes: np.ndarray, facts: dict[str, object]) -> bytes:
    """The bytes of a safetensors file. codes: shape (frames, code groups). facts: stored as JSON in its metadata."""
    return array_file_bytes({"format": CODES_FORMAT, "codes": json.dumps(facts, ensure_ascii=True)}, {"codes": codes})


def _read_npy(data: bytes, path: str) -> np.ndarray:
    """The array in a .npy file; a pickle is refused. Raises InputError."""
    import io
    import tokenize

    import numpy as np

    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"{path}: not an array of codes: {' '.join(str(error).split())[:200]}") from None


def read_codes(path: str) -> np.ndarray:
    """The codes in a file that `codec encode` wrote, or in a .npy file: integers of shape (frames, code groups).

    Raises UsageError if there is no such file, InputError if it holds no codes.
    """
    import numpy as np

    if not os.path.lexists(path):
        raise UsageError(f"{path}: no such file")
    try:
        if path.endswith(".npy"):
            codes = _read_npy(read_bytes(Path(path), _MAX_CODES_BYTES), path)
        else:
            codes = read_array_file(Path(path), _MAX_CODES_BYTES)[1].get("codes")
    except CheckpointError as error:
        raise InputError(str(error)) from None
    if not isinstance(codes, np.ndarray) or codes.ndim != 2 or codes.dtype.kind not in "iu" or not codes.size:
        found = "nothing" if codes is None else f"{codes.dtype} {list(codes.shape)}"
        raise InputError(f"{path}: codes: found {short_repr(found)}, expected integers (frames, groups)")
    return codes
