"""Open a checkpoint folder: the config, the tokenizer and the tensors that the engine needs, checked but not copied."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.forking import ForkedLock
from ..errors import CheckpointError, ModelNotFoundError
from .config.model import ModelConfig, load_config
from .safetensors import WeightSet, open_weights
from .sparse_rows import SparseRows
from .tensor_specs import TEXT_EMBEDDING, TEXT_PROJECTION, collect, collect_decoder, collect_lm

if TYPE_CHECKING:
    import numpy as np

    from .tokenizer import Tokenizer


class Checkpoint:
    """The checked contents of a checkpoint folder.

    collected: (slot name, layer, array) of the tensors that were read when the checkpoint was opened, in the format of
    tensor_specs.collect: all tensors, or all except the codec's. files: the mapped files. An array stays valid while
    anything refers to it, also after `close`.
    """

    def __init__(
        self,
        config: ModelConfig,
        collected: list[tuple[str, int, np.ndarray]],
        files: tuple[WeightSet, ...],
        codec_folder: Path | None = None,
        cache: bool = True,
    ) -> None:
        """codec_folder: the folder of the codec's tensors, if `collected` lacks them. cache: see open_checkpoint."""
        self.config, self.collected, self.files = config, collected, files
        self._tokenizer: Tokenizer | None = None
        self._lock, self._tokenizer_lock, self._cache = ForkedLock(), ForkedLock(), cache
        self._codec_folder, self._codec_tensors = codec_folder, None if codec_folder else []  # type: ignore[var-annotated]

    @property
    def tensors(self) -> list[tuple[str, int, np.ndarray]]:
        """(slot name, layer, array) of all tensors. Opens the codec's file if necessary. Raises CheckpointError."""
        return self.collected + self.codec_tensors if self._codec_folder else self.collected

    @property
    def codec_weights(self) -> WeightSet:
        """The codec's file. Opens it if necessary. Raises CheckpointError."""
        self.codec_tensors  # noqa: B018  (opens the file)
        return self.files[1]

    @property
    def codec_tensors(self) -> list[tuple[str, int, np.ndarray]]:
        """The tensors of the codec's decoder that `collected` lacks. Opens their file. Raises CheckpointError."""
        with self._lock:
            if self._codec_tensors is None:
                assert self._codec_folder is not None
                weights = open_weights(self._codec_folder)
                self.files += (weights,)
                self._codec_tensors = collect_decoder(self.config.codec, weights)
            return self._codec_tensors

    def drop_pages(self) -> None:
        """Free the resident pages of all mapped files; the arrays stay valid. See TensorFile.drop_pages."""
        for weights in self.files:
            weights.drop_pages()

    @property
    def tokenizer(self) -> Tokenizer:
        """The text tokenizer, read at the first use. Raises CheckpointError."""
        with self._tokenizer_lock:
            if self._tokenizer is None:
                self._tokenizer = _load_checked_tokenizer(self.config, self._cache)
            return self._tokenizer

    def text_embedding_rows(self) -> SparseRows | None:
        """The text embedding, shape (text_vocab_size, text_hidden_size), for reading single rows. None if the embedding
        is in memory anyway, or if its address space cannot be reserved."""
        source = next(array for slot, _, array in self.collected if slot == "TEXT_EMBEDDING")
        if not self.files or source.flags.owndata:
            return None
        with contextlib.suppress(OSError):
            return SparseRows(source, lambda weights=self.files[0]: weights.drop_pages(TEXT_EMBEDDING))
        return None

    def drop_text_projection_pages(self) -> None:
        """Free the resident pages of the text projection, which few steps of an utterance read."""
        for weights in self.files[:1]:
            for name in TEXT_PROJECTION:
                weights.drop_pages(name + ".weight")

    def close(self) -> None:
        """Release the tensors and unmap the files, once no array refers to them."""
        self.collected, self._codec_folder, self._codec_tensors = [], None, []
        for weights in self.files:
            weights.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_checkpoint(folder: Path, *, codec: bool = True, cache: bool = True) -> Checkpoint:
    """Open a folder with the layout of the released checkpoints. Raises ModelNotFoundError, CheckpointError.

    codec: whether to open the codec's file now; False opens it when its tensors are used. cache: whether to write into
    the user's cache folder; files that are in it are read in any case.
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


def _load_checked_tokenizer(config: ModelConfig, cache: bool) -> Tokenizer:
    """Load the tokenizer and check that its ids are within the text embedding and the chat template has its length."""
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
