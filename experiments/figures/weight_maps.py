"""Weights as heat maps side by side on one colour scale; an empty cell is |w| < 1e-3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure, SubFigure

from experiments.figures import sheets
from experiments.figures.heads import THRESHOLD, staircase
from experiments.figures.svg import Scheme

LINEAR = 0.1  # share of the largest |w| up to which the colour is linear, logarithmic beyond
COLUMNS = ("panel", "model", "unit", "output", "weight")


def scale(weights: Sequence[np.ndarray]) -> SymLogNorm:
    """One for all; a scale of its own for weights that are all 0."""
    most = max((float(abs(weight).max(initial=0)) for weight in weights), default=0) or 1.0
    return SymLogNorm(LINEAR * most, vmin=-most, vmax=most)


def draw(axes: Axes, weight: np.ndarray, norm: SymLogNorm, scheme: Scheme) -> Any:
    """Units as rows, in the order of the output they weigh most in, outputs as columns; (outputs, units)."""
    shown = np.ma.masked_where(abs(weight) < THRESHOLD, weight)[:, staircase(weight)].T
    colours = sheets.diverging(scheme).with_extremes(bad=scheme.panel)
    picture = axes.imshow(shown, cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[])
    return picture


def colour_bar(figure: Figure | SubFigure, picture: Any, axes: Sequence[Axes]) -> None:
    """The scale beside panels, with ticks at plain numbers."""
    bar = figure.colorbar(picture, ax=list(axes), pad=0.02, fraction=0.05, aspect=35)
    most = picture.norm.vmax
    decades = 10.0 ** np.arange(np.floor(np.log10(most)) - 1, np.ceil(np.log10(most)) + 1)
    fit = [v for d in decades for v in (d, 3 * d) if LINEAR * most < v <= most]
    ticks = [-v for v in fit[::-1]] + [0] + fit
    bar.set_ticks(ticks, labels=[f"{v:g}" for v in ticks])
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label(f"weight; log beyond ±{LINEAR * most:.2g}; empty: |w| < {THRESHOLD:g}")


def table(panel: str, weights: Mapping[str, np.ndarray]) -> Iterator[tuple[Any, ...]]:
    """The cells that are drawn: units and outputs counted from 0, those below the threshold left out."""
    for model, weight in weights.items():
        for output, unit in np.argwhere(abs(weight) >= THRESHOLD):
            yield panel, model, int(unit), int(output), float(weight[output, unit])


def empty(weight: np.ndarray) -> float:
    """Share of weights that are drawn empty."""
    return float((abs(weight) < THRESHOLD).mean())
