"""Power laws fitted to repeated runs: slopes and floors with intervals, and the verdict they allow.

What to measure decides whether the answer means anything. Measure the squared norm of the full
gradient, or the product of the gradients of two half batches, averaged over the steps of a run; or
F - F* at the end. Never the running minimum, and never the norm of a mini-batch's gradient: the
minimum of a run that is stuck at its noise floor falls like T^(-2/d) in d dimensions, which for
d = 4 looks exactly like convergence at 1 / sqrt T.

Index legend: `p` horizon, `r` run; leading dimensions are repetitions of the whole experiment.
"""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

REACHED, SLOWER, INCONCLUSIVE = "at least as fast", "slower", "inconclusive"
FEWEST_RUNS = 8
TOLERANCE, LARGEST_FLOOR, TIME_CONSTANTS = 0.1, 0.05, 3.0


class PowerFit(NamedTuple):
    """Slope of log M against log T, and the floor a / M_T of M = a + b T^-exponent at the last T.

    Attributes:
        slope: least squares, (...).
        low, high: ends of its interval, (...).
        floor: share of the last mean that would stay for ever, (...).
        floor_low, floor_high: ends of its interval, (...).
    """

    slope: Array
    low: Array
    high: Array
    floor: Array
    floor_low: Array
    floor_high: Array

    def shows(
        self, exponent: float, tolerance: float = TOLERANCE, largest_floor: float = LARGEST_FLOOR
    ) -> NDArray[np.bool_]:
        """Whether the rate T^-exponent is shown, (...); what is not a number shows nothing."""
        return np.asarray(
            (self.high <= tolerance - exponent) & (self.floor_low <= largest_floor), dtype=bool
        )


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
    tolerance: float = TOLERANCE,
    largest_floor: float = LARGEST_FLOOR,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int | np.random.Generator = 0,
) -> Rate:
    r"""Whether means over runs fall at least as fast as T^-exponent, judged by resampled runs.

    The slope is fitted by least squares to log mean_r v_pr against log T_p. A slope alone is
    fooled by a long descent towards a floor, so a + b T^-exponent is fitted too, relative errors
    counting equally. Both intervals are bootstrap percentiles over runs, widened to Student's t for
    few runs (Hesterberg 2015, section 5.3).

    The verdict is "at least as fast" if the slope's upper end is <= -exponent + tolerance and the
    floor's lower end <= largest_floor; "slower" if the slope's lower end is above the one, or the
    floor's lower end above the other; else "inconclusive". It speaks of the window that was
    measured: `judge` holds it back before the rate is in force.

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
        seed: of the bootstrap, or its generator; the same seed gives the same answer.

    Raises:
        ValueError: an argument out of its range.

    >>> T = np.array([100, 200, 400, 800])
    >>> noise = np.random.default_rng(0).lognormal(0, 0.1, (4, 32))
    >>> found = estimate_rate(T, noise / np.sqrt(T)[:, None])
    >>> found.verdict, found.interval[0] < -0.5 < found.interval[1]
    ('at least as fast', True)
    """
    T, v = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    _check(T, v, exponent, confidence, resamples)
    if v.ndim != 2:
        raise ValueError(f"values must have shape ({len(T)}, runs), got {v.shape}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}")
    if not largest_floor >= 0:
        raise ValueError(f"largest_floor must be at least 0, got {largest_floor}")
    means, nothing = v.mean(1), (-math.inf, math.inf)
    if not np.isfinite(means).all():
        reason = "the values are not finite: the runs diverged"
        return Rate(math.nan, nothing, math.nan, nothing, SLOWER, reason)
    if (means <= 0).any():
        reason = "a mean over runs is not positive: there is nothing left above the noise"
        return Rate(math.nan, nothing, math.nan, nothing, INCONCLUSIVE, reason)
    found = fit_power(
        T,
        v,
        exponent=exponent,
        trajectories=trajectories,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )
    slope, floor = float(found.slope), float(found.floor)
    if v.shape[1] < FEWEST_RUNS or math.isnan(found.low):
        few = f"an interval needs at least {FEWEST_RUNS} runs, got {v.shape[1]}"
        low = "the means are not clearly above 0"
        reason = few if v.shape[1] < FEWEST_RUNS else low
        return Rate(slope, nothing, floor, nothing, INCONCLUSIVE, reason)
    interval = float(found.low), float(found.high)
    floors = float(found.floor_low), float(found.floor_high)
    verdict, reason = _verdict(interval, floors, tolerance - exponent, largest_floor)
    return Rate(slope, interval, floor, floors, verdict, reason)


