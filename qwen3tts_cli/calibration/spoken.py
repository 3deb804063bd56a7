"""The inputs that calibration measures: the model speaks the sentences in bf16, and its rows are computed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..engine.session import RUNNING, Session
from ..errors import GenerationError
from ..speech.speak_options import SpeakOptions, resolve_sampling
from ..text.prompt import build_prompt
from .sentences import sentences_for
from .transformer import silu, widen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..engine.model import Model
    from ..models.checkpoint import Checkpoint
    from ..text.prompt import Prompt

_BATCH = 8
_MAX_FRAMES = 64  # of a sentence, also for weights that never end one
_CHUNK_FRAMES = 64  # the largest: the samples are not used
_INSTRUCTIONS = ("A calm low voice of a man.", "A bright, lively voice of a young woman.")  # for voice_design


@dataclass(frozen=True)
class Spoken:
    """One sentence that the model spoke. codes: int32 (frames, code_groups)."""

    prompt: Prompt
    codes: np.ndarray


class Embeddings:
    """The tensors that make the inputs of the talker and of the code predictor."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._tensors = {(slot, layer): array for slot, layer, array in checkpoint.collected}
        self._groups, self._pad = checkpoint.config.num_code_groups, checkpoint.config.tts_pad_id

    def _rows(self, slot: str, layer: int, ids: np.ndarray) -> np.ndarray:
        return widen(np.ascontiguousarray(self._tensors[slot, layer][ids]))

    def _text(self, ids: np.ndarray) -> np.ndarray:
        """Projected text embeddings: int (n,) to float32 (n, hidden); 0 for ids below 0."""
        w = {name: widen(self._tensors[f"TEXT_{name}", 0]) for name in ("FC1", "FC1_BIAS", "FC2", "FC2_BIAS")}
        x = silu(self._rows("TEXT_EMBEDDING", 0, np.maximum(ids, 0)) @ w["FC1"].T + w["FC1_BIAS"])
        return (x @ w["FC2"].T + w["FC2_BIAS"]) * (ids >= 0)[:, None]

    def talker_rows(self, spoken: Spoken) -> np.ndarray:
        """The talker's input: the rows of the prompt, then one for each frame; float32 (rows + frames, hidden)."""
        prompt, codes = spoken.prompt, spoken.codes
        trailing = np.full(len(codes), self._pad)
        count = min(len(codes), len(prompt.trailing_ids))
        trailing[:count] = prompt.trailing_ids[:count]
        text = self._text(np.concatenate([prompt.text_ids, trailing]))
        ids = np.concatenate([prompt.codec_ids, codes[:, 0]])
        rows = text + self._rows("CODEC_EMBEDDING", 0, np.maximum(ids, 0)) * (ids >= 0)[:, None]
        for group in range(1, self._groups):
            rows[len(prompt.text_ids) :] += self._rows("PREDICTOR_EMBEDDING", group - 1, codes[:, group])
        return rows.astype(np.float32)

    def predictor_rows(self, hidden: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """The code predictor's input: float32 (n, code_groups, width), the talker's output and all codes but the last.

        hidden: float32 (n, hidden), the outputs of the talker that chose code 0. codes: int32 (n, code_groups).
        """
        rows = [hidden, self._rows("CODEC_EMBEDDING", 0, codes[:, 0])]
        rows += [self._rows("PREDICTOR_EMBEDDING", group - 1, codes[:, group]) for group in range(1, self._groups - 1)]
        x = np.stack(rows, axis=1)
        if ("PROJECTION", 0) in self._tensors:
            x = x @ widen(self._tensors["PROJECTION", 0]).T + widen(self._tensors["PROJECTION_BIAS", 0])
        return x.astype(np.float32)


def speak_sentences(model: Model, sentences: int | None, tick: Callable[[float], None]) -> list[Spoken]:
    """Speak the sentences that the model knows the languages of, sampled as `say` does, with fixed seeds.

    sentences: how many; None: all. tick: called with the share that is done, 0 to 1. Raises CheckpointError,
    EngineError, GenerationError.
    """
    talker, predictor = resolve_sampling(SpeakOptions(), model.config)
    prompts, spoken = _prompts(model.checkpoint)[:sentences], []
    for first in range(0, len(prompts), _BATCH):
        batch = prompts[first : first + _BATCH]
        sessions: list[Session] = []
        try:
            for number, prompt in enumerate(batch, first):
                options = {"seed": number, "key": 0, "max_frames": _MAX_FRAMES, "chunk_frames": _CHUNK_FRAMES}
                sessions.append(Session(model, prompt, talker=talker, predictor=predictor, **options))
            while active := [session for session in sessions if session.info.state == RUNNING]:
                model.step(active)
                tick((first + len(batch) * active[0].info.frames / _MAX_FRAMES) / len(prompts))
            for session, prompt in zip(sessions, batch, strict=True):
                spoken.append(Spoken(prompt, session.codes(0, session.info.frames)))
        finally:
            for session in sessions:
                session.close()
    if not any(len(each.codes) for each in spoken):
        raise GenerationError("calibration: the model ended every sentence before its first frame")
    return [each for each in spoken if len(each.codes)]


def _prompts(checkpoint: Checkpoint) -> Sequence[Prompt]:
    """The prompts of the sentences: the preset voices in turns, and both text modes."""
    config, prompts = checkpoint.config, []
    speakers = list(config.speakers)
    for number, (language, text) in enumerate(sentences_for(config.languages)):
        prompts.append(
            build_prompt(
                config,
                checkpoint.tokenizer,
                text,
                language=language,
                speaker=speakers[number % len(speakers)] if speakers else None,
                instruct=_INSTRUCTIONS[number % 2] if config.model_type == "voice_design" else None,
                text_mode=("full", "streaming")[number // 2 % 2],
            )
        )
    return prompts
