"""Slopes where no global L is known: no bound is checked, and none is claimed.

Shared water-filled masks from the past with a floor, started away from the minimum. The rate tests
with power, on problems with known constants, are in `theory.claims.rate_test`.
"""

import numpy as np

from theory.claim import Check, claim
from theory.reference.algorithm3 import Method, run, square
from theory.reference.networks import factorisation, interpolating_net, rosenbrock
from theory.reference.problems import Problem

TOLERANCE = 0.1
"""By how much a slope may be short of -1/2, as in the rate test."""


def _slope(problem: Problem, scale: float, block: float, quick: bool, seed: int) -> Check:
    """log-log slope of mean_t |grad F|^2 between the first and the last of four horizons."""
    horizons = (256, 512, 1_024, 2_048) if quick else (512, 1_024, 2_048, 4_096)
    method, seeds = Method("shared", "waterfill", 2.0, block=block, floor=0.3), 64
    means, relative = [], []
    for steps in horizons:
        rng = np.random.default_rng(seed + steps)
        eta = scale / np.sqrt(steps)
        done = run(problem, method, eta, steps, seeds, rng, batch=4, measures={"square": square})
        squares = done.means["square"]
        means.append(float(squares.mean()))
        relative.append(float(squares.std(ddof=1)) / np.sqrt(seeds) / means[-1])
    span = np.log(horizons[-1] / horizons[0])
    slope = float(np.log(means[-1] / means[0]) / span)
    error = float(np.hypot(relative[0], relative[-1]) / span)
    pairs = zip(horizons, means, strict=True)
    note = "mean |grad F|^2: " + ", ".join(f"{mean:.3g} at {steps}" for steps, mean in pairs)
    return Check(slope, -0.5, "<=", TOLERANCE, error, n=horizons[-1], seeds=seeds, note=note)


@claim(
    "slope-rosenbrock",
    "Theorem A",
    "O(1 / sqrt T) is seen on Rosenbrock's function",
    condition="descriptive: L holds on the visited region only",
)
def on_rosenbrock(quick: bool, seed: int) -> Check:
    """Rosenbrock's function with additive noise."""
    return _slope(rosenbrock(noise=0.5, seed=seed), 0.25, 1.0, quick, seed)


@claim(
    "slope-factorisation",
    "Theorem A",
    "O(1 / sqrt T) is seen on a matrix factorisation",
    condition="descriptive: L holds on the visited region only",
)
def on_factorisation(quick: bool, seed: int) -> Check:
    """(u v - 1)^2 / 2 with additive noise."""
    return _slope(factorisation(noise=0.5, seed=seed), 2.0, 1.0, quick, seed)


@claim(
    "slope-interpolation",
    "Theorem D",
    "a constant step has no floor on a net that interpolates",
    condition="descriptive: every f_i vanishes at w*",
)
def interpolation(quick: bool, seed: int) -> Check:
    """Where every f_i vanishes at w*, noise vanishes with it: a constant step has no floor.

    A softplus net; E F after 8 T steps over E F after T, where a floor would give 1.
    """
    problem, rng, seeds = interpolating_net(seed=seed), np.random.default_rng(seed), 16
    method = Method("shared", "waterfill", 2.0, block=9.0, floor=0.3)
    T = 500 if quick else 1_000
    gaps = [problem.value(run(problem, method, 0.02, t, seeds, rng).w) for t in (T, 8 * T)]
    first, last = (float(gap.mean()) for gap in gaps)
    relative = [float(gap.std(ddof=1)) / np.sqrt(seeds) / gap.mean() for gap in gaps]
    ratio = last / first
    note = f"E F: {float(problem.value(problem.start)):.3g} at the start, {first:.3g} at T = {T}, "
    return Check(
        ratio,
        0.5,
        error=ratio * float(np.hypot(*relative)),
        n=8 * T,
        seeds=seeds,
        note=f"{note}{last:.3g} at {8 * T}",
    )
