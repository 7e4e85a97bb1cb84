"""The suite: problems with known constants, the counterexamples, and two without a global L.

Each function builds one; `seed` draws its data, the same for the same seed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from theory.reference.classifiers import Softmax
from theory.reference.problems import (
    GEMAN_MCCLURE,
    LOGISTIC,
    SQUARES,
    Array,
    Facts,
    Problem,
    Quadratics,
    Regression,
)

Solved = TypeVar("Solved", Regression, Softmax)


@dataclass
class Additive(Problem):
    """f_i = F + <xi_i, w> with mean noise 0: the same variance everywhere, F in closed form.

    Args:
        F, slope, curvature: F(w) (...), its gradient and Hessian diagonal, (..., d).
        xi: noise, (n, d); its column means are taken off.
    """

    name: str
    F: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    curvature: Callable[[Array], Array]
    xi: Array
    start: Array
    facts: Facts = field(default_factory=Facts)

    def __post_init__(self) -> None:
        self.n, self.d = self.xi.shape
        self.xi = self.xi - self.xi.mean(0)
        self.facts = replace(self.facts, variances=(self.xi**2).mean(0))

    def losses(self, w: Array) -> Array:
        """f_i(w), (..., n)."""
        return np.asarray(self.F(w))[..., None] + w @ self.xi.T

    def gradients(self, w: Array) -> Array:
        """g_i(w), (..., n, d)."""
        return np.asarray(self.slope(w))[..., None, :] + self.xi

    def curvatures(self, w: Array) -> Array:
        """L_ij at w, (..., n, d)."""
        diagonal = np.asarray(self.curvature(w))[..., None, :]
        return np.broadcast_to(diagonal, (*w.shape[:-1], self.n, self.d))


def quadratic(spectrum: Array, seed: int = 0, noise: float = 1.0, n: int = 64) -> Problem:
    """A rotated quadratic with the given eigenvalues, w* = 0, and additive noise."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((len(spectrum), len(spectrum))))[0]
    H = (basis * spectrum) @ basis.T
    return Additive(
        "quadratic",
        lambda w: (w * (w @ H)).sum(-1) / 2,
        lambda w: w @ H,
        lambda w: np.broadcast_to(np.diag(H), w.shape),
        noise * rng.standard_normal((n, len(spectrum))),
        np.ones(len(spectrum)),
        Facts(
            L=float(spectrum.max()),
            mu=float(spectrum.min()),
            minimum=0.0,
            minimiser=np.zeros(len(spectrum)),
            convex=True,
        ),
    )


def diagonal(spectrum: Array, seed: int = 0, noise: float = 1.0, n: int = 64) -> Problem:
    """A quadratic whose axes are the coordinates, with additive noise."""
    rng = np.random.default_rng(seed)
    centres = noise * rng.standard_normal((n, len(spectrum))) / spectrum
    h = np.broadcast_to(spectrum, centres.shape)
    return Quadratics("diagonal quadratic", h, centres - centres.mean(0), np.ones(len(spectrum)))


def wavy(d: int = 2, seed: int = 0, noise: float = 1.0, n: int = 64) -> Problem:
    """sum_j w_j^2 + 3 sin^2 w_j: not convex, but PL with mu = 1/32; L = 8 (Karimi et al. 2016)."""
    rng = np.random.default_rng(seed)
    return Additive(
        "x^2 + 3 sin^2 x",
        lambda w: (w**2 + 3 * np.sin(w) ** 2).sum(-1),
        lambda w: 2 * w + 3 * np.sin(2 * w),
        lambda w: 2 + 6 * np.cos(2 * w),
        noise * rng.standard_normal((n, d)),
        np.full(d, 3.0),
        Facts(L=8.0, mu=1 / 32, minimum=0.0, minimiser=np.zeros(d)),
    )


def _inputs(n: int, d: int, seed: int) -> tuple[Array, Array, np.random.Generator]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.geomspace(1, 0.5, d)
    return x, rng.standard_normal(d), rng


def logistic(n: int = 32, d: int = 4, seed: int = 0, ridge: float = 0.05) -> Regression:
    """l2-logistic regression with 15 % of the labels flipped; F* by Newton's method."""
    x, truth, rng = _inputs(n, d, seed)
    y = np.where(rng.random(n) < 0.15, -1.0, 1.0) * np.where(x @ truth > 0, 1.0, -1.0)
    problem = Regression("logistic regression", x, y, LOGISTIC, np.ones(d), ridge)
    return _solved(problem, problem.smoothness(), ridge, problem.variances())


