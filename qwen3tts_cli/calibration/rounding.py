"""Round a matrix to int4 so that its products with given inputs change least.

With the second moments of the inputs, H = C C^T and C upper triangular, the error of a row w that is rounded to q is
|(w - q) C|^2. Columns are rounded from the first to the last, and each makes up for the errors of the ones before it.
The scale of a group of 32 columns is the best of several, each tried with the whole group.
Source: Frantar et al., GPTQ (arXiv 2210.17323), written with C instead of the inverse of H.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

GROUP = 32  # columns with one scale
LOWEST, HIGHEST = -8, 7
_DAMPING = 0.05  # added to the second moments of each column, as a share of their mean
_STEPS = (6.5, 7.0, 7.5, 8.0, 8.5, 9.0)  # the largest weight of a group is this many times the scale
_REFINEMENTS = 2  # scales that are computed from the levels of the best one so far
_MOMENT_ROWS = 2048  # rows that are in memory as float64 at a time
_ROWS = 512  # rows that one thread computes, whatever the number of threads, so that the result does not depend on it


def multiply(a: np.ndarray, b: np.ndarray, threads: int = 1) -> np.ndarray:
    """The product a b. Its bytes do not depend on `threads`."""
    out = np.empty((len(a), b.shape[1]), np.result_type(a, b))

    def multiply_part(first: int) -> None:
        np.matmul(a[first : first + _ROWS], b, out=out[first : first + _ROWS])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(multiply_part, range(0, len(a), _ROWS)))
    return out


def cross_moments(a: np.ndarray, b: np.ndarray, threads: int = 1) -> np.ndarray:
    """The product of a^T (columns, n) and b (n, other columns) in float64, of a few rows at a time."""
    total = np.zeros((a.shape[1], b.shape[1]))
    for first in range(0, len(a), _MOMENT_ROWS):
        x, y = (each[first : first + _MOMENT_ROWS].astype(np.float64) for each in (a, b))
        total += multiply(x.T, y, threads)
    return total


def moments_factor(moments: np.ndarray) -> np.ndarray:
    """The factor C of second moments with damping: float32 (columns, columns), upper triangular."""
    damped = moments.copy()
    damped[np.diag_indices(len(moments))] += _DAMPING * np.trace(moments) / len(moments) + 1e-30
    lower = np.linalg.cholesky(damped[::-1, ::-1])
    return np.ascontiguousarray(lower[::-1, ::-1], np.float32)


def least_squares_matrix(
    weights: np.ndarray, inputs: np.ndarray, moments: np.ndarray, missing: np.ndarray, ridge: float, threads: int = 1
) -> np.ndarray:
    """The matrix near `weights` whose products with `inputs` are larger by `missing`: float32 (rows, columns).

    weights: float32 (rows, columns). inputs: float32 (n, columns), with their second moments.
    missing: float32 (n, rows).
    ridge: how strongly the matrix is held near `weights`, as a share of the mean second moment.
    """
    count, columns = inputs.shape
    strength = ridge * np.trace(moments) / columns + 1e-30
    if count < columns:
        x = inputs.astype(np.float64)
        gram = multiply(x, x.T, threads)
        gram[np.diag_indices(count)] += strength
        change = multiply(np.linalg.solve(gram, missing.astype(np.float64)).T, x, threads)
    else:
        gram = moments.copy()
        gram[np.diag_indices(columns)] += strength
        change = np.linalg.solve(gram, cross_moments(inputs, missing, threads)).T
    return (weights + change).astype(np.float32)


def round_matrix(weights: np.ndarray, factor: np.ndarray, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Levels, int8 (rows, columns) from LOWEST to HIGHEST, and scales, float32 (rows, groups) with bf16 values.

    weights: float32 (rows, columns). factor: see moments_factor.
    """
    rows, columns = weights.shape
    groups = -(-columns // GROUP)
    padded = np.eye(groups * GROUP, dtype=np.float32) * factor[-1, -1]
    padded[:columns, :columns] = factor
    levels, scales = np.empty((rows, columns), np.int8), np.empty((rows, groups), np.float32)

    def round_part(first: int) -> None:
        part = np.zeros((groups * GROUP, min(_ROWS, rows - first)), np.float32)
        part[:columns] = weights[first : first + _ROWS].T
        found, steps = _round_columns(part, padded)
        levels[first : first + _ROWS], scales[first : first + _ROWS] = found[:columns].T, steps.T

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(round_part, range(0, rows, _ROWS)))
    return levels, scales


def _round_columns(weights: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels int8 (columns, rows) and scales float32 (groups, rows). weights: (columns, rows), transposed."""
    columns, rows = weights.shape
    errors, levels = np.zeros_like(weights), np.empty((columns, rows), np.int8)
    scales = np.empty((columns // GROUP, rows), np.float32)
    for group, first in enumerate(range(0, columns, GROUP)):
        last = first + GROUP
        carried = factor[:first, first:last].T @ errors[:first]
        q, scale = _round_group(weights[first:last], carried, factor[first:last, first:last])
        levels[first:last], scales[group] = q, scale
        errors[first:last] = weights[first:last] - q * scale
    return levels, scales


def _round_group(weights: np.ndarray, carried: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels (GROUP, rows) and scales (rows,) of one group. carried: the error of earlier groups, (GROUP, rows)."""
    aim = weights + carried / np.diag(factor)[:, None]
    largest = np.take_along_axis(aim, np.abs(aim).argmax(axis=0)[None], 0)[0]
    whole = carried + factor.T @ weights
    scale = round_to_bf16(-largest / _STEPS[0])
    levels, loss = _try_scale(weights, carried, factor, scale)
    for step in (*_STEPS[1:], *[None] * _REFINEMENTS):
        if step is None:  # the least squares scale of the levels
            products = factor.T @ levels
            square = np.einsum("ij,ij->j", products, products)
            other = np.einsum("ij,ij->j", products, whole) / np.where(square > 0, square, 1)
        else:
            other = -largest / step
        other = round_to_bf16(other)
        new_levels, new_loss = _try_scale(weights, carried, factor, other)
        better = new_loss < loss
        levels, scale = np.where(better, new_levels, levels), np.where(better, other, scale)
        loss = np.where(better, new_loss, loss)
    return levels, scale


def _try_scale(
    weights: np.ndarray, carried: np.ndarray, factor: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Round one group with these scales (rows,). Returns levels (GROUP, rows) and squared errors (rows,)."""
    inverse = np.where(scale == 0, 0, 1 / np.where(scale == 0, 1, scale))
    levels, errors, loss = np.empty_like(weights), np.empty_like(weights), np.zeros_like(scale)
    for i in range(len(weights)):
        before = carried[i] + factor[:i, i] @ errors[:i]
        q = np.clip(np.rint((weights[i] + before / factor[i, i]) * inverse), LOWEST, HIGHEST)
        levels[i], errors[i] = q, weights[i] - q * scale
        loss += (before + errors[i] * factor[i, i]) ** 2
    return levels, loss


def round_to_bf16(values: np.ndarray) -> np.ndarray:
    """The nearest bf16 values, ties to even, as float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
