"""Trace a generation for checks and measurements: the logits of every frame, with codes that are chosen or given.

With given codes (teacher forcing), the logits of a frame do not depend on the codes that the model would have chosen
for earlier frames, so that models and precisions can be compared frame by frame. Speaking does not use this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .session import RUNNING, STOP_EOS, Sampling, Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..text.prompt import Prompt
    from .model import Model

GREEDY = Sampling(greedy=True)
_CHUNK_FRAMES = 64  # the largest chunk, so that a short trace decodes no audio


@dataclass(frozen=True)
class Trace:
    """The codes and logits that a model computed for one utterance.

    codes: int32 of shape (frames, code_groups), chosen or given. ended: whether the model ended the utterance after
    these frames. logits: float32 of shape (frames + 1, vocab): row f has the talker's logits from which code 0 of frame
    f is chosen; the last row has the logits after the last frame. scores: float32 of the same shape, the logits after
    the repetition penalty, with -inf for suppressed ids; a greedy choice takes the largest score. groups: float32 of
    shape (frames, code_groups - 1, code_vocab), the code predictor's logits.
    """

    codes: np.ndarray
    ended: bool
    logits: np.ndarray
    scores: np.ndarray
    groups: np.ndarray

    def frame_scores(self, frame: int, group: int) -> np.ndarray:
        """The scores from which a greedy choice takes the code of a frame and a code group: float32, a vector."""
        return self.scores[frame] if group == 0 else self.groups[frame, group - 1]

    def greedy_codes(self) -> np.ndarray:
        """The codes that a greedy choice takes from the scores, int64 of shape (frames, code_groups). They are equal to
        `codes` unless `codes` were given."""
        first = self.scores[: len(self.codes)].argmax(axis=1)
        return np.concatenate([first[:, None], self.groups.argmax(axis=2)], axis=1)

    def leads(self) -> np.ndarray:
        """For every code the largest score minus the second largest: float32 of shape (frames, code_groups)."""
        first = lead(self.scores[: len(self.codes)])
        return np.concatenate([first[:, None], lead(self.groups)], axis=1)


def lead(scores: np.ndarray) -> np.ndarray:
    """The largest score minus the second largest along the last axis. scores: shape (..., n); the result: (...)."""
    top = np.partition(scores, -2, axis=-1)
    return top[..., -1] - top[..., -2]


def trace(
    model: Model,
    prompt: Prompt,
    *,
    max_frames: int = 0,
    forced_codes: np.ndarray | None = None,
    talker: Sampling = GREEDY,
    predictor: Sampling = GREEDY,
    speaker: np.ndarray | None = None,
    reference_codes: np.ndarray | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> Trace:
    """Generate one utterance and keep the logits of every frame.

    forced_codes: the codes of all frames of the trace, int32 of shape (frames, code_groups). If None, the model chooses
    the codes of at most max_frames frames. talker, predictor, speaker, reference_codes: see Session. on_frame: called
    with the number of frames so far. Raises EngineError, GenerationError.
    """
    c = model.config
    given = None if forced_codes is None else len(forced_codes)
    # One frame more than the given frames: the step of this frame computes the logits after the last given frame.
    limit = max_frames if given is None else given + 1
    logits, scores, groups = [], [], []
    with Session(
        model, prompt, talker=talker, predictor=predictor, seed=0, key=0, max_frames=limit, chunk_frames=_CHUNK_FRAMES,
        speaker=speaker, reference_codes=reference_codes, forced_codes=forced_codes,
    ) as session:  # fmt: skip
        while True:
            model.step([session])
            info = session.info
            logits.append(session.peek("LOGITS", (c.vocab_size,)))
            scores.append(session.peek("SCORES", (c.vocab_size,)))
            if info.state != RUNNING or len(logits) - 1 == given:
                break
            groups.append(session.peek("PREDICTOR_LOGITS", (c.num_code_groups - 1, c.predictor_vocab_size)))
            if on_frame is not None:
                on_frame(len(groups))
        codes = session.codes(0, len(groups))
    shape = (0, c.num_code_groups - 1, c.predictor_vocab_size)
    return Trace(
        codes=codes,
        ended=info.state == STOP_EOS,
        logits=np.stack(logits),
        scores=np.stack(scores),
        groups=np.stack(groups) if groups else np.zeros(shape, np.float32),
    )