def fit_power(
    steps: ArrayLike,
    values: ArrayLike,
    *,
    exponent: float = 0.5,
    trajectories: bool = False,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int | np.random.Generator = 0,
) -> PowerFit:
    """The fits and intervals of `estimate_rate`, for many experiments at a time and unjudged.

    Args:
        steps: T_p, (P,).
        values: (..., P, R). Experiments share the resampled runs, which makes them no less
            right one by one.
        exponent, trajectories, confidence, resamples, seed: as in `estimate_rate`.

    Returns:
        Arrays of the leading shape; an interval is not a number where more than a hundredth of
        the resampled means are not positive.

    Raises:
        ValueError: an argument out of its range.

    >>> T, rng = np.array([100.0, 200.0, 400.0, 800.0]), np.random.default_rng(0)
    >>> found = fit_power(T, rng.gamma(100, 0.01, (5, 4, 64)) / np.sqrt(T)[:, None], seed=rng)
    >>> found.slope.shape, found.shows(0.5).all(), found.shows(1.0).any()
    ((5,), np.True_, np.False_)
    """
    T, v = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    _check(T, v, exponent, confidence, resamples)
    leading, runs, rng = v.shape[:-2], v.shape[-1], np.random.default_rng(seed)
    flat = v.reshape(-1, len(T), runs)
    means, resampled = flat.mean(-1), _resampled(flat, trajectories, resamples, rng)
    # What has no logarithm is left out; the caller learns of it if it is more than a rare draw.
    resampled[(resampled <= 0).any(-1)] = np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        slope, slopes = _slope(T, means), _slope(T, resampled)
        floor = _floor(T, means, means, exponent)
        floors = _floor(T, resampled, means[:, None], exponent)
    ends = [_interval(of, runs, confidence) for of in (slopes, floors)]
    parts = [slope, *ends[0], floor, *ends[1]]
    return PowerFit(*(part.reshape(leading) for part in parts))


def judge(
    rates: Mapping[str, Rate], time_constants: float, *, fewest: float = TIME_CONSTANTS
) -> tuple[str, str]:
    """One verdict and its reason from the rates of several starts, held back by the gate.

    From afar, what is stuck, starved or slow shows; from nearby, what stays at a floor does: each
    hides from the other start, so the slowest counts. Before several time constants of the slowest
    coordinate have passed no rate is in force: what has not converged yet is not called broken,
    and a long descent is not called a rate.

    Args:
        rates: by name of the start, at least one.
        time_constants: the least eta T mu over the window, mu the least curvature along which the
            optimizer moves (times its selection probability); or `time_constants_of_descent`.
        fewest: >= 0, what it must reach.

    Raises:
        ValueError: no rates, or `fewest` below 0.

    >>> steps = [100, 200, 400]
    >>> rates = {"far": estimate_rate(steps, np.full((3, 8), [[0.10], [0.0707], [0.05]]))}
    >>> judge(rates, time_constants=5.0)[0], judge(rates, time_constants=1.0)[0]
    ('at least as fast', 'inconclusive')
    """
    if not rates:
        raise ValueError("rates must hold at least one start, got none")
    if not fewest >= 0:
        raise ValueError(f"fewest must be at least 0, got {fewest}")
    found = REACHED
    for verdict in (SLOWER, INCONCLUSIVE):
        if any(rate.verdict == verdict for rate in rates.values()):
            found = verdict
            break
    reasons = [f"from {name}, {of.reason}" for name, of in rates.items() if of.verdict == found]
    reason = "; ".join(reasons)
    diverged = any(math.isnan(rate.slope) and rate.verdict == SLOWER for rate in rates.values())
    # Not a number: the gate could not be measured. A run that diverged needs no gate.
    if not diverged and not time_constants >= fewest:
        short = (
            "whether the rate is in force yet is unknown"
            if math.isnan(time_constants)
            else f"too early to say: the shortest runs last {time_constants:.2g} time constants, "
            f"a rate needs {fewest:g}"
        )
        return INCONCLUSIVE, f"{short} ({reason})"
    return found, reason


