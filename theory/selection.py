"""Selection probabilities from constants: the judge's own, by bisection instead of sorting."""

import numpy as np

from theory.problems import Array


def literal(constants: Array, gamma: float) -> Array:
    """(L_j / sum L)^gamma over the last dimension, as Algorithm 3 prints it."""
    total = constants.sum(-1, keepdims=True)
    return np.asarray((constants / np.where(total > 0, total, 1)) ** gamma)


def waterfill(constants: Array, block: float, gamma: float) -> Array:
    """min(1, kappa L_j^gamma) with kappa such that the last dimension sums to `block`.

    Zero constants get nothing, unless all are zero: then every coordinate gets block / d.

    Args:
        constants: L >= 0, (..., d).
        block: K in (0, d].
        gamma: exponent, finite.
    """
    size = constants.shape[-1]
    positive = constants > 0
    with np.errstate(divide="ignore"):
        logs = gamma * np.log(constants)
    logs = np.where(positive, logs, -np.inf)
    target = np.minimum(block, positive.sum(-1, keepdims=True))
    finite = np.where(positive, logs, np.nan)
    empty = ~positive.any(-1, keepdims=True)
    finite = np.where(empty, 0.0, finite)
    # At low no coordinate is above 1 / d of the block, at high all of them are capped.
    low = np.log(np.maximum(target, 1e-300) / size) - np.nanmax(finite, -1, keepdims=True)
    high = -np.nanmin(finite, -1, keepdims=True)
    for _ in range(80):
        middle = (low + high) / 2
        total = np.exp(np.minimum(0.0, logs + middle)).sum(-1, keepdims=True)
        low = np.where(total < target, middle, low)
        high = np.where(total < target, high, middle)
    pi = np.exp(np.minimum(0.0, logs + high))
    return np.asarray(np.where(empty, min(1.0, block / size), pi))


def top(constants: Array, block: float) -> Array:
    """1 for the K largest of the last dimension; ties at the edge share what is left equally."""
    ranked = -np.sort(-constants, axis=-1)
    size = constants.shape[-1]
    edge = ranked[..., min(int(block), size - 1), None]
    above, tied = constants > edge, constants == edge
    left = np.minimum(block - above.sum(-1, keepdims=True), tied.sum(-1, keepdims=True))
    return np.asarray(np.where(above, 1.0, tied * left / tied.sum(-1, keepdims=True)))


def floored(pi: Array, floor: float, block: float) -> Array:
    """(1 - eps) pi + eps K / d: no coordinate starves."""
    return np.asarray((1 - floor) * pi + floor * min(1.0, block / pi.shape[-1]))
