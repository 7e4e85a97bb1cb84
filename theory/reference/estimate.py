"""The judge of rates: slopes over horizons from two starts, a fitted floor, and one ruling.

The statistic is M_T, the mean over seeds of (1/T) sum_t |grad F(w_t)|^2, with the full gradient and
the plain norm: the Pi-norm cannot see a starved coordinate. Runs of T steps have a step size
proportional to 1 / sqrt T, constant in the run. From afar, what is stuck, starved or slow shows;
from nearby, what stays at a floor does: each hides from the other start. docs/theory.md says which
simpler designs misfired.

Index legend: any leading dimensions (repetitions of the experiment), `h` horizon, `s` seed.
"""

from dataclasses import dataclass

import numpy as np

from theory.reference.problems import Array

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
TOLERANCE, LARGEST_FLOOR, TIME_CONSTANTS = 0.1, 0.05, 3.0


@dataclass(frozen=True)
class Fit:
    """Slope of log M against log T, and a / M_T in M = a + b T^-exponent at the last T.

    Attributes:
        slope, low, high: and its 95 % bootstrap interval, (...).
        floor, floor_low, floor_high: likewise.
    """

    slope: Array
    low: Array
    high: Array
    floor: Array
    floor_low: Array
    floor_high: Array

    def rejected(self, exponent: float) -> Array:
        """Whether the rate is not shown: boolean, (...); not-a-number is not a rate."""
        fast = self.high <= TOLERANCE - exponent
        return np.asarray(~(fast & (self.floor_low <= LARGEST_FLOOR)))

    def __str__(self) -> str:
        return f"{self.slope:.3f} [{self.low:.3f}, {self.high:.3f}]"


def fit(
    horizons: Array,
    values: Array,
    rng: np.random.Generator,
    *,
    exponent: float = 0.5,
    trajectories: bool = False,
    resamples: int = 1000,
) -> Fit:
    """Fit a power and a floor to seed means, with percentile intervals over resampled seeds.

    Args:
        horizons: T_h, (H,).
        values: (..., H, S).
        exponent: of the rate asked about.
        trajectories: a seed is one run seen at every T_h and resampled whole, else H runs.

    >>> T, rng = np.array([100.0, 200.0, 400.0, 800.0]), np.random.default_rng(0)
    >>> found = fit(T, rng.gamma(100, 0.01, (4, 64)) / np.sqrt(T)[:, None], rng)
    >>> bool(found.low < -0.5 < found.high), bool(found.rejected(0.5)), bool(found.rejected(1.0))
    (True, False, True)
    """
    size, seeds = values.shape[-2:]
    flat = values.reshape(-1, size, seeds)
    shares = np.full(seeds, 1 / seeds)

    def counts() -> Array:
        return np.asarray(rng.multinomial(seeds, shares, size=resamples) / seeds)

    common = counts() if trajectories else None
    columns = [flat[:, h] @ (counts() if common is None else common).T for h in range(size)]
    resampled = np.stack(columns, axis=-1)
    means = flat.mean(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope, slopes = _slope(horizons, means), _slope(horizons, resampled)
        floor = _floor(horizons, means, means, exponent)
        floors = _floor(horizons, resampled, means[:, None], exponent)
        intervals = [np.quantile(of, [0.025, 0.975], axis=1) for of in (slopes, floors)]
    parts = [slope, *intervals[0], floor, *intervals[1]]
    return Fit(*(part.reshape(values.shape[:-2]) for part in parts))


def _slope(horizons: Array, means: Array) -> Array:
    """Least squares in logarithms, (...)."""
    x = np.log(horizons) - np.log(horizons).mean()
    return np.asarray(np.log(means) @ x / (x @ x))


def _floor(horizons: Array, means: Array, scale: Array, exponent: float) -> Array:
    """a / M_T in M = a + b T^-exponent, by least squares of errors relative to `scale`, (...)."""
    v = (horizons / horizons[-1]) ** -exponent
    weight = 1 / scale**2
    s0, s1, s2 = ((weight * v**k).sum(-1) for k in (0, 1, 2))
    m0, m1 = (weight * means).sum(-1), (weight * means * v).sum(-1)
    return np.asarray((s2 * m0 - s1 * m1) / (s0 * s2 - s1**2) / means[..., -1])


@dataclass(frozen=True)
class Ruling:
    """The outcome of a rate test.

    Attributes:
        verdict: PASS, FAIL or INCONCLUSIVE.
        far, near: fits of the two starts.
        reason: of a verdict that is not PASS.
    """

    verdict: str
    far: Fit
    near: Fit
    reason: str = ""

    @property
    def slope(self) -> float:
        """The upper end of the interval of the slower start."""
        return float(np.maximum(self.far.high, self.near.high))

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"far {self.far}, near {self.near}: {self.verdict}{reason}"


def rule(far: Fit, near: Fit, time_constants: float, exponent: float = 0.5) -> Ruling:
    """Judge one optimizer on one problem.

    Args:
        far, near: fits of scalar experiments.
        time_constants: min over horizons of eta T mu_Pi; below 3 the window is pre-asymptotic, and
            what has not yet converged is not called broken.
        exponent: of the rate asked about.
    """
    rejected = [name for name, of in (("far", far), ("near", near)) if bool(of.rejected(exponent))]
    if not rejected:
        return Ruling(PASS, far, near)
    reason = f"from {' and '.join(rejected)}"
    if time_constants < TIME_CONSTANTS:
        short = f"eta T mu = {time_constants:.2g} is below {TIME_CONSTANTS:g}"
        return Ruling(INCONCLUSIVE, far, near, f"{reason}, but {short}")
    return Ruling(FAIL, far, near, reason)