def time_constants_of_descent(gap: float, squared_gradient: float, travel: float) -> float:
    """How far a run outlasts its descent: eta T |grad F(w_0)|^2 / (2 D) * 3 / 4, to compare with 3.

    Where mu is not known, it stands for the least eta T mu. A run that obeys its theorem descends
    at a cost of 2 D / (eta T) in the mean of |grad F|^2; the window is open when that is at most a
    quarter of |grad F(w_0)|^2. On F = mu |w|^2 / 2 the number is 3/4 eta T mu.

    Args:
        gap: D = F(w_0) - inf F >= 0; an upper bound is safe, 0 at a minimum.
        squared_gradient: |grad F(w_0)|^2 >= 0.
        travel: eta T > 0, the sum of the step sizes, times pi_min where coordinates are selected.

    Raises:
        ValueError: an argument out of its range.

    >>> mu, w, travel = 0.5, 2.0, 8.0
    >>> time_constants_of_descent(mu * w**2 / 2, (mu * w) ** 2, travel)
    3.0
    """
    for name, value in (("gap", gap), ("squared_gradient", squared_gradient)):
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
    if not travel > 0:
        raise ValueError(f"travel must be positive, got {travel}")
    if gap == 0:
        return math.inf
    return TIME_CONSTANTS / 4 * travel * squared_gradient / (2 * gap)


def _check(T: Array, v: Array, exponent: float, confidence: float, resamples: int) -> None:
    if T.ndim != 1 or len(T) < 3:
        raise ValueError(f"steps must be a row of at least 3 numbers, got shape {T.shape}")
    if not (T > 0).all() or not (np.diff(T) > 0).all():
        raise ValueError(f"steps must be positive and increasing, got {T.tolist()}")
    if v.ndim < 2 or v.shape[-2] != len(T):
        raise ValueError(f"values must have shape ({len(T)}, runs), got {v.shape}")
    if v.shape[-1] < 1:
        raise ValueError("values must hold at least one run, got none")
    if not exponent > 0:
        raise ValueError(f"exponent must be positive, got {exponent}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100, got {resamples}")


def _resampled(v: Array, trajectories: bool, resamples: int, rng: np.random.Generator) -> Array:
    """Means over resampled runs, (n, resamples, P), of v (n, P, R)."""
    runs = v.shape[-1]
    share = np.full(runs, 1 / runs)

    def draw() -> Array:
        return np.asarray(rng.multinomial(runs, share, size=resamples) / runs)

    common = draw() if trajectories else None
    columns = [v[:, p] @ (draw() if common is None else common).T for p in range(v.shape[1])]
    return np.stack(columns, axis=-1)


def _slope(T: Array, means: Array) -> Array:
    """Least squares in logarithms, (...), of means (..., P)."""
    x = np.log(T) - np.log(T).mean()
    return np.asarray(np.log(means) @ x / (x @ x))


def _floor(T: Array, means: Array, scale: Array, exponent: float) -> Array:
    """a / M_T in M = a + b T^-exponent, by least squares of errors relative to `scale`, (...)."""
    x = (T / T[-1]) ** -exponent
    weight = 1 / scale**2
    s0, s1, s2 = ((weight * x**k).sum(-1) for k in (0, 1, 2))
    m0, m1 = (weight * means).sum(-1), (weight * means * x).sum(-1)
    return np.asarray((s2 * m0 - s1 * m1) / (s0 * s2 - s1**2) / means[..., -1])


def _interval(resampled: Array, runs: int, confidence: float) -> Array:
    """Percentiles, at levels that make up for the few runs that spread was estimated from.

    Args:
        resampled: (n, resamples), with not-a-number for what could not be fitted.

    Returns:
        (2, n): the lower and the upper ends.
    """
    if runs < 2:
        return np.full((2, len(resampled)), np.nan)
    normal, freedom = NormalDist(), runs - 1
    z = normal.inv_cdf((1 + confidence) / 2)
    # Student's t from the normal quantile: Cornish-Fisher, to order 1 / freedom^2.
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    level = normal.cdf(-t * math.sqrt(runs / freedom))
    lost = np.isnan(resampled).mean(1)
    ends = np.full((2, len(resampled)), np.nan)
    whole, usable = lost == 0, (lost > 0) & (lost <= 0.01)
    if whole.any():
        ends[:, whole] = np.quantile(resampled[whole], [level, 1 - level], axis=1)
    if usable.any():
        ends[:, usable] = np.nanquantile(resampled[usable], [level, 1 - level], axis=1)
    return ends


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
