"""Problems that a list of per-sample losses does not make convex: a net, and two without global L.

The net interpolates its data, so F* = 0. Rosenbrock's function and matrix factorisation are for
slopes only: no L holds for all weights, and no bound is checked on them.
"""

from dataclasses import dataclass, field

import numpy as np

from theory.reference.problems import Array, Facts, Problem
from theory.reference.suite import Additive


@dataclass
class SoftplusNet(Problem):
    """f_i = (a' softplus(U x_i) - y_i)^2 / 2, weights (U, a) in one row of d = H M + H.

    Args:
        x: (n, M).
        y: targets, (n,).
        hidden: H.
        start: (d,).
    """

    name: str
    x: Array
    y: Array
    hidden: int
    start: Array
    facts: Facts = field(default_factory=Facts)

    def __post_init__(self) -> None:
        self.n, self.d = len(self.x), self.hidden * (self.x.shape[1] + 1)

    def _forward(self, w: Array) -> tuple[Array, Array, Array]:
        """Hidden inputs s (..., n, H), output weights a (..., 1, H), residuals (..., n)."""
        U = w[..., : -self.hidden].reshape(*w.shape[:-1], self.hidden, -1)
        a = w[..., None, -self.hidden :]
        s = np.asarray(np.einsum("nm,...hm->...nh", self.x, U))
        return s, a, np.asarray((np.logaddexp(0, s) * a).sum(-1) - self.y)

    def losses(self, w: Array) -> Array:
        """f_i(w), (..., n)."""
        return np.asarray(self._forward(w)[2] ** 2 / 2)

    def _slopes(self, w: Array) -> tuple[Array, Array, Array]:
        """Derivatives of the output, (..., n, d), residuals, and second ones in U, (..., n, H)."""
        s, a, residual = self._forward(w)
        sigmoid = 0.5 * (1 + np.tanh(s / 2))
        inner = (a * sigmoid)[..., None] * self.x[:, None, :]
        inner = inner.reshape(*inner.shape[:-2], -1)
        slopes = np.concatenate([inner, np.logaddexp(0, s)], axis=-1)
        return slopes, residual, a * sigmoid * (1 - sigmoid)

    def gradients(self, w: Array) -> Array:
        """g_i(w), (..., n, d)."""
        slopes, residual, _ = self._slopes(w)
        return np.asarray(slopes * residual[..., None])

    def curvatures(self, w: Array) -> Array:
        """Diagonals of the Hessians, (..., n, d): negative where the net is not convex."""
        slopes, residual, bend = self._slopes(w)
        second = bend[..., None] * (self.x**2)[:, None, :] * residual[..., None, None]
        second = second.reshape(*second.shape[:-2], -1)
        curvature = slopes**2 + np.concatenate([second, np.zeros_like(bend)], axis=-1)
        return np.asarray(curvature)


def interpolating_net(n: int = 8, inputs: int = 2, hidden: int = 6, seed: int = 0) -> Problem:
    """A softplus net on targets that a net of the same shape made: F* = 0, all f_i vanish there."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, inputs))
    truth = 0.7 * rng.standard_normal(hidden * (inputs + 1))
    start = truth + 0.3 * rng.standard_normal(truth.shape)
    teacher = SoftplusNet("teacher", x, np.zeros(n), hidden, start)
    y = np.sqrt(2 * teacher.losses(truth)) * np.sign(teacher._forward(truth)[2])
    return SoftplusNet("softplus net", x, y, hidden, start, Facts(minimum=0.0, minimiser=truth))


def rosenbrock(noise: float = 0.1, seed: int = 0, n: int = 64) -> Problem:
    """(1 - a)^2 + 10 (b - a^2)^2 with additive noise: no global L."""
    xi = noise * np.random.default_rng(seed).standard_normal((n, 2))

    def slope(w: Array) -> Array:
        a, b = w[..., 0], w[..., 1]
        return np.stack([-2 * (1 - a) - 40 * a * (b - a**2), 20 * (b - a**2)], axis=-1)

    def curvature(w: Array) -> Array:
        a, b = w[..., 0], w[..., 1]
        return np.stack([2 - 40 * b + 120 * a**2, np.full_like(a, 20.0)], axis=-1)

    return Additive(
        "Rosenbrock",
        lambda w: np.asarray((1 - w[..., 0]) ** 2 + 10 * (w[..., 1] - w[..., 0] ** 2) ** 2),
        slope,
        curvature,
        xi,
        np.array([-0.5, 0.5]),
        Facts(minimum=0.0, minimiser=np.ones(2)),
    )


def factorisation(noise: float = 0.1, seed: int = 0, n: int = 64) -> Problem:
    """(u v - 1)^2 / 2 with additive noise: a saddle at 0, a curve of minima, no global L."""
    xi = noise * np.random.default_rng(seed).standard_normal((n, 2))
    return Additive(
        "matrix factorisation",
        lambda w: np.asarray((w[..., 0] * w[..., 1] - 1) ** 2 / 2),
        lambda w: (w[..., 0] * w[..., 1] - 1)[..., None] * w[..., ::-1],
        lambda w: w[..., ::-1] ** 2,
        xi,
        np.array([1.5, 0.2]),
        Facts(minimum=0.0, minimiser=np.ones(2)),
    )
