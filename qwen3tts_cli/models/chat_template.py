"""The chat template around a text: its wording, and how many token ids each part has.

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
HEAD_IDS, TAIL_IDS, REFERENCE_TAIL_IDS = 3, 5, 2  # token ids of each


def check_template(config: ModelConfig, tokenizer: Tokenizer) -> None:
    """The text is sliced out of the ids by place: check that what stands around it has the ids this relies on.

    Raises CheckpointError.
    """
    for text, count in ((HEAD_TEXT, HEAD_IDS), (TAIL_TEXT, TAIL_IDS), (REFERENCE_TAIL_TEXT, REFERENCE_TAIL_IDS)):
        found = len(tokenizer.encode(text))
        if found != count:
            raise CheckpointError(f"{config.path}: vocabulary: {text!r} has {found} token ids, expected {count}")
