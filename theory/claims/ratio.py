"""Runs against bounds: the problems, the sizes, and the ratio that a claim reports.

Measured is the left-hand side over the right-hand side, of the problem where it is largest; 1 is
the bound. Variances are bounds for all weights; least squares, which has none, is left out.
"""

from collections.abc import Iterable

import numpy as np

from theory.claim import Check
from theory.reference.algorithm3 import Measure
from theory.reference.problems import Array, Problem
from theory.reference.suite import geman_mcclure, logistic, quadratic, softmax, wavy

SPECTRUM = np.array([1.0, 2.0, 3.0, 4.0])
BATCH = 4


def suite(seed: int) -> list[Problem]:
    """Convex and not, with L and variances that hold for all weights."""
    return [
        quadratic(SPECTRUM, seed),
        logistic(seed=seed),
        softmax(seed=seed),
        geman_mcclure(seed=seed),
        wavy(seed=seed),
    ]


def size(quick: bool) -> tuple[int, int]:
    """Steps and seeds."""
    return (300, 64) if quick else (1_000, 64)


def noise(problem: Problem, batch: int) -> Measure:
    """sum_j pi_j sigma_j^2 / B."""
    variances = problem.facts.variances
    assert variances is not None
    return lambda moment: np.asarray((moment.pi * variances).sum(-1) / batch)


def ratio(name: str, left: Array, right: float, steps: int) -> Check:
    """One run's left-hand sides, by seed, over its bound."""
    ratio = left / right
    error = float(ratio.std(ddof=1)) / np.sqrt(len(ratio)) if len(ratio) > 1 else 0.0
    return Check(float(ratio.mean()), 1.0, error=error, n=steps, seeds=len(ratio), note=name)


def largest(checks: Iterable[Check], what: str = "") -> Check:
    """The check closest to its bound, with the others beside it."""
    ranked = sorted(checks, key=lambda check: -check.measured)
    note = ", ".join(f"{check.note} {check.measured:.3f}" for check in ranked)
    first, others = ranked[0], tuple(ranked[1:])
    numbers = {check.note: check.measured for check in ranked}
    return Check(
        first.measured,
        1.0,
        error=first.error,
        n=first.n,
        seeds=first.seeds,
        note=f"{what}{note}",
        numbers=numbers,
        also=others,
    )
