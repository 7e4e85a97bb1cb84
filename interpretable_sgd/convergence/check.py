"""Whether an optimizer reaches a rate on the user's own problem: runs, fits, gate, one verdict."""

import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpretable_sgd.convergence import plots
from interpretable_sgd.convergence.progress import progress as reporting
from interpretable_sgd.convergence.rate_test import (
    INCONCLUSIVE,
    REACHED,
    SLOWER,
    TIME_CONSTANTS,
    Rate,
    estimate_rate,
    judge,
)
from interpretable_sgd.convergence.recorder import Recorder
from interpretable_sgd.convergence.run_store import FinishedRun, RunStore, fingerprint, finished
from interpretable_sgd.convergence.window import time_constants as measured_time_constants

Array = NDArray[np.float64]
Train = Callable[[int, int, Any], Recorder | float]
FEWEST_HORIZONS = 3
PREPOSITIONS = {REACHED: "as", SLOWER: "than", INCONCLUSIVE: "about"}


@dataclass(frozen=True)
class RateCheck:
    """What `check_rate` found; `print` shows it, `plot` draws it.

    Attributes:
        name: of the optimizer.
        exponent: of the rate asked about.
        verdict: "at least as fast", "slower" or "inconclusive".
        reason: for the verdict, in a sentence.
        rates: slope, floor and verdict from each start, by its name.
        time_constants: of the shortest runs that were judged; a verdict needs 3. Not a number
            where it could not be measured.
        window: the horizons that were judged; shorter ones are before the rate is in force.
        runs: all that were trained, or taken from the folder.
        bound: the theorem's right-hand side as a function of T and the start, or None.
    """

    name: str
    exponent: float
    verdict: str
    reason: str
    rates: Mapping[str, Rate]
    time_constants: float
    window: tuple[int, ...]
    runs: tuple[FinishedRun, ...]
    bound: Callable[[int, str], float] | None = None

    @property
    def slowest(self) -> Rate:
        """The rate from the start with the largest upper end of the slope."""
        return max(self.rates.values(), key=lambda rate: (rate.interval[1], rate.slope))

    @property
    def slope(self) -> float:
        """Of the slowest start; -0.5 is O(1 / sqrt T)."""
        return self.slowest.slope

    @property
    def interval(self) -> tuple[float, float]:
        """Of that slope, at 95 %."""
        return self.slowest.interval

    @property
    def floor(self) -> float:
        """The largest share, over the starts, of the last mean that may stay for ever."""
        return max(rate.floor for rate in self.rates.values())

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row for every start and horizon: number of runs, mean, its 95 % interval, bound."""
        rows = []
        for start in self.rates:
            for horizon in sorted({run.horizon for run in self.runs}):
                values = _averages(self.runs, start, horizon)
                mean = float(values.mean())
                margin = (
                    1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
                    if len(values) > 1
                    else math.nan
                )
                row = {
                    "start": start,
                    "horizon": horizon,
                    "runs": len(values),
                    "mean": mean,
                    "low": mean - margin,
                    "high": mean + margin,
                    "judged": horizon in self.window,
                }
                if self.bound is not None:
                    row["bound"] = self.bound(horizon, start)
                rows.append(row)
        return rows

    @property
    def bound_ratio(self) -> float:
        """Largest (mean + 3 standard errors) / bound; at most 1 where the bound holds.

        Not a number without a bound.
        """
        if self.bound is None:
            return math.nan
        return max(
            (row["mean"] + (row["high"] - row["mean"]) * 3 / 1.96) / row["bound"]
            for row in self.table
        )

    def frame(self) -> Any:
        """The table as a `pandas.DataFrame`.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("frame() needs pandas: use .table for plain rows") from error
        return pandas.DataFrame(self.table)

    def curves(self, colour: int = 0) -> list[plots.Curve]:
        """Means over runs with 95 % bands, one for every start, to be drawn in a colour."""
        found = []
        for style, start in enumerate(self.rates):
            rows = [row for row in self.table if row["start"] == start]
            columns = {k: np.array([row[k] for row in rows]) for k in rows[0] if k != "start"}
            label = " ".join(part for part in (self.name, f"from {start}") if part)
            T = columns["horizon"].astype(np.float64)
            bands = columns["mean"], columns["low"], columns["high"]
            found.append(plots.Curve(label, colour, style, T, *bands, columns.get("bound")))
        return found

    def plot(self, path: str | os.PathLike[str], beside: Sequence["RateCheck"] = ()) -> None:
        """Draw the mean over runs against T, log-log, with 95 % bands, bounds and slopes -1/2, -1.

        Args:
            path: of the picture; its ending says the format.
            beside: checks of other optimizers, on the same axes.

        Raises:
            ImportError: matplotlib is not installed.
        """
        checks = [self, *beside]
        curves = [curve for colour, check in enumerate(checks) for curve in check.curves(colour)]
        title = "\n".join(": ".join(filter(None, (check.name, check.verdict))) for check in checks)
        plots.plot_rates(curves, path, title)

    def __str__(self) -> str:
        title, word = self.name or "the optimizer", PREPOSITIONS[self.verdict]
        lines = [f"{title}: {self.verdict} {word} T^-{self.exponent:g}", f"  {self.reason}"]
        for start, rate in self.rates.items():
            low, high = rate.interval
            slope = f"slope {rate.slope:.3f} [{low:.3f}, {high:.3f}]"
            least, most = rate.floor_interval
            floor = f"floor {rate.floor:.2f} [{least:.2f}, {most:.2f}] of the last mean"
            lines.append(f"  from {start}: {slope}, {floor}")
        horizons = sorted({run.horizon for run in self.runs})
        count = len(self.runs) // (len(horizons) * len(self.rates))
        judged = ", ".join(map(str, self.window))
        gate = f"{self.time_constants:.2g} time constants in the shortest"
        lines.append(f"  T = {judged}, {count} runs each, {gate}")
        if self.bound is not None:
            lines.append(f"  bound: at most {self.bound_ratio:.2f} of it is reached")
        return "\n".join(lines)


