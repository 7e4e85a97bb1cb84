"""Optimizers that are known to be right, and ones that are known to be broken, many at a time.

Each is a rule of one step, for arrays of runs. The rate test must accept the former and reject the
latter whenever it is run; `power` says how reliably it does.

Index legend: `d` coordinate, first so that sums over it are sums of rows; `r` run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theory.reference.problems import Array

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
        mask: (shape, rng) -> factors of the stochastic gradient, or None.
        eta: step size as a function of T.
        canary: logistic regression CE2 with masks per sample, instead of the noisy quadratic.
    """

    name: str
    works: bool
    mask: Callable[[tuple[int, ...], np.random.Generator], Single] | None
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


def _column(of: Array) -> Single:
    return of.astype(np.float32)[:, None]


def _shared(shape: tuple[int, ...], rng: np.random.Generator) -> Single:
    return np.asarray(rng.random(shape, dtype=np.float32) < _column(SHARES), dtype=np.float32)


def _unbiased(shape: tuple[int, ...], rng: np.random.Generator) -> Single:
    return np.asarray(_shared(shape, rng) / _column(SHARES))


def _starved(shape: tuple[int, ...], rng: np.random.Generator) -> Single:
    return _column(np.array([1.0, 1.0, 0.0]))


def _stuck(shape: tuple[int, ...], rng: np.random.Generator) -> Single:
    return _column(np.zeros(3))


def _constant_step(T: float) -> float:
    return 0.5


def _over_decayed(T: float) -> float:
    return 2 / T


CONTROLS = [
    Control("SGD", True, None, _step),
    Control("shared masks, biased", True, _shared, _step),
    Control("shared masks, unbiased", True, _unbiased, _step),
    Control("stuck", False, _stuck, _step),
    Control("constant step at its floor", False, None, _constant_step),
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
) -> Array:
    """Mean over a run's steps of |grad F|^2, for runs of the given shape.

    Args:
        horizon: T.
        start: distance of w_0 from w*, in every coordinate; broadcasts against the shape.
    """
    gradient = _canary if control.canary else _quadratic
    w = _minimiser(control) + np.broadcast_to(start, shape).ravel().astype(np.float32)
    total, eta = np.zeros(w.shape[1]), control.eta(horizon)
    for _ in range(horizon):
        full, u = gradient(w, rng)
        total += (full**2).sum(0)
        if control.mask is not None:
            u *= control.mask(u.shape, rng)
        w -= eta * u
    return np.asarray(total / horizon).reshape(shape)


def _minimiser(control: Control) -> Single:
    """w*, (d, 1)."""
    return _column(CANARY_MINIMISER if control.canary else np.zeros(len(SPECTRUM)))


def _quadratic(w: Single, rng: np.random.Generator) -> tuple[Single, Single]:
    """grad F and one sample's gradient of sum_j h_j w_j^2 / 2 with noise of -1 and 1, (d, r)."""
    full = w * _column(SPECTRUM)
    # A random bit costs a tenth of a normal number, and only the variance of noise enters a rate.
    bits = np.unpackbits(rng.integers(256, size=-(-w.size // 8), dtype=np.uint8), count=w.size)
    signs = 2 * bits.reshape(w.shape).astype(np.float32) - 1
    return full, full + signs


def _canary(w: Single, rng: np.random.Generator) -> tuple[Single, Single]:
    """grad F of CE2, and one sample's gradient masked as in Algorithm 3 at s = 0, (d, r)."""
    x = FEATURES.astype(np.float32)
    slopes = -1 / (1 + np.exp(x @ w))
    index = rng.integers(3, size=w.shape[1])
    # L_ij / L_i = x_ij^2 / |x_i|^2: the curvature of the loss cancels.
    pi = x**2 / (x**2).sum(1, keepdims=True)
    q = rng.random(w.shape, dtype=np.float32) < pi.T.take(index, axis=1)
    g = slopes[index, np.arange(w.shape[1])] * x.T.take(index, axis=1)
    return x.T @ slopes / 3, g * q


def gaps(
    control: Control,
    eta: Callable[[int], float],
    stops: tuple[int, ...],
    seeds: int,
    rng: np.random.Generator,
) -> Array:
    """F(w_t) - F* at the steps asked for, from w* + 1, with steps eta(t); (len(stops), S)."""
    gradient, value = (_canary, _canary_gap) if control.canary else (_quadratic, _quadratic_gap)
    w, path = np.tile(_minimiser(control) + 1, seeds), []
    for step in range(max(stops)):
        _, u = gradient(w, rng)
        w -= eta(step) * u
        if step + 1 in stops:
            path.append(value(w.astype(np.float64)))
    return np.array(path)


def _quadratic_gap(w: Array) -> Array:
    return np.asarray(SPECTRUM @ w**2 / 2)


def _canary_gap(w: Array) -> Array:
    def loss(w: Array) -> Array:
        return np.asarray(np.logaddexp(0, -FEATURES @ w).mean(0))

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
