"""Whether the models of a server and the sessions that may run fit into the memory, before any weights are read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..common.machine import available_bytes
from ..engine.packing import codec_bytes, packed_bytes
from ..errors import OutOfMemoryError
from ..models.tensor_specs import expected_tensors
from ..packed.precision import LARGE_MODEL_BYTES, packed_format
from ..speech.reader import USUAL_POSITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..models.config.model import ModelConfig

_GIGABYTE = 1e9


def weight_bytes(config: ModelConfig, precision: str) -> int:
    """Bytes of the weights of a model in memory. The text embedding is not counted: only few of its rows are read."""
    precision, total = _precision(config, precision), codec_bytes(config.codec)
    for slot, shape in _matrices(config):
        name = packed_format(slot, precision)
        plain = name in (None, "coded")  # "coded" may not suit the weights, which are bf16 then
        total += 2 * math.prod(shape) if plain else packed_bytes(name, shape)
    return total


def session_bytes(config: ModelConfig, precision: str) -> int:
    """Bytes of the KV cache of a session that speaks for half a minute: float32 with bf16 weights, else 16 bits."""
    talker = config.talker
    width = talker.num_key_value_heads * talker.head_dim
    size = 4 if _precision(config, precision) == "bf16" else 2
    return USUAL_POSITIONS * 2 * size * talker.num_hidden_layers * width


def _precision(config: ModelConfig, precision: str) -> str:
    if precision != "auto":
        return precision
    packed = sum(math.prod(shape) for slot, shape in _matrices(config) if packed_format(slot, "bf16"))
    return "int8" if 2 * packed >= LARGE_MODEL_BYTES else "bf16"


def _matrices(config: ModelConfig) -> list[tuple[str, tuple[int, ...]]]:
    """(slot, shape) of the matrices of the language models that steps read."""
    specs = expected_tensors(config)[0]
    return [(spec.slot, spec.shape) for spec in specs if len(spec.shape) == 2 and spec.slot != "TEXT_EMBEDDING"]


def check_memory(
    models: Sequence[tuple[str, ModelConfig]], precision: str, max_batch: int, note: Callable[[str], None]
) -> None:
    """Raise OutOfMemoryError, after a table in lines for `note`, if the models and `max_batch` sessions do not fit.

    models: (name, configuration). max_batch: 0 is one session: an automatic number depends on the free memory.
    """
    free = available_bytes()
    if free is None:
        return
    rows = [(f"weights of {name}", weight_bytes(config, precision)) for name, config in models]
    sessions = max(1, max_batch)
    one = max(session_bytes(config, precision) for _, config in models)
    rows.append((f"{sessions} session{'s' if sessions > 1 else ''} of {one / 1e6:.0f} MB", sessions * one))
    needed = sum(size for _, size in rows)
    if needed <= free:
        return
    rows += [("all", needed), ("free memory", free)]
    width = max(len(name) for name, _ in rows)
    for name, size in rows:
        note(f"{name.ljust(width)}  {size / _GIGABYTE:8.3f} GB")
    hint = "a lower --max-batch, " if max_batch > 1 else ""
    raise OutOfMemoryError(
        f"the models need {needed / _GIGABYTE:.3f} GB of memory, {free / _GIGABYTE:.3f} GB are free; choose {hint}"
        "fewer models or --precision int4"
    )
