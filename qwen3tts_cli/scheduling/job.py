"""A job: one utterance, ready to be generated. It needs no file, tokenizer, text splitter or encoder any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from ..engine.model import Model
    from ..engine.session import Sampling
    from ..text.prompt import Prompt


class OpenText:
    """The text of a job that still grows. One thread puts, and the engine loop takes between two steps.

    All of it is kept, for a job that is generated again.
    """

    def __init__(self) -> None:
        self._items: list[tuple[str, np.ndarray, bool]] = []

    def put(self, text: str, ids: np.ndarray, last: bool) -> None:
        """Add text. The scheduler must be told by Scheduler.note_text.

        text: for the runaway guard. ids: the text ids of the next frames, int32 of shape (n,). last: whether no more
        text will come; the last id must then be that of the end of text.
        """
        self._items.append((text, ids, last))

    def after(self, count: int) -> list[tuple[str, np.ndarray, bool]]:
        """What was put, without the first `count` calls of `put`."""
        return self._items[count:]

    @property
    def text(self) -> str:
        """All the text that was put."""
        return "".join(text for text, _, _ in self._items)


class Job(NamedTuple):
    """One utterance, ready to be generated.

    model: the model that generates it. prompt: the rows of the talker's input. text: the text of the utterance, for the
    runaway guard and for messages. talker, predictor: how the two language models choose codes. seed, key: 64-bit
    integers that the random draws depend on; see seeds.py. speaker: the speaker vector of a cloned voice, float32 of
    shape (hidden,). reference_codes: the codes of its reference, int32 of shape (frames, code groups).
    max_frames: the most frames; None: as many as the guard allows. min_frames: the frames before which the model cannot
    end the utterance. retries: how often the utterance is generated again if it runs away; 0 turns the guard off.
    live: True releases samples as they are decoded, and allows retries only before the first of them, because samples
    that were sent cannot be taken back; False releases them once the utterance is complete and good.
    chunk_frames, pipeline: see engine.session.Session. open_text: the text that follows the prompt, or None if the
    prompt has all of it. With open text `live` must be True. source: what the user gave, where it differs from `text`.
    goes_on: whether the next job is a part of the same source.
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
    min_frames: int = 0
    retries: int = 2
    live: bool = False
    chunk_frames: int = 0
    pipeline: bool = False
    open_text: OpenText | None = None
    source: str | None = None
    goes_on: bool = False

    @property
    def given_text(self) -> str:
        """The text as the user gave it, as far as it has come."""
        if self.open_text is not None:
            return self.text + self.open_text.text
        return self.text if self.source is None else self.source
