"""Constants of the theorems certified by PEPit: worst cases over all functions of a class, exactly.

An extra (`pip install -e ".[theory]"`); without it these claims are skipped. Blocks are the two
coordinates of a fixed Pi, masks are enumerated, and the solver is Clarabel.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from theory.claim import Check, claim
from theory.reference import bounds

ABSENT = "PEPit is not installed: pip install -e '.[theory]'"
DIGITS = 5e-5
"""Four digits; the solver itself is good to about 1e-7."""


def _pepit() -> Any:
    """The package; importing it takes a second, for which other claims need not wait."""
    import PEPit
    import PEPit.functions

    return PEPit


def _masks(pi: Sequence[float]) -> Iterator[tuple[tuple[int, ...], float]]:
    """Masks with their chances."""
    for q in itertools.product((0, 1), repeat=len(pi)):
        yield q, math.prod(p if bit else 1 - p for bit, p in zip(q, pi, strict=True))


def _solve(problem: Any) -> float:
    return float(problem.solve(wrapper="cvxpy", solver="CLARABEL", verbose=0))


def _certified(cases: dict[str, tuple[Callable[[], float], float]], relation: str = "=") -> Check:
    """Worst cases by PEPit against constants, the first of them shown."""
    try:
        _pepit()
    except ImportError:
        return Check(math.nan, math.nan, skipped=ABSENT)
    checks = [
        Check(worst(), bound, relation, DIGITS, note=name) for name, (worst, bound) in cases.items()
    ]
    note = ", ".join(f"{check.note}: {check.measured:.6f}" for check in checks)
    first = checks[0]
    return Check(
        first.measured,
        first.bound,
        relation,
        DIGITS,
        n=len(checks),
        note=note,
        also=tuple(checks[1:]),
    )


def _decrease(eta: float, pi: Sequence[float]) -> float:
    """Largest E F(w+) - F(w) of a shared biased mask, 1-smooth F, |grad F|_Pi = 1."""
    pep = _pepit()
    problem = pep.PEP()
    F = problem.declare_function(pep.functions.SmoothFunction, L=1.0)
    partition = problem.declare_block_partition(d=2)
    w = problem.set_initial_point()
    g, f = F.oracle(w)
    parts = [partition.get_block(g, j) for j in range(2)]
    norm = sum((p * part**2 for p, part in zip(pi, parts, strict=True)), 0 * f)
    problem.set_initial_condition(norm == 1)
    after = -f
    for q, chance in _masks(pi):
        step = sum((bit * part for bit, part in zip(q, parts, strict=True)), 0 * g)
        after += chance * F(w - eta * step)
    problem.set_performance_metric(after)
    return _solve(problem)


@claim("pepit-a", "Theorem A", "its one-step constant is exact over all smooth F")
def theorem_a(quick: bool, seed: int) -> Check:
    """P1: one step decreases F by at least eta (1 - L eta / 2) |grad F|_Pi^2, and no more."""
    pi = (0.9, 0.3)
    return _certified(
        {
            f"eta = {eta:g}": (partial(_decrease, eta, pi), -eta * (1 - eta / 2))
            for eta in (0.5, 1.0, 1.5)
        }
    )


def _growth(eta: float, a: float, pi: Sequence[float]) -> float:
    """Largest growth of the potential of Theorem D in a step, 1-smooth convex F, no noise."""
    pep = _pepit()
    problem = pep.PEP()
    F = problem.declare_function(pep.functions.SmoothConvexFunction, L=1.0)
    partition = problem.declare_block_partition(d=2)
    best = F.stationary_point()
    w = problem.set_initial_point()
    g, f = F.oracle(w)
    least = F(best)
    parts = [partition.get_block(g, j) for j in range(2)]

    def potential(moved: Any, value: Any, weight: float) -> Any:
        distance = 0 * value
        for j, p in enumerate(pi):
            distance += (partition.get_block(w - best, j) - moved[j]) ** 2 / (2 * p)
        return weight * (value - least) + distance

    still = [0 * g, 0 * g]
    problem.set_initial_condition(potential(still, f, a) <= 1)
    after = 0 * f
    for q, chance in _masks(pi):
        moved = [eta * bit * part for bit, part in zip(q, parts, strict=True)]
        after += chance * potential(moved, F(w - moved[0] - moved[1]), a + eta)
    problem.set_performance_metric(after)
    return _solve(problem)


@claim(
    "pepit-lyapunov",
    "Theorem D",
    "its potential does not grow, for all convex F",
    condition="fixed Pi, no noise, eta <= 1 / L",
)
def lyapunov(quick: bool, seed: int) -> Check:
    """P3: the potential of Theorem D does not grow, for eta <= 1 / L."""
    pi = (0.9, 0.3)
    return _certified(
        {
            f"eta = {eta:g}, a = {a:g}": (partial(_growth, eta, a, pi), 1.0)
            for eta, a in ((1.0, 0.0), (1.0, 2.0), (0.5, 2.0))
        }
    )


@claim("pepit-threshold", "Theorem D", "its potential does grow at eta = 1.3 / L")
def threshold(quick: bool, seed: int) -> Check:
    """P3, negative control: at eta = 1.3 / L the potential grows, so 1 / L is not an artefact."""
    return _certified(
        {"eta = 1.3, a = 0": (partial(_growth, 1.3, 0.0, (0.9, 0.3)), 1 + 1e-3)}, ">="
    )


def _contraction(eta: float, pi: Sequence[float]) -> float:
    """Largest E|w+ - w*|^2 / |w - w*|^2 of unbiased masks, mu = 1, L = 10, no noise."""
    pep = _pepit()
    problem = pep.PEP()
    F = problem.declare_function(pep.functions.SmoothStronglyConvexFunction, mu=1.0, L=10.0)
    partition = problem.declare_block_partition(d=2)
    best = F.stationary_point()
    w = problem.set_initial_point()
    g = F.gradient(w)
    problem.set_initial_condition((w - best) ** 2 <= 1)
    after = (w - best) ** 2 - 2 * eta * (g * (w - best))
    for j, p in enumerate(pi):
        after += eta**2 / p * partition.get_block(g, j) ** 2
    problem.set_performance_metric(after)
    return _solve(problem)


@claim("pepit-unbiased", "Theorem D", "the contraction of unbiased masks is exact")
def unbiased(quick: bool, seed: int) -> Check:
    """P4: the contraction of unbiased masks at the largest step, 2 pi_min / (L + mu)."""
    eta = 2 * 0.3 / 11
    bound = bounds.theorem_d_unbiased(eta, 10.0, 1.0, 0.3)
    return _certified({"pi = (.3, .6)": (partial(_contraction, eta, (0.3, 0.6)), bound)})


def _bias(first: float, second: float) -> float:
    """Largest |mean g|^2 of two samples with mean |g|^2 = 1 and zero mean step, one coordinate."""
    pep = _pepit()
    problem, g, h = pep.PEP(), pep.Point(), pep.Point()
    problem.add_constraint((first * g + second * h) ** 2 <= 0)
    problem.set_initial_condition((g**2 + h**2) / 2 == 1)
    problem.set_performance_metric(((g + h) / 2) ** 2)
    return _solve(problem)


@claim("pepit-bias", "Theorem C", "the worst bias is exact")
def worst_bias(quick: bool, seed: int) -> Check:
    """P5: the worst case of Theorem C, CV^2 / (1 + CV^2) for pi = (.8, .2)."""
    return _certified({"pi = (.8, .2)": (partial(_bias, 0.8, 0.2), 0.36 / 1.36)})


def _coordinate(constants: Sequence[float]) -> float:
    """Largest E F(w+) - F(w) of Theorem N at eta = 1 / Lambda, |grad F| = 1, F convex."""
    pep = _pepit()
    problem = pep.PEP()
    partition = problem.declare_block_partition(d=2)
    F = problem.declare_function(
        pep.functions.BlockSmoothConvexFunctionCheap, partition=partition, L=list(constants)
    )
    w = problem.set_initial_point()
    g, f = F.oracle(w)
    problem.set_initial_condition(g**2 == 1)
    after, total = -f, sum(constants)
    for j, L in enumerate(constants):
        after += L / total * F(w - partition.get_block(g, j) / L)
    problem.set_performance_metric(after)
    return _solve(problem)


@claim("pepit-n", "Theorem N", "its one-step constant is exact over coordinate-smooth convex F")
def theorem_n(quick: bool, seed: int) -> Check:
    """P6: one step of Theorem N decreases F by |grad F|^2 / (2 Lambda), L = (1, 4)."""
    return _certified({"L = (1, 4)": (partial(_coordinate, (1.0, 4.0)), -0.1)})
