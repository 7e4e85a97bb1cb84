"""Optimizers that are known to be right, and ones that are known to be broken, many at a time.

Each is a rule of one step, for arrays of runs. The rate test must accept the former and reject the
latter whenever it is run; `power` says how reliably it does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theory.problems import Array

Single = NDArray[np.float32]

SPECTRUM = np.array([1.0, 0.85, 0.7])
SHARES = np.array([0.85, 0.6, 0.4])
FEATURES = np.array([[1.0, 0.0], [0.0, 1.0], [-2.0, -1.0]])
"""CE2: the inputs times their labels."""
CANARY_MINIMISER = np.array([-np.log(2), np.log(2)])


@dataclass(frozen=True)
class Control:
    """An optimizer on a problem of its own.

    Attributes:
        name: for tables.
        works: whether it converges at O(1 / sqrt T).
        mask: (shape, rng) -> factors of the stochastic gradient, or None; for the canary, shares.
        eta: step size as a function of T.
        canary: logistic regression CE2 with masks per sample, instead of the noisy quadratic.
    """

    name: str
    works: bool
    mask: Callable[[tuple[int, ...], np.random.Generator], Array] | None
    eta: Callable[[float], float]
    canary: bool = False

    @property
    def time_constants(self) -> Callable[[float], float]:
        """eta T mu_Pi as a function of T, for the step that this one ought to have."""
        if self.canary:
            # The Hessian at w* is 2/9 X'X / 3, its smallest eigenvalue .074; pi_min = .2.
            return lambda T: _canary_step(T) * T * 0.074 * 0.2
        return lambda T: _step(T) * T * float((SPECTRUM * SHARES).min())


def _step(T: float) -> float:
    return float(2 / np.sqrt(T))


def _canary_step(T: float) -> float:
    return float(20 / np.sqrt(T))


def _shared(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.asarray(rng.random(shape, dtype=np.float32) < SHARES, dtype=np.float32)


def _unbiased(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.asarray(_shared(shape, rng) / SHARES)


def _starved(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.array([1.0, 1.0, 0.0])


def _stuck(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.zeros(3)


def _nothing(T: float) -> float:
    return 0.5


def _over_decayed(T: float) -> float:
    return 2 / T


CONTROLS = [
    Control("SGD", True, None, _step),
    Control("shared masks, biased", True, _shared, _step),
    Control("shared masks, unbiased", True, _unbiased, _step),
    Control("stuck", False, _stuck, _step),
    Control("constant step at its floor", False, None, _nothing),
    Control("over-decayed step", False, None, _over_decayed),
    Control("starved coordinate", False, _starved, _step),
    Control("per-sample masks on CE2 (canary)", False, None, _canary_step, canary=True),
]


def averages(
    control: Control,
    horizon: int,
    start: float | Array,
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Mean and minimum over a run's steps of |grad F|^2, for runs of the given shape.

    Args:
        horizon: T.
        start: distance of w_0 from w*, in every coordinate; broadcasts against (*shape, 1).
    """
    gradient = _canary if control.canary else _quadratic
    d = 2 if control.canary else len(SPECTRUM)
    w = np.array(np.broadcast_to(start, (*shape, d)), dtype=np.float32)
    w += CANARY_MINIMISER.astype(np.float32) if control.canary else np.float32(0)
    total, smallest = np.zeros(shape), np.full(shape, np.inf)
    eta = control.eta(horizon)
    for _ in range(horizon):
        full, u = gradient(w, rng)
        square = (full**2).sum(-1)
        total += square
        np.minimum(smallest, square, out=smallest)
        if control.mask is not None:
            u = (u * control.mask(u.shape, rng)).astype(np.float32)
        w -= (eta * u).astype(np.float32)
    return total / horizon, smallest


def _quadratic(w: Single, rng: np.random.Generator) -> tuple[Single, Single]:
    """grad F and one sample's gradient of sum_j h_j w_j^2 / 2 with standard normal noise."""
    full = w * SPECTRUM.astype(np.float32)
    return full, full + rng.standard_normal(w.shape, dtype=np.float32)


def _canary(w: Single, rng: np.random.Generator) -> tuple[Single, Single]:
    """grad F of CE2, and one sample's gradient masked as in Algorithm 3 at s = 0."""
    x = FEATURES.astype(np.float32)
    slopes = -1 / (1 + np.exp(w @ x.T))
    index = rng.integers(3, size=w.shape[:-1])
    # L_ij / L_i = x_ij^2 / |x_i|^2: the curvature of the loss cancels.
    pi = (x**2 / (x**2).sum(1, keepdims=True))[index]
    q = rng.random(w.shape, dtype=np.float32) < pi
    g = np.take_along_axis(slopes, index[..., None], -1) * x[index]
    return slopes @ x / 3, g * q


def gaps(
    control: Control,
    eta: Callable[[int], float],
    stops: tuple[int, ...],
    seeds: int,
    rng: np.random.Generator,
) -> Array:
    """F(w_t) - F* at the steps asked for, from w* + 1, with steps eta(t); (len(stops), S)."""
    gradient, value = (_canary, _canary_gap) if control.canary else (_quadratic, _quadratic_gap)
    centre = CANARY_MINIMISER if control.canary else np.zeros(len(SPECTRUM))
    w = np.tile(centre + 1, (seeds, 1)).astype(np.float32)
    path = []
    for step in range(max(stops)):
        _, u = gradient(w, rng)
        w -= (eta(step) * u).astype(np.float32)
        if step + 1 in stops:
            path.append(value(w.astype(np.float64)))
    return np.array(path)


def _quadratic_gap(w: Array) -> Array:
    return np.asarray((w**2 @ SPECTRUM) / 2)


def _canary_gap(w: Array) -> Array:
    def loss(w: Array) -> Array:
        return np.asarray(np.logaddexp(0, -w @ FEATURES.T).mean(-1))

    return np.asarray(loss(w) - loss(CANARY_MINIMISER))


def stalled_minimum(
    d: int, horizons: list[int], seeds: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """SGD at a constant step on |w|^2 / 2, started at its floor: average and running minimum.

    Returns:
        Both (H, S).
    """
    eta = 0.5
    averages_, minima = [], []
    for horizon in horizons:
        w = rng.standard_normal((seeds, d)) * np.sqrt(eta / (2 - eta))
        total, smallest = np.zeros(seeds), np.full(seeds, np.inf)
        for _ in range(horizon):
            square = (w**2).sum(-1)
            total += square
            np.minimum(smallest, square, out=smallest)
            w -= eta * (w + rng.standard_normal(w.shape))
        averages_.append(total / horizon)
        minima.append(smallest)
    return np.array(averages_), np.array(minima)
