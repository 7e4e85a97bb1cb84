"""How fast something falls: a power law fitted to repeated runs, with intervals and a verdict.

What to measure decides whether the answer means anything. Measure the squared norm of the full
gradient, or the product of the gradients of two half batches, averaged over the steps of a run; or
F - F* at the end. Never the running minimum, and never the norm of a mini-batch's gradient: the
minimum of a run that is stuck at its noise floor falls like T^(-2/d) in d dimensions, which for
d = 4 looks exactly like convergence at 1 / sqrt T.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

REACHED, SLOWER, INCONCLUSIVE = "at least as fast", "slower", "inconclusive"
FEWEST_RUNS = 8


class Rate(NamedTuple):
    """What `estimate_rate` found.

    Attributes:
        slope: of log(mean over runs) against log(step); -0.5 is O(1 / sqrt T).
        interval: of the slope, at the confidence asked for.
        floor: a / M, the share of the last mean M that would stay for ever if the means were
            a + b T^-exponent; near 0 where the rate is right.
        floor_interval: of that share.
        verdict: "at least as fast", "slower" or "inconclusive".
        reason: for the verdict, in a sentence.
    """

    slope: float
    interval: tuple[float, float]
    floor: float
    floor_interval: tuple[float, float]
    verdict: str
    reason: str


def estimate_rate(
    steps: ArrayLike,
    values: ArrayLike,
    *,
    exponent: float = 0.5,
    trajectories: bool = False,
    tolerance: float = 0.1,
    largest_floor: float = 0.05,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Rate:
    r"""Whether means over runs fall at least as fast as T^-exponent, judged by resampled runs.

    The slope is fitted by least squares to log mean_r v_pr against log T_p. A slope alone is
    fooled by a long descent towards a floor, so a + b T^-exponent is fitted too, relative errors
    counting equally. Both intervals are bootstrap percentiles over runs, widened to Student's t for
    few runs (Hesterberg 2015, section 5.3).

    The verdict is "at least as fast" if the slope's upper end is <= -exponent + tolerance and the
    floor's lower end <= largest_floor; "slower" if the slope's lower end is above the one, or the
    floor's lower end above the other; else "inconclusive".

    Args:
        steps: T_p > 0, increasing, (P,), at least 3; drop the first part of a run, where the rate
            is not yet in force.
        values: (P, R), a non-negative measurement of each of R runs at each T_p; single values may
            be negative where they are products of half batches. At least 8 runs for a verdict.
        exponent: > 0, of the rate asked about: 0.5, or 1 for O(1 / T).
        trajectories: the columns are single runs observed at every T_p, resampled as a whole;
            otherwise each value is a run of its own, of T_p steps, resampled independently.
        tolerance: >= 0, by how much the slope may be short of the rate.
        largest_floor: >= 0, share of the last mean that may be a floor.
        confidence: in (0, 1), of both intervals, two-sided.
        resamples: >= 100, of the bootstrap.
        seed: of the bootstrap; the same seed gives the same answer.

    Raises:
        ValueError: an argument out of its range.

    >>> T = np.array([100, 200, 400, 800])
    >>> noise = np.random.default_rng(0).lognormal(0, 0.1, (4, 32))
    >>> found = estimate_rate(T, noise / np.sqrt(T)[:, None])
    >>> found.verdict, found.interval[0] < -0.5 < found.interval[1]
    ('at least as fast', True)
    """
    T, v = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    _check(T, v, exponent, tolerance, largest_floor, confidence, resamples)
    means = v.mean(1)
    if not np.isfinite(means).all():
        nothing = (-math.inf, math.inf)
        reason = "the values are not finite: the runs diverged"
        return Rate(math.nan, nothing, math.nan, nothing, SLOWER, reason)
    if (means <= 0).any():
        nothing = (-math.inf, math.inf)
        reason = "a mean over runs is not positive: there is nothing left above the noise"
        return Rate(math.nan, nothing, math.nan, nothing, INCONCLUSIVE, reason)
    resampled = _resampled(v, trajectories, resamples, np.random.default_rng(seed))
    positive = resampled[(resampled > 0).all(1)]
    to_slope, to_floor = _slope_weights(T), _floor_weights(T, means, exponent)
    slope, floor = float(np.log(means) @ to_slope), float(means @ to_floor / means[-1])
    if v.shape[1] < FEWEST_RUNS or len(positive) < resamples * 0.99:
        few = f"an interval needs at least {FEWEST_RUNS} runs, got {v.shape[1]}"
        low = "the means are not clearly above 0"
        reason = few if v.shape[1] < FEWEST_RUNS else low
        nothing = (-math.inf, math.inf)
        return Rate(slope, nothing, floor, nothing, INCONCLUSIVE, reason)
    interval = _interval(np.log(positive) @ to_slope, v.shape[1], confidence)
    floors = _interval(positive @ to_floor / positive[:, -1], v.shape[1], confidence)
    verdict, reason = _verdict(interval, floors, tolerance - exponent, largest_floor)
    return Rate(slope, interval, floor, floors, verdict, reason)


def _check(
    T: Array,
    v: Array,
    exponent: float,
    tolerance: float,
    largest_floor: float,
    confidence: float,
    resamples: int,
) -> None:
    if T.ndim != 1 or len(T) < 3:
        raise ValueError(f"steps must be a row of at least 3 numbers, got shape {T.shape}")
    if not (T > 0).all() or not (np.diff(T) > 0).all():
        raise ValueError(f"steps must be positive and increasing, got {T.tolist()}")
    if v.ndim != 2 or len(v) != len(T):
        raise ValueError(f"values must have shape ({len(T)}, runs), got {v.shape}")
    if v.shape[1] < 1:
        raise ValueError("values must hold at least one run, got none")
    if not exponent > 0:
        raise ValueError(f"exponent must be positive, got {exponent}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}")
    if not largest_floor >= 0:
        raise ValueError(f"largest_floor must be at least 0, got {largest_floor}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100, got {resamples}")


def _resampled(v: Array, trajectories: bool, resamples: int, rng: np.random.Generator) -> Array:
    """Means over resampled runs, (resamples, P)."""
    runs = v.shape[1]
    share = np.full(runs, 1 / runs)

    def draw() -> Array:
        return rng.multinomial(runs, share, size=resamples) / runs

    if trajectories:
        return np.asarray(draw() @ v.T)
    return np.stack([draw() @ row for row in v], axis=1)


def _slope_weights(T: Array) -> Array:
    """c with slope = sum_p c_p log v_p: least squares."""
    centred = np.log(T) - np.log(T).mean()
    return np.asarray(centred / (centred**2).sum())


def _floor_weights(T: Array, means: Array, exponent: float) -> Array:
    """k with a = sum_p k_p v_p in v = a + b T^-exponent: least squares of relative errors."""
    design = np.stack([np.ones_like(T), (T / T[-1]) ** -exponent], axis=1) / means[:, None]
    return np.asarray(np.linalg.pinv(design)[0] / means)


def _interval(resampled: Array, runs: int, confidence: float) -> tuple[float, float]:
    """Percentiles, at levels that make up for the few runs that spread was estimated from."""
    normal, freedom = NormalDist(), runs - 1
    z = normal.inv_cdf((1 + confidence) / 2)
    # Student's t from the normal quantile: Cornish-Fisher, to order 1 / freedom^2.
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    level = normal.cdf(-t * math.sqrt(runs / freedom))
    low, high = np.quantile(resampled, [level, 1 - level])
    return float(low), float(high)


def _verdict(
    slope: tuple[float, float], floor: tuple[float, float], steepest: float, largest_floor: float
) -> tuple[str, str]:
    if floor[0] > largest_floor:
        return SLOWER, f"at least {floor[0]:.0%} of the last mean is a floor"
    if slope[0] > steepest:
        return SLOWER, f"the slope is at least {slope[0]:.3f}, above {steepest:.3f}"
    if slope[1] > steepest:
        return INCONCLUSIVE, f"the slope may be {slope[1]:.3f}, above {steepest:.3f}: use more runs"
    return REACHED, f"the slope is at most {slope[1]:.3f}, and a floor is not seen"
