"""The stored runs that a figure shows, their colours, and what is said where they are missing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.typing import LineStyleType

from experiments.store import ARRAYS, Stored

SCALE = "tiny"
CURVE_COLUMNS = ("panel", "model", "x", "mean", "lowest", "highest", "seeds")
SPREAD = "line: mean, band: lowest to highest seed"
RESNET = "resnet18"  # of the paper's figures


class MissingRuns(LookupError):
    """A figure lacks runs, or what it was asked to show of them; the message says what helps."""


class Series(NamedTuple):
    """Runs that differ in the seed alone, as a figure shows them.

    Attributes:
        label: in the legend, as the paper writes it.
        method: the name of how they are trained.
        colour: of its lines; empty for that of the text.
        dashes: matplotlib's name of a line style.
    """

    label: str
    method: str = "SGD"
    colour: str = ""
    dashes: LineStyleType = "-"

    @property
    def paint(self) -> str:
        """The colour on the page that is being drawn."""
        return self.colour or str(rcParams["text.color"])

    def of(self, model: str) -> "Series":
        """The same of another network, which the paper has no name for."""
        return self if model == RESNET else self._replace(label=self.method)


# Red is the paper's for the dense net; ours have the colour of the text, as orange is too near.
DENSE = Series("Res18", colour="#e03131")
L1 = Series("Res18-L1", "SGD with L1", "#2b6cb0")
D1, D5, D10, D25, D50, D100 = (
    Series(f"Res18-d{k}a", f"Dynamic-{k}", colour)
    for k, colour in (
        (1, "#9c36b5"),
        (5, "#2f9e44"),
        (10, "#12a594"),
        (25, "#2d9cdb"),
        (50, "#7c8cf8"),
        (100, "#b08968"),
    )
)
INNER = Series("Res18-d[32,32,5]a", "Dynamic-[32,32,5]", "#2f9e44")
OURS = Series("InterpretableSGD", "InterpretableSGD")
SHARED = Series("InterpretableSGD, shared masks", "shared masks", dashes="--")
ADAMW = Series("AdamW", "AdamW", "#e8590c")
OURS_ADAMW = Series("InterpretableAdamW", "InterpretableAdamW", "#7048e8")
RANDOM = Series("random units", "random units", "#868e96", ":")
ALGORITHM_3 = Series("Algorithm 3, literally", "Algorithm 3", dashes=":")

Runs = dict[Series, list[Stored]]


def runs_of(
    figure: str,
    stored: Sequence[Stored],
    needed: Sequence[Series],
    data: str,
    scale: str,
    beside: Sequence[Series] = (),
    model: str = RESNET,
) -> Runs:
    """The runs of each series by seed; those that stand beside the others are left out where none is stored.

    Raises:
        MissingRuns: a needed series has no run at all.
    """
    wanted = (data, scale, model)
    here = [run for run in stored if (run["data"], run["scale"], run["model"]) == wanted]
    by_series = {series: _of(series, here) for series in (*needed, *beside)}
    missing = [series for series in needed if not by_series[series]]
    if missing:
        names = [f"{model} ({series.method})" for series in missing]
        raise missing_runs(figure, names, data, scale)
    return {series.of(model): runs for series, runs in by_series.items() if runs}


def missing_runs(figure: str, missing: Sequence[str], data: str, scale: str) -> MissingRuns:
    """The error that names runs and the command which trains them."""
    where = f" --data {data}:PATH" if scale in ("paper", "code") and ":" not in data else ""
    return MissingRuns(
        f"{figure} must have a stored run of {', '.join(missing)} on {data} at scale {scale}, got none; "
        f"`python -m experiments run {figure} --scale {scale}{where}` trains what is missing"
    )


def first(runs: Runs) -> dict[Series, Stored]:
    """One run of each series: of the lowest seed that all have, else of each one's lowest."""
    shared = set.intersection(*({run["seed"] for run in some} for some in runs.values()))
    common = sorted(shared)[:1]
    return {
        series: next((run for run in some if run["seed"] in common), some[0])
        for series, some in runs.items()
    }


def needs(figure: str, run: Stored, *arrays: str) -> None:
    """Check that a run was stored with the arrays that a figure shows.

    Raises:
        MissingRuns: it was not.
    """
    missing = [name for name in arrays if name not in run.arrays]
    if missing:
        raise MissingRuns(
            f"{figure} must have {', '.join(missing)} in {run.folder / ARRAYS}, which is older; "
            "remove that folder to train the run again"
        )


def _of(series: Series, runs: Sequence[Stored]) -> list[Stored]:
    own = [run for run in runs if run["method"] == series.method]
    return sorted(own, key=lambda run: int(run["seed"]))


def seeds(runs: Runs) -> str:
    """How many seeds each series has, for a title.

    >>> from pathlib import Path
    >>> run = Stored(Path("x"), {"seed": 0})
    >>> seeds({DENSE: [run]}), seeds({DENSE: [run, run], D5: [run, run]})
    ('1 seed', '2 seeds')
    >>> seeds({DENSE: [run, run], D5: [run]})
    'n seeds: Res18 2, Res18-d5a 1'
    """
    counts = {series.label: len(some) for series, some in runs.items()}
    if len(set(counts.values())) == 1:
        (count,) = set(counts.values())
        return f"{count} seed{'s' * (count > 1)}"
    return "n seeds: " + ", ".join(f"{label} {count}" for label, count in counts.items())


class Curve(NamedTuple):
    """Values of some seeds at the same places.

    Attributes:
        series: whose.
        x: places, (t,).
        values: (seeds, t).
    """

    series: Series
    x: np.ndarray
    values: np.ndarray

    def table(self, panel: str) -> list[tuple[Any, ...]]:
        """What is plotted, a row for each place."""
        columns = (self.x, self.values.mean(0), self.values.min(0), self.values.max(0))
        n = len(self.values)
        return [
            (panel, self.series.label, *numbers, n)
            for numbers in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def draw(self, axes: Axes, label: str | None = None, **more: Any) -> None:
        """Add it to a panel."""
        look: dict[str, Any] = {
            "color": self.series.paint,
            "linestyle": self.series.dashes,
            "linewidth": 1.6,
        } | more
        axes.plot(self.x, self.values.mean(0), label=label, **look)
        if len(self.values) > 1:
            low, high = self.values.min(0), self.values.max(0)
            axes.fill_between(self.x, low, high, color=self.series.paint, alpha=0.15, linewidth=0)


def held_out(runs: Runs) -> str:
    """What held-out images of curves are: of the test where all runs looked at them, else of validation."""
    tested = all("test_accuracy" in run["epochs"][-1] for some in runs.values() for run in some)
    return "test" if tested else "validation"


def over_training(series: Series, runs: Sequence[Stored], name: str) -> Curve | None:
    """A number that was taken at the end of epochs, 0 before training; None where it never was.

    Raises:
        ValueError: seeds of one series have it at different epochs.
    """
    taken = [
        {numbers["epoch"]: numbers[name] for numbers in run["epochs"] if name in numbers}
        for run in runs
    ]
    if not all(taken):
        return None
    if any(list(other) != list(taken[0]) for other in taken):
        lengths = ", ".join(str(len(epochs)) for epochs in taken)
        raise ValueError(
            f"runs of {series.method} must have {name} at the same epochs, got {lengths} epochs"
        )
    values = np.array([list(numbers.values()) for numbers in taken], dtype=float)
    return Curve(series, np.array(list(taken[0])), values)
