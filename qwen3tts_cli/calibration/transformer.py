"""The layers of the talker and the code predictor in NumPy, for a whole sequence at once.

Source: modeling_qwen3_tts.py, Qwen3TTSTalkerModel and Qwen3TTSTalkerCodePredictorModel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..models.config.transformer import TransformerConfig

    Span = tuple[int, int]  # the rows [first, last) of one sequence


def widen(array: np.ndarray) -> np.ndarray:
    """float32 of a tensor of the checkpoint: uint16 (bf16) or float32."""
    return array if array.dtype == np.float32 else (array.astype(np.uint32) << 16).view(np.float32)


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """x (..., n), weight (n,)."""
    return weight * (x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(eps)))


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x)."""
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x))


def attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, norms: tuple[np.ndarray, np.ndarray], c: TransformerConfig,
    spans: Sequence[Span],
) -> np.ndarray:  # fmt: skip
    """Causal attention inside each sequence: float32 (n, heads * head_dim).

    q: (n, heads * head_dim). k, v: (n, kv_heads * head_dim). norms: the weights of q_norm and k_norm, (head_dim,) each.
    """
    out = np.empty_like(q)
    for first, last in spans:
        count = last - first
        angles = _angles(count, c)
        queries = _rotate(rms_norm(_heads(q[first:last], c.num_attention_heads), norms[0], c.rms_norm_eps), angles)
        keys = _rotate(rms_norm(_heads(k[first:last], c.num_key_value_heads), norms[1], c.rms_norm_eps), angles)
        shared = c.num_attention_heads // c.num_key_value_heads
        keys, values = (np.repeat(a, shared, axis=0) for a in (keys, _heads(v[first:last], c.num_key_value_heads)))
        scores = queries @ keys.transpose(0, 2, 1) / np.float32(math.sqrt(c.head_dim))
        scores += np.triu(np.full((count, count), -np.inf, np.float32), 1)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = weights / weights.sum(axis=-1, keepdims=True) @ values
        out[first:last] = mixed.transpose(1, 0, 2).reshape(count, -1)
    return out


def _heads(x: np.ndarray, heads: int) -> np.ndarray:
    """(n, heads * d) as (heads, n, d)."""
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


def _angles(count: int, c: TransformerConfig) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the rotary positions 0 .. count - 1: float32 (count, head_dim / 2) each."""
    inverse = 1 / c.rope_theta ** (np.arange(0, c.head_dim, 2) / c.head_dim)
    angles = np.arange(count)[:, None] * inverse
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _rotate(x: np.ndarray, angles: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Rotary position embedding of (heads, n, d): pairs are (i, i + d / 2)."""
    cosine, sine = angles
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1)
