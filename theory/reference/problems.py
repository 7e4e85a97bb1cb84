"""Test problems in float64: per-sample losses, gradients and coordinate constants, over many seeds.

F = mean_i f_i over n samples, d coordinates. Weights carry leading dimensions, one per repetition:
w is (..., d), per-sample results are (..., n) and (..., n, d). Closed forms, so no autograd.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Facts:
    """What is known of a problem; None where it is not known, or infinite.

    Attributes:
        L: Lipschitz constant of grad F, for all w.
        mu: |grad F|^2 >= 2 mu (F - F*): Polyak-Lojasiewicz.
        minimum: F*, or a lower bound of F that is tight enough to be used as F*.
        minimiser: w*, (d,).
        variances: sigma_j^2 >= the variance of coordinate j of one sample's gradient, (d,).
        convex: whether F is convex.
    """

    L: float | None = None
    mu: float | None = None
    minimum: float | None = None
    minimiser: Array | None = None
    variances: Array | None = None
    convex: bool = False


class Problem(ABC):
    """A mean of n losses of d weights.

    Attributes:
        name: for tables.
        n, d: numbers of samples and of weights.
        start: w_0, (d,).
        facts: known constants.
    """

    name: str
    n: int
    d: int
    start: Array
    facts: Facts

    @abstractmethod
    def losses(self, w: Array) -> Array:
        """f_i(w), (..., n)."""

    @abstractmethod
    def gradients(self, w: Array) -> Array:
        """g_i(w), (..., n, d)."""

    @abstractmethod
    def curvatures(self, w: Array) -> Array:
        """Diagonals of the Hessians of f_i at w: the local constants L_ij, (..., n, d)."""

    def scores(self, w: Array) -> Array:
        """L_ij up to a positive factor of each sample, (..., n, d), where it may underflow."""
        return self.curvatures(w)

    def value(self, w: Array) -> Array:
        """F(w), (...)."""
        return np.asarray(self.losses(w).mean(-1))

    def gradient(self, w: Array) -> Array:
        """grad F(w), (..., d)."""
        return np.asarray(self.gradients(w).mean(-2))

    def known(self, fact: str) -> float:
        """A number among the facts.

        Raises:
            ValueError: it is not known for this problem.
        """
        value = getattr(self.facts, fact)
        if value is None:
            raise ValueError(f"{fact} is not known for {self.name}")
        return float(value)

    @property
    def gap(self) -> float:
        """D = F(w_0) - F*."""
        return float(self.value(self.start)) - self.known("minimum")


@dataclass
class Quadratics(Problem):
    """f_i = sum_j h_ij (w_j - c_ij)^2 / 2: separable, the sample's own curvatures.

    Args:
        h, c: (n, d).
    """

    name: str
    h: Array
    c: Array
    start: Array
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        self.n, self.d = self.h.shape
        mean = self.h.mean(0)
        best = (self.h * self.c).mean(0) / mean
        same = bool((self.h == self.h[0]).all())
        variances = (self.h * self.c).var(0) if same else None
        self.facts = Facts(
            L=float(mean.max()),
            mu=float(mean.min()),
            minimum=float(self.value(best)),
            minimiser=best,
            variances=variances,
            convex=True,
        )

    def losses(self, w: Array) -> Array:
        """f_i(w), (..., n)."""
        return np.asarray((self.h * (w[..., None, :] - self.c) ** 2).sum(-1) / 2)

    def gradients(self, w: Array) -> Array:
        """g_i(w), (..., n, d)."""
        return self.h * (w[..., None, :] - self.c)

    def curvatures(self, w: Array) -> Array:
        """L_ij at w, (..., n, d)."""
        return np.broadcast_to(self.h, (*w.shape[:-1], self.n, self.d))


class Link(NamedTuple):
    """A loss of (prediction z, target y), its first two derivatives in z, and their bounds."""

    loss: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]
    curvature: Callable[[Array, Array], Array]
    max_slope: float
    max_curvature: float


def _sigmoid(z: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))


def _bump(z: Array, y: Array) -> Array:
    return np.asarray(1 / (1 + (z - y) ** 2))


SQUARES = Link(
    lambda z, y: (z - y) ** 2 / 2, lambda z, y: z - y, lambda z, y: np.ones_like(z), np.inf, 1.0
)
LOGISTIC = Link(
    lambda z, y: np.logaddexp(0, -y * z),
    lambda z, y: -y * _sigmoid(-y * z),
    lambda z, y: _sigmoid(z) * _sigmoid(-z),
    1.0,
    0.25,
)
GEMAN_MCCLURE = Link(
    lambda z, y: 1 - _bump(z, y),
    lambda z, y: 2 * (z - y) * _bump(z, y) ** 2,
    lambda z, y: 2 * _bump(z, y) ** 2 * (4 * _bump(z, y) - 3),
    3 * np.sqrt(3) / 8,
    2.0,
)
"""r^2 / (1 + r^2) of the residual r: bounded, not convex; |slope| <= 3 sqrt(3) / 8 = .6495."""


@dataclass
class Regression(Problem):
    """f_i = link(<x_i, w>, y_i) + ridge |w|^2 / 2.

    Args:
        x: (n, d).
        y: targets, (n,); -1 and 1 for `LOGISTIC`.
        link: one of the losses above.
        ridge: >= 0.
    """

    name: str
    x: Array
    y: Array
    link: Link
    start: Array
    ridge: float = 0.0
    facts: Facts = field(default_factory=Facts)

    def __post_init__(self) -> None:
        self.n, self.d = self.x.shape

    def losses(self, w: Array) -> Array:
        """f_i(w), (..., n)."""
        ridge = self.ridge * (w**2).sum(-1)[..., None] / 2
        return np.asarray(self.link.loss(w @ self.x.T, self.y) + ridge)

    def gradients(self, w: Array) -> Array:
        """g_i(w), (..., n, d)."""
        slope = self.link.slope(w @ self.x.T, self.y)
        return slope[..., None] * self.x + self.ridge * w[..., None, :]

    def gradient(self, w: Array) -> Array:
        """grad F(w), (..., d): as the mean of `gradients`, without forming them."""
        return np.asarray(self.link.slope(w @ self.x.T, self.y) @ self.x / self.n + self.ridge * w)

    def curvatures(self, w: Array) -> Array:
        """L_ij at w, (..., n, d)."""
        curvature = self.link.curvature(w @ self.x.T, self.y)
        return curvature[..., None] * self.x**2 + self.ridge

    def smoothness(self) -> float:
        """sup|link''| lambda_max(X'X / n) + ridge."""
        top = float(np.linalg.eigvalsh(self.x.T @ self.x / self.n)[-1])
        return self.link.max_curvature * top + self.ridge

    def variances(self) -> Array:
        """max |link'|^2 mean_i x_ij^2, a bound for every w."""
        return np.asarray(self.link.max_slope**2 * (self.x**2).mean(0))
