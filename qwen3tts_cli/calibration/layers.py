"""Round the layers of a transformer one after another, each with the inputs that the rounded layers before it give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .int4_layout import pack_levels
from .rounding import GROUP, cross_moments, least_squares_matrix, moments_factor, multiply, round_matrix
from .transformer import attend, rms_norm, silu, widen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..models.config.transformer import TransformerConfig
    from .transformer import Span

    Tensors = Mapping[tuple[str, int], np.ndarray]
    Packed = dict[tuple[str, int], tuple[str, np.ndarray]]

_RIDGE = 0.3  # how strongly a matrix that corrects earlier errors is held near the checkpoint's


class Rounder:
    """Rounds the layers of one transformer.

    name: "TALKER" or "PREDICTOR". tensors: of the checkpoint. packed: gets the packed matrices.
    """

    def __init__(self, name: str, config: TransformerConfig, tensors: Tensors, packed: Packed, threads: int) -> None:
        self._name, self._config, self._tensors, self._packed, self._threads = name, config, tensors, packed, threads

    def _tensor(self, name: str, layer: int) -> np.ndarray:
        return widen(self._tensors[f"{self._name}_{name}", layer])

    def run(
        self, inputs: np.ndarray, exact: np.ndarray, spans: Sequence[Span], tick: Callable[[float], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Round all layers. Returns the normed outputs, rounded and exact, float32 (n, hidden) each.

        inputs, exact: the rows of all sequences, float32 (n, hidden), as the rounded and the exact model has them.
        spans: the rows [first, last) of each sequence. tick: called with the share that is done, 0 to 1.
        """
        c = self._config
        for layer in range(c.num_hidden_layers):
            inputs, exact = self._attention(layer, inputs, exact, spans)
            tick((layer + 0.4) / c.num_hidden_layers)
            inputs, exact = self._mlp(layer, inputs, exact)
            tick((layer + 1) / c.num_hidden_layers)
        norm = self._tensor("NORM", 0)
        return rms_norm(inputs, norm, c.rms_norm_eps), rms_norm(exact, norm, c.rms_norm_eps)

    def _attention(
        self, layer: int, x: np.ndarray, y: np.ndarray, spans: Sequence[Span]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The residual stream after the attention of a layer, rounded and exact. x, y: before it."""
        c = self._config
        norm, norms = self._tensor("INPUT_NORM", layer), (self._tensor("Q_NORM", layer), self._tensor("K_NORM", layer))
        hx, hy = rms_norm(x, norm, c.rms_norm_eps), rms_norm(y, norm, c.rms_norm_eps)
        rounded = self._products(("Q", "K", "V"), layer, hx, hy)
        ax, ay = (attend(*(each[i] for each in rounded), norms, c, spans) for i in (0, 1))
        ((ox, oy),) = self._products(("O",), layer, ax, ay, y - x)
        return x + ox, y + oy

    def _mlp(self, layer: int, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The residual stream after the MLP of a layer, rounded and exact. x, y: before it."""
        norm, eps = self._tensor("POST_NORM", layer), self._config.rms_norm_eps
        hx, hy = rms_norm(x, norm, eps), rms_norm(y, norm, eps)
        (gx, gy), (ux, uy) = self._products(("GATE", "UP"), layer, hx, hy)
        ((dx, dy),) = self._products(("DOWN",), layer, silu(gx) * ux, silu(gy) * uy, y - x)
        return x + dx, y + dy

    def _products(
        self, names: Sequence[str], layer: int, x: np.ndarray, y: np.ndarray, missing: np.ndarray | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Round matrices that have the same input. Returns (x by the rounded, y by the exact matrix) of each.

        missing: what the products of x are to be larger by, (n, rows): the error of the residual stream.
        """
        matrices = [self._tensor(name, layer) for name in names]
        ends = np.cumsum([len(matrix) for matrix in matrices])[:-1]
        weights, threads, moments = np.concatenate(matrices), self._threads, cross_moments(x, x, self._threads)
        wanted = multiply(y, weights.T, threads)
        rest = multiply(y - x, weights.T, threads)
        rest = rest if missing is None else rest + missing
        target = least_squares_matrix(weights, x, moments, rest, _RIDGE, threads)
        del rest
        levels, scales = round_matrix(target, moments_factor(moments), threads)
        for name, *parts in zip(names, np.split(levels, ends), np.split(scales, ends), strict=True):
            self._packed[f"{self._name}_{name}", layer] = ("int4", pack_levels(*parts))
        rounded = levels * np.repeat(scales, GROUP, axis=1)[:, : levels.shape[1]]
        products = multiply(x, rounded.T, threads)
        return list(zip(np.split(products, ends, axis=1), np.split(wanted, ends, axis=1), strict=True))