def check_rate(
    train: Train,
    *,
    horizons: Sequence[int],
    seeds: int = 16,
    starts: Sequence[str] | Mapping[str, Any] = ("far", "near"),
    measure: str = "gradient",
    since: float = 0.0,
    exponent: float = 0.5,
    time_constants: float | None = None,
    least_loss: float = 0.0,
    bound: Callable[[int, str], float] | None = None,
    name: str = "",
    folder: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> RateCheck:
    """Train at several lengths, from several starts, and judge how fast a measure falls.

    A rate is a statement about runs of T steps at the step size for T, not about what a single run
    does: O(1 / sqrt T) about steps of order 1 / sqrt T, constant in a run. `train` builds the model
    and the optimizer for T, and trains; the mean over runs of the measure's average over steps is
    fitted as `estimate_rate` does it, from every start, and `judge` makes one verdict of them.

    **Two starts.** From afar, a long descent looks like a rate, whatever comes after it; nearby,
    what does not move or never learns looks converged. Each shows what the other hides.

    **The gate.** There is no verdict before a rate can be in force: until runs from the farthest
    start have lasted 3 time constants. These are eta T mu where you say so (`time_constants`); else
    `time_constants_of_descent`, from the losses, learning rates and measures that the recorders
    hold; else, where a step has no one size (Adam), from how far the last quarter of the shortest
    runs is below w_0. Horizons before it are left out while 3 remain.

    Args:
        train: (horizon, seed, start) -> the run's `Recorder`, built with `horizon` and `seed`; or
            the average alone, a number, which leaves the gate to `time_constants`. It must not
            use randomness beside the seed, which is another one for every run.
        horizons: T, increasing, at least 3; of a factor of 2, say.
        seeds: >= 8, number of runs of every horizon from every start.
        starts: names, or what `train` gets as the start, by name.
        measure: the name that the recorder holds it under: "gradient" is |grad F|^2.
        since: in [0, 1), the share of a run that is left out of its average: what comes before the
            supports are settled, say. The gate then counts from there.
        exponent: > 0, of the rate asked about: 0.5, or 1 for O(1 / T), of full batches, say.
        time_constants: the least eta T mu at the shortest horizon, if it is known; `math.inf`
            judges without a gate.
        least_loss: a lower bound of F: 0 for cross-entropy. The better, the sooner the gate opens.
        bound: (T, start) -> a theorem's right-hand side for the mean, see `bounds`; for the plot,
            the table and `bound_ratio`.
        name: of the optimizer, for texts and plots.
        folder: of finished runs. A check that is broken off goes on where it was.
        seed: of the runs' seeds and the bootstrap.
        progress: show it on the error stream.

    Raises:
        ValueError: an argument out of its range, or a folder of other runs.
        TypeError: `train` returned neither a recorder nor a number.

    >>> def train(horizon, seed, start):
    ...     rng = np.random.default_rng(seed)
    ...     w, eta = (3.0 if start == "far" else 0.0), 2 / horizon**0.5
    ...     recorder = Recorder(horizon=horizon, seed=seed)
    ...     for _ in range(horizon):
    ...         recorder.step(w**2 / 2, gradient=lambda: w**2)
    ...         w -= eta * (w + rng.standard_normal())
    ...     return recorder
    >>> check = check_rate(train, horizons=[64, 128, 256, 512], time_constants=16, progress=False)
    >>> check.verdict
    'at least as fast'
    """
    lengths, names = _checked(horizons, seeds, starts, since)
    values = starts if isinstance(starts, Mapping) else {start: start for start in names}
    made_by = "" if folder is None else f"{fingerprint(train)} {measure} {since} {seed}"
    store = RunStore(folder, made_by)
    runs: list[FinishedRun] = []
    title = name or "check_rate"
    with reporting(len(names) * len(lengths) * seeds, title, progress) as tell:
        for number, start in enumerate(names):
            for horizon in lengths:
                for index in range(seeds):
                    own = _seed(seed, number, horizon, index)
                    run = store.load(start, horizon, own)
                    if run is None:
                        trained = train(horizon, own, values[start])
                        run = finished(trained, start, horizon, own, measure, since)
                        store.save(run)
                    runs.append(run)
                    tell(f"T = {horizon} from {start}")
    opened = (
        measured_time_constants(runs, lengths, least_loss)
        if time_constants is None
        else dict.fromkeys(lengths, time_constants)
    )
    window = [T for T in lengths if opened[T] >= TIME_CONSTANTS]
    if len(window) < FEWEST_HORIZONS:
        window = lengths
    rates = {
        start: estimate_rate(
            window,
            np.stack([_averages(runs, start, T) for T in window]),
            exponent=exponent,
            seed=seed,
        )
        for start in names
    }
    verdict, reason = judge(rates, opened[window[0]])
    return RateCheck(
        name, exponent, verdict, reason, rates, opened[window[0]], tuple(window), tuple(runs), bound
    )


def _checked(
    horizons: Sequence[int],
    seeds: int,
    starts: Sequence[str] | Mapping[str, Any],
    since: float,
) -> tuple[list[int], list[str]]:
    lengths, names = [int(T) for T in horizons], list(starts)
    if len(lengths) < FEWEST_HORIZONS:
        raise ValueError(f"horizons must be at least {FEWEST_HORIZONS}, got {lengths}")
    if lengths[0] < 1 or any(a >= b for a, b in itertools.pairwise(lengths)):
        raise ValueError(f"horizons must be positive and increasing, got {lengths}")
    if seeds < 8:
        raise ValueError(f"seeds must be at least 8, for an interval, got {seeds}")
    if isinstance(starts, str) or not names or len(set(names)) < len(names):
        raise ValueError(f"starts must be one or more different names, got {starts!r}")
    if not 0 <= since < 1:
        raise ValueError(f"since must be in [0, 1), got {since}")
    return lengths, names


def _seed(seed: int, *indices: int) -> int:
    """A seed of its own for every run, the same whatever else the check consists of."""
    return int(np.random.SeedSequence([seed, *indices]).generate_state(1)[0])


def _averages(runs: Sequence[FinishedRun], start: str, horizon: int) -> Array:
    return np.array([run.average for run in runs if (run.start, run.horizon) == (start, horizon)])
