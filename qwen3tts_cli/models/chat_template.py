"""The chat template around a text: its fixed parts, and the number of token ids of each part.

Source: qwen3_tts_model.py, _build_assistant_text and _build_ref_text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CheckpointError
from .config.model import ModelConfig

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

HEAD_TEXT = "<|im_start|>assistant\n"
REFERENCE_TAIL_TEXT = "<|im_end|>\n"
TAIL_TEXT = REFERENCE_TAIL_TEXT + HEAD_TEXT
HEAD_IDS, TAIL_IDS, REFERENCE_TAIL_IDS = 3, 5, 2  # numbers of token ids


def check_template(config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Check that each part of the template has the expected number of token ids. Raises CheckpointError.

    A prompt slices the ids of the text out of the ids of the whole template by these numbers.
    """
    for text, count in ((HEAD_TEXT, HEAD_IDS), (TAIL_TEXT, TAIL_IDS), (REFERENCE_TAIL_TEXT, REFERENCE_TAIL_IDS)):
        found = len(tokenizer.encode(text))
        if found != count:
            raise CheckpointError(f"{config.path}: vocabulary: {text!r} has {found} token ids, expected {count}")
