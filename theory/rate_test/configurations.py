"""The modes of InterpretableSGD that the rate test runs, on regressions built for it.

Few coordinates and mild conditioning, because a rate is in force only after several time constants
of the slowest coordinate: eta T mu_Pi >= 3 at the shortest horizon.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from theory.reference.problems import GEMAN_MCCLURE, SQUARES, Facts, Link, Regression
from theory.reference.suite import ce2, logistic

SIGNS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))


def _factorial(name: str, link: Link, residual: float, minimum: float | None) -> Regression:
    """All sign patterns of three scaled inputs, with residuals that no weights can reduce."""
    x, w = SIGNS * np.array([1.0, 0.9, 0.8]), np.array([1.0, -0.8, 0.6])
    y = x @ w + residual * SIGNS.prod(1)
    problem = Regression(name, x, y, link, w + 1)
    least = float(problem.value(w)) if minimum is None else minimum
    mu = 0.64 if link is SQUARES else None
    problem.facts = Facts(float(link.max_curvature), mu, least, w, convex=link is SQUARES)
    return problem


def squares() -> Regression:
    """Least squares: L = 1, mu = .64, w* = (1, -.8, .6)."""
    return _factorial("least squares", SQUARES, 0.7, None)


def robust() -> Regression:
    """Geman-McClure, not convex: L = 2, stationary at the same w*; F > 0 everywhere."""
    return _factorial("Geman-McClure", GEMAN_MCCLURE, 0.1, 0.0)


def canary() -> Regression:
    """CE2, on which masks per sample are biased."""
    problem = ce2()
    assert isinstance(problem, Regression)
    return problem


def ridge() -> Regression:
    """Logistic regression whose ridge, .2, is the optimizer's weight decay."""
    problem = logistic(n=12, d=3, ridge=0.2)
    assert isinstance(problem, Regression)
    return problem


PROBLEMS = {"least squares": squares, "Geman-McClure": robust, "CE2": canary, "ridge": ridge}
STEPS = {"least squares": 0.14, "Geman-McClure": 0.1, "CE2": 1.75, "ridge": 0.5}
"""eta at the shortest horizon, at most 1 / L there; it falls as 1 / sqrt T over the others."""
FAR = {"least squares": 1.0, "Geman-McClure": 0.5, "CE2": 1.0, "ridge": 1.0}
"""Distance of the far start from w* in every coordinate: less where gradients vanish far away."""
PLAIN: dict[str, Any] = {
    "method": "shared",
    "exploration": 0.3,
    "shrink": 0.0,
    "form": 0,
}
"""Shared masks as Theorem A has them."""


@dataclass(frozen=True)
class Mode:
    """A configuration, and what is expected of it.

    Attributes:
        name: of the claim.
        label: for tables.
        problems: keys of `PROBLEMS`; a quick run takes the first.
        options: of InterpretableSGD; None for torch.optim.SGD. K is 2 of 3, or 1 of 2.
        converges: whether M_T -> 0 at the exponent.
        theorem: that `optimizer.guarantee()` must name; "" for none.
        batch: 0 for all samples.
        momentum: b.
        separate: a layer for every run, and fewer runs.
        exponent: 0.5; 1 for steps that need not fall.
        shrinks: whether what is not selected is soft-thresholded.
    """

    name: str
    label: str
    problems: tuple[str, ...]
    options: dict[str, Any] | None = field(default_factory=dict)
    converges: bool = True
    theorem: str = "A"
    batch: int = 1
    momentum: float = 0.0
    separate: bool = False
    exponent: float = 0.5
    shrinks: bool = False

    def step(self, problem: str, horizon: float, shortest: float) -> float:
        """eta for runs of T steps, among horizons of which one is the shortest."""
        if self.exponent == 1:
            return 0.5 / float(PROBLEMS[problem]().known("L"))
        return (1 - self.momentum) * STEPS[problem] * float(np.sqrt(shortest / horizon))

    def complete(self, problem: str) -> dict[str, Any] | None:
        """Options with the block size that suits the problem."""
        if self.options is None:
            return None
        return {"block_size": 1 if problem == "CE2" else 2} | self.options


BOTH = ("least squares", "Geman-McClure")

MODES = [
    Mode("rate-sgd", "torch.optim.SGD", (*BOTH, "CE2"), None, theorem=""),
    Mode("rate-shared", "shared masks", (*BOTH, "CE2"), PLAIN),
    Mode("rate-narrowing", "shared masks, narrowing", BOTH, PLAIN | {"form": 16}),
    Mode(
        "rate-shrinking",
        "shared masks, shrinking",
        ("least squares",),
        PLAIN | {"form": 64, "shrink": 30.0},
        converges=False,
        theorem="A with shrink",
        shrinks=True,
    ),
    Mode("rate-momentum", "momentum .9", BOTH, PLAIN, theorem="F", momentum=0.9),
    Mode("rate-decay", "weight decay .2", ("ridge",), PLAIN),
    Mode("rate-full-batch", "full batch", BOTH, PLAIN, batch=0, exponent=1.0),
    Mode(
        "rate-algorithm3",
        "Algorithm 3 as printed",
        ("CE2",),
        {"method": "algorithm3"},
        converges=False,
        theorem="",
        separate=True,
    ),
]
