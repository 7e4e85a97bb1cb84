"""Loss and squared gradient norm against steps, of runs whose numbers were recorded after each step."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from experiments.figures.series import DENSE, L1, OURS, RESNET, SCALE, Runs, Series, runs_of, seeds
from experiments.figures.style import PlottedNumbers, Scheme, canvas, clean, data_of, publish
from experiments.store import Stored

COLUMNS = ("measure", "model", "seed", "step", "value")
WINDOWS = 32


def convergence(
    stored: Sequence[Stored],
    out: Path,
    data: str,
    scale: str = SCALE,
    model: str = RESNET,
    name: str = "convergence",
) -> list[Path]:
    """Draw the loss, mean over log-spaced windows, and estimates of |grad F|^2 with their running mean.

    Raises:
        MissingRuns: the dense network or ours was never trained on these data.
    """
    runs = runs_of(name, stored, [DENSE, OURS], data, scale, [L1], model)
    title = f"{data_of(data)}: convergence, {seeds(runs)}; a description, no certificate"

    def draw(scheme: Scheme) -> Figure:
        figure = canvas(10, 4.3)
        left, right = figure.subplots(1, 2)
        for series, some in runs.items():
            for run in some:
                label = series.label if run is some[0] else f"_{series.label}"
                _loss(left, series, run, label)
                _gradient(right, series, run, label)
        _reference(right)
        for axes, text in (
            (left, "training loss, mean over log-spaced windows"),
            (right, r"$|\nabla F|^2$: estimates (dots), running mean (lines)"),
        ):
            clean(axes).set(xlabel="steps", title=text)
            if axes.get_lines():  # a run of a few steps may have no positive estimate
                axes.set(xscale="log", yscale="log")
                _label_values(axes)
                axes.legend(frameon=False, loc="best")
        figure.suptitle(title)
        return figure

    return publish(out, name, title, draw, PlottedNumbers(COLUMNS, _numbers(runs)))


def _curve(run: Stored, name: str) -> tuple[np.ndarray, np.ndarray]:
    steps, values = run["curves"].get(name, ((), ()))
    return np.array(steps, dtype=float), np.array(values, dtype=float)


def _loss(axes: Axes, series: Series, run: Stored, label: str) -> None:
    losses = _curve(run, "loss")[1]
    edges = np.unique(np.geomspace(1, len(losses) + 1, WINDOWS).round().astype(int)) - 1
    windows = list(pairwise(edges))
    steps = [np.sqrt((low + 1) * high) for low, high in windows]
    means = [losses[low:high].mean() for low, high in windows]
    axes.plot(steps, means, color=series.paint, label=label)


def _gradient(axes: Axes, series: Series, run: Stored, label: str) -> None:
    """Dots are single unbiased estimates (negative ones have no logarithm and are left out)."""
    steps, norms = _curve(run, "gradient")
    means = running_mean(steps, norms)
    shown, seen = means > 0, norms > 0
    if shown.any():
        axes.plot(steps[shown], means[shown], color=series.paint, label=label)
    if seen.any():
        axes.plot(steps[seen], norms[seen], "o", color=series.paint, markersize=4, alpha=0.45)


def running_mean(steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(1/T) sum_{t <= T} value_t at each step T, with values between the given steps held.

    >>> running_mean(np.array([1.0, 2.0, 4.0]), np.array([6.0, 2.0, 4.0]))
    array([6., 4., 4.])
    """
    means: np.ndarray = np.cumsum(np.diff(steps, prepend=0) * values) / steps
    return means


def _reference(axes: Axes) -> None:
    """A line of slope -1/2 from the largest running mean on."""
    lines = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
    if not lines:
        return
    steps, means = (np.asarray(values, dtype=float) for values in lines[0].get_data())
    top = int(means.argmax())
    ends = np.array([steps[top], steps[-1]])
    heights, ink = means[top] * (ends / ends[0]) ** -0.5, rcParams["text.color"]
    axes.plot(ends, heights, "--", color=ink, linewidth=1, label="slope -1/2")


def _label_values(axes: Axes) -> None:
    """Plain numbers, 1 2 5 within two decades."""
    low, high = axes.get_ylim()
    if high / low < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _numbers(runs: Runs) -> Iterator[tuple[Any, ...]]:
    for series, some in runs.items():
        for run in some:
            for measure in ("loss", "gradient"):
                for step, value in zip(*_curve(run, measure), strict=True):
                    yield measure, series.label, run["seed"], int(step), float(value)
