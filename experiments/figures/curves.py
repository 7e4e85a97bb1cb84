"""Curves over training: the mean over seeds, and a band from the lowest to the highest."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from experiments.figures.series import Series
from experiments.store import Stored

COLUMNS = ("panel", "model", "x", "mean", "lowest", "highest", "seeds")
SPREAD = "line: mean, band: lowest to highest seed"


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