def geman_mcclure(n: int = 32, d: int = 4, seed: int = 0) -> Regression:
    """Robust regression r^2 / (1 + r^2): smooth, bounded, not convex; 0 stands for its minimum."""
    x, truth, rng = _inputs(n, d, seed)
    y = x @ truth + 0.1 * rng.standard_normal(n)
    problem = Regression("Geman-McClure regression", x, y, GEMAN_MCCLURE, truth + 1)
    problem.facts = Facts(L=problem.smoothness(), minimum=0.0, variances=problem.variances())
    return problem


def softmax(n: int = 24, d: int = 3, classes: int = 3, seed: int = 0) -> Softmax:
    """l2-softmax regression, ridge .05, labels drawn from a linear model; F* by Newton's method."""
    x, _, rng = _inputs(n, d, seed)
    scores = x @ rng.standard_normal((d, classes))
    y = (scores + rng.gumbel(size=scores.shape)).argmax(1)
    problem = Softmax("softmax regression", x, y, classes, np.ones(classes * d), ridge=0.05)
    top = float(np.linalg.eigvalsh(x.T @ x / n)[-1])
    variances = np.tile((x**2).mean(0), classes)
    return _solved(problem, top / 2 + problem.ridge, problem.ridge, variances)


def _solved(problem: Solved, L: float, mu: float, variances: Array | None) -> Solved:
    """The problem with its facts, w* by damped Newton steps on the exact gradient."""
    w, eye = np.zeros(problem.d), np.eye(problem.d)
    for _ in range(200):
        gradient = problem.gradient(w)
        if np.abs(gradient).max() < 1e-13:
            break
        # Central differences only choose the direction; the gradient that is driven to 0 is exact.
        shifts = 1e-5 * eye
        H = (problem.gradient(w + shifts) - problem.gradient(w - shifts)) / 2e-5
        direction, step = np.linalg.solve((H + H.T) / 2 + 1e-10 * eye, gradient), 1.0
        while step > 1e-6 and problem.value(w - step * direction) > problem.value(w):
            step /= 2
        w = w - step * direction
    minimum = float(problem.value(w))
    problem.facts = Facts(L, mu, minimum, w, variances, convex=True)
    return problem


def ce1() -> Quadratics:
    """CE1, the smallest bias: two quadratics in the plane, constants (4, 1) and (1, 4)."""
    h = np.array([[4.0, 1.0], [1.0, 4.0]])
    c = np.array([[1.0, 1.0], [-1.0, -1.0]])
    return Quadratics("CE1", h, c, np.zeros(2))


def ce2() -> Regression:
    """CE2: logistic regression on post-ReLU features, three samples that no weights fit."""
    x, y = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]), np.array([1.0, 1.0, -1.0])
    problem = Regression("CE2", x, y, LOGISTIC, np.zeros(2))
    return _solved(problem, problem.smoothness(), 0.0, problem.variances())


def ce3(relu: bool = False, overlap: float = 0.6) -> Softmax:
    """CE3: separable two-class softmax problems on which Algorithm 3 as printed diverges.

    Args:
        relu: n = d = 4 with inputs >= 0 and alternating labels; else n = d = 3 and one label.
        overlap: a, the size of the off-diagonal inputs.
    """
    if relu:
        x = np.array([np.roll([1.0, overlap, 0.0, overlap], i) for i in range(4)])
        y = np.array([0, 1, 0, 1])
    else:
        x, y = (1 + overlap) * np.eye(3) - overlap, np.zeros(3, dtype=np.int64)
    top = float(np.linalg.eigvalsh(x.T @ x / len(x))[-1])
    facts = Facts(L=top / 2, minimum=0.0, convex=True)
    return Softmax("CE3", x, y, 2, np.zeros(2 * len(x)), facts=facts)


def ce4() -> Regression:
    """CE4, starvation: all samples rank coordinate 1 first, but only coordinate 2 has a slope."""
    x = np.array([[2.0, 1.0], [2.0, -1.0]])
    problem = Regression("CE4", x, x[:, 1], SQUARES, np.zeros(2))
    return _solved(problem, problem.smoothness(), 1.0, None)
