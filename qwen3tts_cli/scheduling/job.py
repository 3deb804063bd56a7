"""A job: one utterance, ready to be generated. It needs no file, tokenizer, text splitter or encoder any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from ..engine.model import Model
    from ..engine.session import Sampling
    from ..text.prompt import Prompt


@dataclass(frozen=True, eq=False)
class Job:
    """One utterance, ready to be generated.

    model: the model that generates it. prompt: the rows of the talker's input. text: the text of the utterance, for the
    runaway guard and for messages. talker, predictor: how the two language models choose codes. seed, key: 64-bit
    integers that the random draws depend on; see seeds.py. speaker: the speaker vector of a cloned voice, float32 of
    shape (hidden,). reference_codes: the codes of its reference, int32 of shape (frames, code groups).
    max_frames: the most frames; None: as many as the guard allows. retries: how often the utterance is generated again
    if it runs away; 0 turns the guard off. live: True releases samples as they are decoded, and allows no retries,
    because samples that were sent cannot be taken back; False releases them once the utterance is complete and good.
    chunk_frames, pipeline: see engine.session.Session. open_text: whether text will be appended; see Stream.append.
    """

    model: Model
    prompt: Prompt
    text: str
    talker: Sampling
    predictor: Sampling
    seed: int
    key: int
    speaker: np.ndarray | None = None
    reference_codes: np.ndarray | None = None
    max_frames: int | None = None
    retries: int = 2
    live: bool = False
    chunk_frames: int = 0
    pipeline: bool = False
    open_text: bool = False
