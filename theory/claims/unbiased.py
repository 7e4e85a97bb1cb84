"""Theorems B and N: what is selected is divided by its probability."""

from collections.abc import Sequence

import numpy as np

from theory.claim import Check, claim
from theory.claims.ratio import BATCH, SPECTRUM, largest, ratio, size, suite
from theory.reference import bounds
from theory.reference.algorithm3 import Method, Moment, run, square
from theory.reference.problems import Array, Problem
from theory.reference.suite import diagonal, geman_mcclure, logistic, wavy


@claim(
    "theorem-b",
    "Theorem B",
    "mean_t E|grad F|^2 <= 2 D / (eta T) + L eta V, masks per sample",
    condition="divided by pi; eta <= 1 / L",
)
def theorem_b(quick: bool, seed: int) -> Check:
    """Unbiased per-sample masks on the sample's own g^2, gamma = 1/2, eta = 1 / (2 L).

    V is the largest over the run of (1 / B) mean_i sum_j g_ij^2 / pi_ij.
    """
    steps, seeds = size(quick)
    checks = []
    for problem in suite(seed):
        L = problem.known("L")
        eta = 0.5 / L
        method = Method(
            "sample", "waterfill", gamma=0.5, block=1.0, floor=0.1, score="gradient", unbiased=True
        )

        def second(moment: Moment, method: Method = method) -> Array:
            G = moment.gradients
            pi = method.probabilities(G**2)
            return np.asarray((G**2 / pi).sum(-1).mean(-1) / BATCH)

        measures = {"square": square, "second": second}
        rng = np.random.default_rng(seed)
        done = run(problem, method, eta, steps, seeds, rng, batch=BATCH, measures=measures)
        V = float(done.maxima["second"].max())
        right = bounds.theorem_b(problem.gap, L, eta, steps, V, 1 / L)
        checks.append(ratio(problem.name, done.means["square"], right, steps))
    return largest(checks)


@claim(
    "theorem-b-shared",
    "Theorem B",
    "the same bound for a mask shared by the batch",
    condition="divided by pi; eta <= min pi / L",
)
def theorem_b_shared(quick: bool, seed: int) -> Check:
    """Unbiased shared masks with fixed probabilities, eta = min pi / L, V = sum sigma^2 / (B pi)."""
    steps, seeds = size(quick)
    checks = []
    for problem in suite(seed):
        L, pi = problem.known("L"), np.linspace(0.9, 0.3, problem.d)
        eta = float(pi.min()) / L
        variances = problem.facts.variances
        assert variances is not None
        rng = np.random.default_rng(seed)
        done = run(
            problem,
            Method("shared", pi, unbiased=True),
            eta,
            steps,
            seeds,
            rng,
            batch=BATCH,
            measures={"square": square},
        )
        V = float((variances / pi).sum() / BATCH)
        right = bounds.theorem_b(problem.gap, L, eta, steps, V, eta)
        checks.append(ratio(problem.name, done.means["square"], right, steps))
    return largest(checks)


@claim(
    "theorem-n",
    "Theorem N",
    "Theorem 1 repaired: 2 D / (eta T) + eta Lambda sigma^2 / B",
    condition="one coordinate with pi_j = L_j / Lambda, divided by pi_j; eta <= 1 / Lambda",
)
def theorem_n(quick: bool, seed: int) -> Check:
    """One coordinate with pi_j = L_j / Lambda, unbiased, eta = 1 / (2 Lambda): repaired Theorem 1."""
    steps, seeds = size(quick)
    checks = []
    for problem, constants in _coordinate_constants(seed):
        total = float(constants.sum())
        variances = problem.facts.variances
        assert variances is not None
        # At 1 / Lambda a separable quadratic attains the bound, and no sample stays below it.
        eta = 0.5 / total
        method = Method("shared", constants / total, unbiased=True, single=True)
        rng = np.random.default_rng(seed)
        done = run(
            problem, method, eta, steps, seeds, rng, batch=BATCH, measures={"square": square}
        )
        variance = float(variances.sum()) / BATCH
        right = bounds.theorem_n(problem.gap, constants, eta, steps, variance)
        checks.append(ratio(problem.name, done.means["square"], right, steps))
    return largest(checks)


def _coordinate_constants(seed: int) -> Sequence[tuple[Problem, Array]]:
    """Problems with constants of the partial derivatives that hold for all weights."""
    line = diagonal(SPECTRUM, seed)
    log, robust = logistic(seed=seed), geman_mcclure(seed=seed)
    return [
        (line, SPECTRUM),
        (log, (log.x**2).mean(0) / 4 + log.ridge),
        (robust, 2 * (robust.x**2).mean(0)),
        (wavy(seed=seed), np.full(2, 8.0)),
    ]


@claim("theorem-n-tight", "Theorem N", "the decrease of one step is exact")
def theorem_n_tight(quick: bool, seed: int) -> Check:
    """One step of Theorem N decreases sum_j L_j w_j^2 / 2 by exactly |grad F|^2 / (2 Lambda)."""
    constants, w = np.array([1.0, 4.0]), np.array([0.6, 0.2])
    gradient = constants * w
    w, gradient = w / np.linalg.norm(gradient), gradient / np.linalg.norm(gradient)
    change = 0.0
    for j in range(2):
        after = w.copy()
        after[j] -= gradient[j] / constants[j]
        change += constants[j] / 5 * float((constants * (after**2 - w**2)).sum()) / 2
    return Check(change, -0.1, "=", 1e-9, n=2, note=f"L = (1, 4), |grad F| = 1: {change:.6f}")
