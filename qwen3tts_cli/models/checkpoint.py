"""Open a checkpoint folder: config, tokenizer and every tensor the engine needs, all checked, nothing copied."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.lifetime import ForkedLock
from ..errors import CheckpointError, ModelNotFoundError
from .config.model import ModelConfig, load_config
from .safetensors import WeightSet, open_weights
from .sparse_rows import SparseRows
from .tensor_specs import TEXT_EMBEDDING, TEXT_PROJECTION, collect, collect_decoder, collect_lm

if TYPE_CHECKING:
    import numpy as np

    from .tokenizer import Tokenizer


class Checkpoint:
    """A checked checkpoint. `opened` has (slot name, layer, array) as weights.collect gives them, perhaps without the
    codec's; `files` holds the mapped files. The arrays stay valid as long as anything refers to them, also after
    close()."""

    def __init__(
        self,
        config: ModelConfig,
        opened: list[tuple[str, int, np.ndarray]],
        files: tuple[WeightSet, ...],
        codec_folder: Path | None = None,
        cache: bool = True,
    ) -> None:
        """codec_folder: where the codec's tensors are if `opened` is without them. cache: see open_checkpoint."""
        self.config, self.opened, self.files = config, opened, files
        self._tokenizer: Tokenizer | None = None
        self._lock, self._tokenizer_lock, self._cache = ForkedLock(), ForkedLock(), cache
        self._codec_folder, self._codec_tensors = codec_folder, None if codec_folder else []  # type: ignore[var-annotated]

    @property
    def tensors(self) -> list[tuple[str, int, np.ndarray]]:
        """All tensors; the codec's file is opened now if it was not yet. Raises CheckpointError."""
        return self.opened + self.codec_tensors if self._codec_folder else self.opened

    @property
    def codec_weights(self) -> WeightSet:
        """The codec's file, opened now if it was not yet. Raises CheckpointError."""
        self.codec_tensors  # noqa: B018  (opens it)
        return self.files[1]

    @property
    def codec_tensors(self) -> list[tuple[str, int, np.ndarray]]:
        """Those of the codec's decoder that are not among `opened`. Raises CheckpointError."""
        with self._lock:
            if self._codec_tensors is None:
                assert self._codec_folder is not None
                weights = open_weights(self._codec_folder)
                self.files += (weights,)
                self._codec_tensors = collect_decoder(self.config.codec, weights)
            return self._codec_tensors

    def forget(self) -> None:
        """Give back the memory of the tensors that were read, see TensorFile.forget."""
        for weights in self.files:
            weights.forget()

    @property
    def tokenizer(self) -> Tokenizer:
        """The text tokenizer, read at the first use. Raises CheckpointError."""
        with self._tokenizer_lock:
            if self._tokenizer is None:
                self._tokenizer = _checked_tokenizer(self.config, self._cache)
            return self._tokenizer

    def text_rows(self) -> SparseRows | None:
        """The text embedding, a row at a time; None where it is in memory anyway, or there is no room for its rows."""
        source = next(array for slot, _, array in self.opened if slot == "TEXT_EMBEDDING")
        if not self.files or source.flags.owndata:
            return None
        with contextlib.suppress(OSError):
            return SparseRows(source, lambda weights=self.files[0]: weights.forget(TEXT_EMBEDDING))
        return None

    def forget_text(self) -> None:
        """Give back the memory of the text projection, which only the first step of an utterance reads."""
        for weights in self.files[:1]:
            for name in TEXT_PROJECTION:
                weights.forget(name + ".weight")

    def close(self) -> None:
        """Let go of the tensors and unmap the files."""
        self.opened, self._codec_folder, self._codec_tensors = [], None, []
        for weights in self.files:
            weights.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_checkpoint(folder: Path, *, codec: bool = True, cache: bool = True) -> Checkpoint:
    """Open a folder in the layout of the released checkpoints. Raises ModelNotFoundError, CheckpointError.

    codec: False leaves the codec's file until somebody asks for its tensors. cache: False writes nothing into the
    user's cache folder; what is there is used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelNotFoundError(f"{folder}: no such folder")
    config = load_config(folder)
    opened: list[WeightSet] = []
    try:
        opened.append(open_weights(folder))
        if not codec:
            return Checkpoint(config, collect_lm(config, *opened), tuple(opened), folder / "speech_tokenizer", cache)
        opened.append(open_weights(folder / "speech_tokenizer"))
        return Checkpoint(config, collect(config, *opened), tuple(opened), cache=cache)
    except BaseException:
        for weights in opened:
            weights.close()
        raise


def _checked_tokenizer(config: ModelConfig, cache: bool) -> Tokenizer:
    """The tokenizer, if it has what a prompt relies on: ids within the embedding, a template of known length."""
    from .chat_template import check_template
    from .tokenizer import load_tokenizer

    tokenizer = load_tokenizer(config.path, keep=cache)
    if tokenizer.max_id >= config.text_vocab_size:
        added = tokenizer.max_id in tokenizer.added.values()
        path = config.path / ("tokenizer_config.json" if added else "vocab.json")
        limit = f"ids below text_vocab_size = {config.text_vocab_size}"
        raise CheckpointError(f"{path}: found the id {tokenizer.max_id}, expected {limit}")
    check_template(config, tokenizer)
    return tokenizer
