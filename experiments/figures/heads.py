"""Weights of the heads side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import SymLogNorm

from experiments.figures import style
from experiments.results import Record, arrays

THRESHOLD = 1e-3


def heads(out: Path, records: Sequence[Record]) -> list[Path]:
    """One figure per data set, of its first seed: `heads-DATA.png`; white is |w| < 1e-3 exactly."""
    paths = []
    for data, some in style.by_data(records).items():
        runs = [runs[0] for runs in style.by_optimizer(some).values()]
        weights = [arrays(out, run)["weight"] for run in runs]
        most = max(abs(weight).max() for weight in weights)
        classes, units = weights[0].shape
        figure = style.canvas(4.8 * len(runs) + 1.4, 1.3 + 0.14 * max(classes, 16))
        panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
        for axes, run, weight in zip(panels, runs, weights, strict=True):
            picture = axes.imshow(
                np.ma.masked_where(abs(weight) < THRESHOLD, weight)[:, staircase(weight)],
                cmap="RdBu_r",
                norm=SymLogNorm(0.1, vmin=-most, vmax=most),
                aspect="auto",
                interpolation="nearest",
            )
            axes.set_title(
                f"{run['optimizer']}: {run['weights_per_class']:.1f} weights per class, "
                f"test {run['test_accuracy']:.1%}",
                fontsize=10,
            )
            axes.set_xlabel(f"{units} units, ordered by the class they weigh most in")
        panels[0].set_ylabel("class")
        panels[0].set_yticks(range(0, classes, max(1, classes // 12)))
        bar = figure.colorbar(picture, ax=list(panels), shrink=0.9, pad=0.01)
        bar.set_label("weight (log beyond ±0.1)")
        ticks = [v for v in (0.1, 0.3, 1.0, 3.0, 10.0) if v <= most]
        bar.set_ticks([-v for v in ticks[::-1]] + [0] + ticks)
        bar.set_ticklabels([f"{v:g}" for v in [-v for v in ticks[::-1]] + [0] + ticks])
        bar.minorticks_off()
        figure.suptitle(f"{data}: weights of the head, one colour scale (seed {runs[0]['seed']})")
        paths.append(style.save(figure, out, f"heads-{data}"))
    return paths


def staircase(weight: np.ndarray) -> np.ndarray:
    """Order of the columns by the row of their largest |weight|, then by its size.

    >>> staircase(np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 0.0]]))
    array([1, 2, 0])
    """
    return np.lexsort((-abs(weight).max(0), abs(weight).argmax(0)))
