"""Loss and squared gradient norm against steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from experiments.figures import style
from experiments.results import Record


def convergence(out: Path, records: Sequence[Record]) -> list[Path]:
    """One figure per data set, log-log: `convergence-DATA.png`."""
    paths = []
    for data, some in style.by_data(records).items():
        figure = style.canvas(10, 4.3)
        left, right = figure.subplots(1, 2)
        for name, runs in style.by_optimizer(some).items():
            _losses(left, name, runs)
            _gradients(right, name, runs)
        _reference(right)
        for axes, text in (
            (left, "training loss, mean over log-spaced windows"),
            (right, r"$|\nabla F|^2$: estimates (dots), running mean (lines)"),
        ):
            style.clean(axes).set(xlabel="steps", title=text)
            if axes.get_lines():  # a run of a few steps may have no positive estimate
                axes.set(xscale="log", yscale="log")
                _label_values(axes)
                axes.legend(frameon=False, loc="best")
        seeds = len({r["seed"] for r in some})
        figure.suptitle(
            f"{data}: convergence ({seeds} seed{'s' * (seeds > 1)}; a description, no certificate)"
        )
        paths.append(style.save(figure, out, f"convergence-{data}"))
    return paths


def _losses(axes: Axes, name: str, runs: Sequence[Record]) -> None:
    for run in runs:
        losses = np.array(run["history"]["losses"])
        edges = np.unique(np.geomspace(1, len(losses) + 1, 32).round().astype(int)) - 1
        windows = list(pairwise(edges))
        steps = [np.sqrt((low + 1) * high) for low, high in windows]
        means = [losses[low:high].mean() for low, high in windows]
        axes.plot(steps, means, color=style.COLOURS[name], label=_once(run, runs, name))


def _gradients(axes: Axes, name: str, runs: Sequence[Record]) -> None:
    """Dots are single unbiased estimates (negative ones have no logarithm and are left out)."""
    for run in runs:
        steps = np.array(run["history"]["gradient_steps"], dtype=float)
        norms = np.array(run["history"]["gradients"])
        colour = style.COLOURS[name]
        means = running_mean(steps, norms)
        shown, seen = means > 0, norms > 0
        if shown.any():
            axes.plot(steps[shown], means[shown], color=colour, label=_once(run, runs, name))
        if seen.any():
            axes.plot(steps[seen], norms[seen], "o", color=colour, markersize=4, alpha=0.45)


def running_mean(steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(1/T) sum_{t <= T} value_t at each step T, with values between the given steps held.

    >>> running_mean(np.array([1.0, 2.0, 4.0]), np.array([6.0, 2.0, 4.0]))
    array([6., 4., 4.])
    """
    gaps = np.diff(steps, prepend=0)
    return np.cumsum(gaps * values) / steps


def _reference(axes: Axes) -> None:
    """A line of slope -1/2 from the largest running mean on."""
    lines = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
    if not lines:
        return
    steps, means = lines[0].get_data()
    top = int(means.argmax())
    ends = np.array([steps[top], steps[-1]], dtype=float)
    axes.plot(
        ends,
        means[top] * (ends / ends[0]) ** -0.5,
        "--",
        color=style.INK,
        linewidth=1,
        label="slope -1/2",
    )


def _label_values(axes: Axes) -> None:
    """Plain numbers, 1 2 5 within two decades."""
    low, high = axes.get_ylim()
    if high / low < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _once(run: Record, runs: Sequence[Record], name: str) -> str:
    return name if run is runs[0] else "_" + name
