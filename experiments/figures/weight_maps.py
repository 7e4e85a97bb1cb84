"""Weights as heat maps side by side on one colour scale; an empty cell is |w| < 1e-3."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure, SubFigure

from experiments.evaluation.selection import THRESHOLD
from experiments.figures.series import DENSE, L1, OURS, RESNET, SCALE, Series, first, runs_of
from experiments.figures.style import PlottedNumbers, Scheme, canvas, data_of, diverging, publish
from experiments.store import Stored

LINEAR = 0.1  # share of the largest |w| up to which the colour is linear, logarithmic beyond
COLUMNS = ("panel", "model", "unit", "output", "weight")


def scale_of(weights: Sequence[np.ndarray]) -> SymLogNorm:
    """One for all; a scale of its own for weights that are all 0."""
    most = max((float(abs(weight).max(initial=0)) for weight in weights), default=0) or 1.0
    return SymLogNorm(LINEAR * most, vmin=-most, vmax=most)


def draw(axes: Axes, weight: np.ndarray, norm: SymLogNorm, scheme: Scheme) -> Any:
    """Units as rows, in the order of the output they weigh most in, outputs as columns; (outputs, units)."""
    shown = np.ma.masked_where(abs(weight) < THRESHOLD, weight)[:, staircase(weight)].T
    colours = diverging(scheme).with_extremes(bad=scheme.panel)
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


def staircase(weight: np.ndarray) -> np.ndarray:
    """Order of the columns by the row of their largest |weight|, then by its size.

    >>> staircase(np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 0.0]]))
    array([1, 2, 0])
    """
    order: np.ndarray = np.lexsort((-abs(weight).max(0), abs(weight).argmax(0)))
    return order


def heads(
    stored: Sequence[Stored],
    out: Path,
    data: str,
    scale: str = SCALE,
    name: str = "heads",
    beside: Sequence[Series] = (L1,),
    model: str = RESNET,
) -> list[Path]:
    """Draw the weights of the dense head and of ours side by side, and of others where they are stored.

    Raises:
        MissingRuns: the dense network or ours was never trained on these data.
    """
    runs = first(runs_of(name, stored, [DENSE, OURS], data, scale, beside, model))
    weights = {series.label: run.arrays["weight"] for series, run in runs.items()}
    classes, units = next(iter(weights.values())).shape
    title = f"Weights of {classes} classes over {units} units, {data_of(data)}"

    def page(scheme: Scheme) -> Figure:
        figure = canvas(0.9 + 1.9 * len(weights), 5.2)
        panels = figure.subplots(1, len(weights), squeeze=False)[0]
        norm = scale_of(list(weights.values()))
        for axes, (series, run) in zip(panels, runs.items(), strict=True):
            picture = draw(axes, weights[series.label], norm, scheme)
            axes.set_title(
                f"{series.label}\n{run['weights_per_class']:.1f} weights a class\n"
                f"test {run['accuracy']:.1%}",
                fontsize=8.5,
            )
        panels[0].set_ylabel(f"{units} units, by the class they weigh most in")
        figure.supxlabel(f"{classes} classes each", fontsize=9)
        colour_bar(figure, picture, panels)
        figure.suptitle(f"{title}, seed {run['seed']}", fontsize=10)
        return figure

    return publish(out, name, title, page, PlottedNumbers(COLUMNS, table("weights", weights)))
