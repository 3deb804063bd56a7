"""generation_config.json of a checkpoint: the default sampling settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ...common.json_fields import Section, read_object
from .codec import MAX_CONFIG_BYTES

_MAX_TOP_K = 2**31 - 1


class GenerationConfig(NamedTuple):
    """The default sampling settings of the talker, and with the prefix subtalker_ those of the code predictor.

    top_k 0 and top_p 1 are off. max_new_tokens = N allows at most N - 1 frames.
    """

    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    subtalker_dosample: bool
    subtalker_temperature: float
    subtalker_top_k: int
    subtalker_top_p: float
    max_new_tokens: int


def load_generation_config(path: Path) -> GenerationConfig:
    """Read generation_config.json. Missing fields, or a missing file, have the reference's defaults.

    A temperature of 0 means greedy decoding. Raises CheckpointError.
    Source: qwen3_tts_model.py, Qwen3TTSModel._merge_generate_kwargs.
    """
    section = read_object(path, MAX_CONFIG_BYTES) if os.path.lexists(path) else Section({}, path)
    temperature = section.number("temperature", 0, 100, 0.9)
    subtalker_temperature = section.number("subtalker_temperature", 0, 100, 0.9)
    return GenerationConfig(
        do_sample=section.boolean("do_sample", True) and temperature > 0,
        temperature=temperature,
        top_k=section.integer("top_k", 0, _MAX_TOP_K, 50),
        top_p=section.number("top_p", 1e-6, 1, 1.0),
        repetition_penalty=section.number("repetition_penalty", 0.01, 100, 1.05),
        subtalker_dosample=section.boolean("subtalker_dosample", True) and subtalker_temperature > 0,
        subtalker_temperature=subtalker_temperature,
        subtalker_top_k=section.integer("subtalker_top_k", 0, _MAX_TOP_K, 50),
        subtalker_top_p=section.number("subtalker_top_p", 1e-6, 1, 1.0),
        max_new_tokens=section.integer("max_new_tokens", 1, 1 << 20, 2048),
    )
