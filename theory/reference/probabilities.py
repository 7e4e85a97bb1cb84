"""Selection probabilities from constants: the judge's own, by repeated sharing instead of sorting."""

import numpy as np

from theory.reference.problems import Array


def literal(constants: Array, gamma: float) -> Array:
    """(L_j / sum L)^gamma over the last dimension, as Algorithm 3 prints it.

    >>> literal(np.array([1.0, 1.0, 2.0]), gamma=2).tolist()
    [0.0625, 0.0625, 0.25]
    """
    total = constants.sum(-1, keepdims=True)
    return np.asarray((constants / np.where(total > 0, total, 1)) ** gamma)


def waterfill(constants: Array, block: float, gamma: float) -> Array:
    """min(1, kappa L_j^gamma) with kappa such that the last dimension sums to `block`.

    What would exceed 1 is set to 1 and the rest is shared anew, until nothing exceeds 1. Zero
    constants get nothing, unless all are zero: then every coordinate gets block / d.

    Args:
        constants: L >= 0, (..., d).
        block: K in (0, d].
        gamma: exponent, finite.

    >>> waterfill(np.array([1.0, 1.0, 8.0]), block=2, gamma=1).tolist()
    [0.5, 0.5, 1.0]
    """
    size = constants.shape[-1]
    positive = constants > 0
    empty = ~positive.any(-1, keepdims=True)
    logs = gamma * np.log(np.where(positive, constants, 1.0))
    target = np.minimum(block, positive.sum(-1, keepdims=True))
    full = np.zeros(constants.shape, dtype=bool)
    for _ in range(size):
        free = positive & ~full
        largest = np.where(free, logs, -np.inf).max(-1, keepdims=True)
        powers = np.where(free, np.exp(np.minimum(0.0, logs - np.where(empty, 0, largest))), 0.0)
        total = powers.sum(-1, keepdims=True)
        left = target - full.sum(-1, keepdims=True)
        share = left * powers / np.where(total > 0, total, 1.0)
        over = share > 1
        if not over.any():
            break
        full |= over
    pi = np.where(full, 1.0, share)
    return np.asarray(np.where(empty, min(1.0, block / size), pi))


def top(constants: Array, block: float) -> Array:
    """1 for the K largest of the last dimension; ties at the edge share what is left equally.

    >>> top(np.array([3.0, 2.0, 2.0, 1.0]), block=2).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    ranked = -np.sort(-constants, axis=-1)
    size = constants.shape[-1]
    edge = ranked[..., min(int(block), size - 1), None]
    above, tied = constants > edge, constants == edge
    left = np.minimum(block - above.sum(-1, keepdims=True), tied.sum(-1, keepdims=True))
    return np.asarray(np.where(above, 1.0, tied * left / tied.sum(-1, keepdims=True)))


def floored(pi: Array, floor: float, block: float) -> Array:
    """(1 - eps) pi + eps K / d: no coordinate starves.

    >>> floored(np.array([1.0, 0.0]), floor=0.5, block=1).tolist()
    [0.75, 0.25]
    """
    return np.asarray((1 - floor) * pi + floor * min(1.0, block / pi.shape[-1]))
