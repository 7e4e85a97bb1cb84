"""The window of horizons in which a rate is in force, measured on the runs themselves."""

import math
from collections.abc import Sequence

import numpy as np

from interpretable_sgd.convergence.rate_test import TIME_CONSTANTS, time_constants_of_descent
from interpretable_sgd.convergence.run_store import FinishedRun


def time_constants(
    runs: Sequence[FinishedRun], horizons: Sequence[int], least_loss: float
) -> dict[int, float]:
    """How many time constants runs of each horizon last, not a number where nothing says so.

    Of the start where the measure begins highest: by `time_constants_of_descent` where steps have
    one size, else by how far the measure has come down in the last quarter of the runs.

    Args:
        runs: of every horizon from every start.
        horizons: T.
        least_loss: a lower bound of F.
    """
    if any(run.first is None or run.loss is None for run in runs):
        return dict.fromkeys(horizons, math.nan)
    starts = {run.start: _mean([r.first for r in runs if r.start == run.start]) for run in runs}
    far, first = max(starts.items(), key=lambda item: item[1])
    of_far = [run for run in runs if run.start == far]
    gap = _mean([run.loss for run in of_far]) - least_loss
    return {T: _of([r for r in of_far if r.horizon == T], first, gap) for T in horizons}


def _of(runs: Sequence[FinishedRun], first: float, gap: float) -> float:
    """Of the runs of one horizon, of which |grad F(w_0)|^2 and F(w_0) - least_loss are given."""
    if all(run.travel is not None for run in runs):
        # A loss that begins below its lower bound says nothing.
        if not (0 < gap < math.inf and 0 < first < math.inf):
            return math.nan
        return time_constants_of_descent(gap, first, _mean([run.travel for run in runs]))
    if all(run.tail is not None for run in runs):
        ratio = _mean([run.tail for run in runs]) / first if first > 0 else math.nan
        # 3 where a quarter is left, as for the descent of the bound, and 3 more for each quarter.
        return math.inf if ratio <= 0 else max(0.0, TIME_CONSTANTS * -math.log(ratio, 4))
    return math.nan


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean([math.nan if value is None else value for value in values]))
