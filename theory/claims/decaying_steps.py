"""O(1/t) of F - F* where it is true: PL, steps 2 / (mu_Pi (t + t_0)), Theorem D; and three failures.

One long run per seed, seen at ten log-spaced times of its last decade; whole runs are resampled.
"""

from collections.abc import Callable

import numpy as np

from interpretable_sgd.convergence import fit_power
from theory.claim import FAILS, HOLDS_UNDER, Check, Claim
from theory.rate_test.configurations import PLAIN, ridge
from theory.rate_test.controls import CONTROLS, SPECTRUM, gaps
from theory.rate_test.optimizer_runs import Setup, run
from theory.reference import bounds
from theory.reference.problems import Array

SLOWEST = -0.75
"""Largest upper end of the slope's interval that counts as O(1/t)."""
SEEDS = 128


def _times(quick: bool) -> tuple[int, ...]:
    last = 1_000 if quick else 6_000
    return tuple(np.unique(np.geomspace(last / 10, last, 10).round().astype(int)).tolist())


def _judged(
    path: Array, stops: tuple[int, ...], seed: int, note: str = "", also: tuple[Check, ...] = ()
) -> Check:
    """The slope of F - F* over whole runs, (len(stops), S), and its means for the figures."""
    found = fit_power(stops, path, exponent=1.0, trajectories=True, seed=seed)
    numbers = {"slope": float(found.slope), "low": float(found.low), "high": float(found.high)}
    margin = 1.96 * path.std(1, ddof=1) / np.sqrt(SEEDS)
    for t, value, error in zip(stops, path.mean(1), margin, strict=True):
        numbers[f"far {t}"], numbers[f"far {t} +-"] = float(value), float(error)
    return Check(
        float(found.high),
        SLOWEST,
        n=stops[-1],
        seeds=SEEDS,
        note=f"slope {found.slope:.3f} [{found.low:.3f}, {found.high:.3f}]{note}",
        numbers=numbers,
        also=also,
    )


def shared(quick: bool, seed: int) -> Check:
    """The real optimizer, shared masks from the past, on ridge logistic regression."""
    problem, stops = ridge(), _times(quick)
    L, pi_min = problem.known("L"), PLAIN["exploration"] * 2 / problem.d
    mu = pi_min * problem.known("mu")
    # The floor makes every probability at least eps K / d, and none is above 1.
    S = float(np.asarray(problem.facts.variances).sum())
    done = run(
        Setup(problem, {"block_size": 2} | PLAIN),
        np.tile(problem.start, (SEEDS, 1)),
        lambda t: bounds.decaying_step(L, mu, t),
        stops[-1],
        seed,
        stops=stops,
    )
    right = np.array([bounds.theorem_d(problem.gap, L, mu, S, t) for t in stops])
    means = done.path.mean(1) / right
    errors = done.path.std(1, ddof=1) / np.sqrt(SEEDS) / right
    worst = int((means + 3 * errors).argmax())
    ratio = Check(
        float(means[worst]),
        1.0,
        error=float(errors[worst]),
        note=f"Theorem D: left over right side {means[worst]:.3f} at t = {stops[worst]}",
    )
    note = f"; Theorem D, left over right side at most {means[worst]:.3f}"
    return _judged(done.path, stops, seed, note, (ratio,))


def _control(name: str, eta: Callable[[int], float]) -> Callable[[bool, int], Check]:
    control = next(control for control in CONTROLS if control.name == name)

    def check(quick: bool, seed: int) -> Check:
        stops = _times(quick)
        return _judged(gaps(control, eta, stops, SEEDS, np.random.default_rng(seed)), stops, seed)

    return check


_MU = float(SPECTRUM.min())
CLAIMS = [
    Claim(
        "decaying-shared",
        "Theorem D",
        "shared masks: F - F* falls at O(1/t)",
        HOLDS_UNDER,
        shared,
        "PL; eta_t = 2 / (mu_Pi (t + t_0))",
    ),
    Claim(
        "control-decaying-tuned",
        "rate test",
        "SGD at eta_t = 2 / (mu (t + t_0)) shows O(1/t)",
        HOLDS_UNDER,
        _control("SGD", lambda t: bounds.decaying_step(1.0, _MU, t)),
        "PL",
    ),
    Claim(
        "control-decaying-short",
        "rate test",
        "steps of a tenth of that show O(1/t)",
        FAILS,
        _control("SGD", lambda t: 0.2 / (_MU * (t + 2 / _MU))),
    ),
    Claim(
        "control-decaying-constant",
        "rate test",
        "a constant step shows O(1/t)",
        FAILS,
        _control("SGD", lambda t: 0.1),
    ),
    Claim(
        "control-decaying-per-sample",
        "rate test",
        "masks per sample on CE2 show O(1/t)",
        FAILS,
        _control("per-sample masks on CE2 (canary)", lambda t: 100 / (t + 50)),
    ),
]
