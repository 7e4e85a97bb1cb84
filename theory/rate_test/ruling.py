"""Rulings of the rate test on one optimizer and one problem, from runs of two starts.

The statistic is M_T, the mean over seeds of (1/T) sum_t |grad F(w_t)|^2, with the full gradient and
the plain norm: the Pi-norm cannot see a starved coordinate. Runs of T steps have a step size
proportional to 1 / sqrt T, constant in the run. From afar, what is stuck, starved or slow shows;
from nearby, what stays at a floor does: each hides from the other start. docs/theory.md says which
simpler designs misfired. Slopes and verdicts are the installed package's own.
"""

from typing import NamedTuple

import numpy as np

from interpretable_sgd.convergence import INCONCLUSIVE, Rate, estimate_rate, judge
from theory.claim import Check
from theory.reference.problems import Array

STARTS = {"far": 1.0, "near": 0.1}
"""Distance of w_0 from w* in every coordinate, unless a problem has its own."""
TOLERANCE, LARGEST_FLOOR = 0.1, 0.05
"""By how much a slope may be short of the rate; what share of the last mean may be a floor."""


class Ruling(NamedTuple):
    """The outcome of a rate test.

    Attributes:
        rates: by start.
        verdict, reason: of `judge`.
        exponent: of the rate asked about.
    """

    rates: dict[str, Rate]
    verdict: str
    reason: str
    exponent: float

    def __str__(self) -> str:
        slopes = ", ".join(f"{start} {interval(rate)}" for start, rate in self.rates.items())
        return f"{slopes}: {self.verdict}"

    def check(self, note: str, n: int, seeds: int, also: tuple[Check, ...] = ()) -> Check:
        """The slowest start's upper end against the rate, and the lower end of the larger floor."""
        slope = max(rate.interval[1] for rate in self.rates.values())
        floor = max(rate.floor_interval[0] for rate in self.rates.values())
        floor_note = f"a floor of at least {floor:.0%} of M_T; {note}"
        return Check(
            slope,
            TOLERANCE - self.exponent,
            n=n,
            seeds=seeds,
            note=note,
            also=(Check(floor, LARGEST_FLOOR, note=floor_note), *also),
            unclear=f"{note}: {self.reason}" if self.verdict == INCONCLUSIVE else "",
        )


def interval(rate: Rate) -> str:
    """A slope with its interval."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(rate.slope, *rate.interval)


def rule(
    times: Array, squares: Array, time_constants: float, seed: int, exponent: float = 0.5
) -> Ruling:
    """Judge M_T over horizons (H,) of runs (H, 2 S), one half from each start.

    Args:
        time_constants: min over horizons of eta T mu_Pi; below 3 nothing is concluded.
        seed: of the bootstrap.
    """
    parts = zip(STARTS, np.split(squares, 2, axis=1), strict=True)
    rates = {
        start: estimate_rate(
            times,
            part,
            exponent=exponent,
            tolerance=TOLERANCE,
            largest_floor=LARGEST_FLOOR,
            seed=seed,
        )
        for start, part in parts
    }
    return Ruling(rates, *judge(rates, time_constants), exponent)


def curve(times: Array, squares: Array, ruling: Ruling) -> dict[str, float]:
    """Means and 95 % intervals of M_T for the figures, and the fitted slopes."""
    numbers = {}
    for start, values in zip(STARTS, np.split(squares, 2, axis=1), strict=True):
        margin = 1.96 * values.std(1, ddof=1) / np.sqrt(values.shape[1])
        for T, mean, error in zip(times, values.mean(1), margin, strict=True):
            numbers[f"{start} {T:.0f}"] = float(mean)
            numbers[f"{start} {T:.0f} +-"] = float(error)
        rate = ruling.rates[start]
        numbers[f"{start} slope"] = rate.slope
        numbers[f"{start} low"], numbers[f"{start} high"] = rate.interval
    return numbers
