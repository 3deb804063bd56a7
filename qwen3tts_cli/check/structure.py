"""Check the tensors of both weight files (names, dtypes, shapes), and the ids in config.json."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ..models.config.encoders import load_encoder_config, load_speaker_config
from ..models.config.model import ModelConfig, load_config
from ..models.encoder_tensor_specs import expected_encoder_tensors, expected_speaker_tensors
from ..models.safetensors import WeightSet, open_weights
from ..models.tensor_specs import PROJECTION, TensorSpec, expected_tensors
from .result import Result, judged
from .subject import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from .subject import Subject

CHECK = "structure"
ID_FIELDS = (
    *("im_start_id", "im_end_id", "assistant_id", "tts_pad_id", "tts_bos_id", "tts_eos_id"),
    *("codec_pad_id", "codec_bos_id", "codec_eos_id", "codec_think_id", "codec_nothink_id"),
    *("codec_think_bos_id", "codec_think_eos_id"),
)


def check_structure(subject: Subject) -> Result:
    """Compare the tensors with those that config.json asks for, and, where there are answers, with the recorded ones:
    also dtypes, tensors that the engine does not read, special ids, speakers and languages."""
    recorded = {} if subject.known is None else subject.answers.config(subject.known)
    with ExitStack() as files:
        config = load_config(subject.folder)
        weights = []
        for name in WEIGHTS:
            weights.append(open_weights((subject.folder / name).parent))
            files.callback(weights[-1].close)
        specs = _specs(subject.folder, config, weights[0])
        problems = []
        for name, found, expected in zip(WEIGHTS, weights, specs, strict=True):
            wrong = list(_wrong_tensors(found, expected))
            problems += [f"{name}: {each}" for each in wrong]
            digest = recorded.get("tensors", {}).get(name)
            if not wrong and digest is not None and tensors_digest(found) != digest:
                problems.append(f"{name}: other dtypes, or tensors that the released file does not have")
        counts = [len(each.tensors) for each in weights]
    problems += _wrong_ids(config, recorded)
    names = f"speakers: {len(config.speakers)}, languages: {len(config.languages)}"
    against = "the recorded ones" if recorded else "those that config.json asks for"
    good = f"{counts[0]} + {counts[1]} tensors are {against}; {names}"
    return judged(CHECK, problems, good, {"tensors": counts, "compared_with_recorded": bool(recorded)})


def tensors_digest(weights: WeightSet) -> str:
    """SHA-256 of the lines "name dtype [shape]" of all tensors, sorted by name."""
    return lines_digest((name, info.dtype, info.shape) for name, info in weights.tensors.items())


def lines_digest(tensors: Iterable[tuple[str, str, Iterable[int]]]) -> str:
    """SHA-256 of the lines "name dtype [shape]" of (name, dtype, shape), sorted by name."""
    lines = sorted(f"{name} {dtype} {list(shape)}\n" for name, dtype, shape in tensors)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _specs(folder: Path, config: ModelConfig, lm: WeightSet) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """The tensors that the engine reads from each of WEIGHTS."""
    projection = PROJECTION + ".weight" in lm.tensors
    models, codec = (list(each) for each in expected_tensors(config, projection))
    speaker = load_speaker_config(folder) if config.model_type == "base" else None
    if speaker is not None:
        models += expected_speaker_tensors(speaker)
    if config.codec.encoder is not None:
        codec += expected_encoder_tensors(load_encoder_config(folder / "speech_tokenizer" / "config.json"))
    return models, codec


def _wrong_tensors(weights: WeightSet, expected: list[TensorSpec]) -> Iterable[str]:
    for spec in expected:
        info = weights.tensors.get(spec.name)
        if info is None:
            yield f"tensor {spec.name} is missing"
        elif info.shape != spec.shape or info.dtype not in ("BF16", "F32"):
            yield f"tensor {spec.name}: {info.dtype} {list(info.shape)}, expected BF16 or F32 {list(spec.shape)}"


def _wrong_ids(config: ModelConfig, recorded: Mapping[str, Any]) -> list[str]:
    """Differences of the ids in config.json from the recorded ones. A speaker or language that was not recorded is
    no difference."""
    found = {
        "ids": {name: getattr(config, name) for name in ID_FIELDS},
        "speakers": config.speakers,
        "languages": config.languages,
    }
    problems = []
    for section, values in found.items():
        expected = recorded.get(section, {})
        for name, value in expected.items():
            if values.get(name) != value:
                shown = "missing" if name not in values else str(values[name])
                problems.append(f"config.json: {section}: {name}: {shown}, recorded is {value}")
    return problems
