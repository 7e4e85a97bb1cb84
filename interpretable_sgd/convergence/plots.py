"""Figures of runs and rates, written by matplotlib."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REFERENCES = ((-0.5, ":", "slope -1/2"), (-1.0, "--", "slope -1"))
# Okabe and Ito's colours, which differ in print and for most colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":")


class Run(Protocol):
    """What a run recorded, as `Recorder` does."""

    @property
    def names(self) -> list[str]:
        """Of the series."""
        ...

    def series(self, name: str) -> tuple[Array, Array]:
        """Steps and values."""
        ...

    def averages(self, name: str) -> tuple[Array, Array]:
        """Steps, and the mean up to each."""
        ...


class Curve(NamedTuple):
    """Means over runs against T, from one start of one optimizer.

    Attributes:
        label: in the legend.
        colour, style: numbers of the optimizer and of the start.
        horizons: T, (P,).
        means, lows, highs: with their band, (P,).
        bounds: the theorem's right-hand side, (P,), or None.
    """

    label: str
    colour: int
    style: int
    horizons: Array
    means: Array
    lows: Array
    highs: Array
    bounds: Array | None


def plot_run(run: Run, path: str | os.PathLike[str]) -> None:
    """Loss and measures of one run, log-log: points, their averages, and reference slopes.

    Raises:
        ImportError: matplotlib is not installed.
    """
    other = ("loss", "accuracy", "lr", "phase")
    measures = [n for n in run.names if "/" not in n and n.endswith("gradient") and n not in other]
    shown = ["loss", *measures]
    figure = new_figure(4.5 * len(shown), 3.6)
    for axes, name in zip(np.ravel(figure.subplots(1, len(shown))), shown, strict=True):
        steps, values = run.series(name)
        # Products of half batches may be negative, which a logarithm does not show.
        points = np.where(values > 0, values, np.nan)
        axes.loglog(steps, points, ".", color=COLOURS[0], alpha=0.5, label="readings")
        at, means = run.averages(name)
        axes.loglog(
            at, np.where(means > 0, means, np.nan), color=COLOURS[1], label="average so far"
        )
        if name != "loss":
            _references(axes, at, means)
        axes.set(xlabel="step", title="loss" if name == "loss" else f"{name}: squared norm")
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(path)


def plot_rates(curves: Sequence[Curve], path: str | os.PathLike[str], title: str = "") -> None:
    """Means over runs of the average of |grad F|^2 against T, log-log, with bands and bounds.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = new_figure(7.6, 4.4)
    axes = figure.subplots()
    for curve in curves:
        colour, style = COLOURS[curve.colour % len(COLOURS)], STYLES[curve.style % len(STYLES)]
        axes.loglog(
            curve.horizons, curve.means, style, color=colour, marker="o", ms=4, label=curve.label
        )
        floor = np.nanmin(curve.means[curve.means > 0], initial=1.0) * 1e-3
        lows = np.maximum(curve.lows, floor)
        axes.fill_between(curve.horizons, lows, curve.highs, color=colour, alpha=0.18, lw=0)
        if curve.bounds is not None:
            label = f"{curve.label}: bound"
            axes.loglog(curve.horizons, curve.bounds, style, color=colour, lw=0.8, label=label)
    lowest = min(curves, key=lambda curve: float(curve.means[-1]))
    _references(axes, lowest.horizons, lowest.means * 0.8)
    horizons = np.unique(np.concatenate([curve.horizons for curve in curves]))
    axes.set_xticks(horizons, [f"{T:.0f}" for T in horizons])
    axes.xaxis.set_minor_locator(null_locator())
    axes.set(
        xlabel="T, steps of a run", ylabel="mean over runs of the average over steps", title=title
    )
    figure.legend(frameon=False, fontsize="small", loc="outside right upper")
    figure.savefig(path)


def null_locator() -> Any:
    """No ticks."""
    from matplotlib.ticker import NullLocator

    return NullLocator()


def new_figure(width: float, height: float) -> Any:
    """An empty figure of a size in inches.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        message = "plots need matplotlib: pip install 'interpretable-sgd[plot]'"
        raise ImportError(message) from error
    return Figure(figsize=(width, height), layout="constrained", dpi=130)


def _references(axes: Any, steps: Array, values: Array) -> None:
    """Slopes to compare with, through the last point: what is slower comes from below them."""
    positive = values > 0
    if not positive.any():
        return
    last, at = values[positive][-1], steps[positive][-1]
    # A decade and a half is what can be compared by eye.
    shown = steps[(steps >= at / 30) & (steps <= at)]
    for slope, style, label in REFERENCES:
        axes.loglog(shown, last * (shown / at) ** slope, style, color="0.6", lw=1, label=label)
