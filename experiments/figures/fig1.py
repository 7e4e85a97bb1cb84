"""Figure 1: the mechanism of a dynamic layer, fully connected or convolutional: its input chooses the routes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.figures.fig2 import results
from experiments.figures.fig3 import RESULTS
from experiments.figures.style import PlottedNumbers, Scheme, canvas, publish
from experiments.store import Stored

COLUMNS = ("input", "class", "unit", "activation", "weight", "kept")
STAGES = ("image", "convolutions,\nresidual blocks", "units x", "dynamic\nlayer", "classes")


def fig1(stored: Sequence[Stored], out: Path) -> list[Path]:
    """Draw a network whose last layer is dynamic, and the routes that two inputs take in that layer.

    Args:
        stored: not needed; what a layer chooses is in `selection_map.json`.
        out: folder of results.

    Raises:
        FileNotFoundError: there is no `selection_map.json` in it.
    """
    layer = results(out / RESULTS, "selection-map")["layer"]
    title = f"A dynamic layer, K = {layer['k']}: the input chooses the routes"
    numbers = PlottedNumbers(COLUMNS, _rows(layer))
    return publish(out, "fig1", title, lambda scheme: _page(layer, title, scheme), numbers)


def _page(layer: dict[str, Any], title: str, scheme: Scheme) -> Figure:
    figure = canvas(11.5, 4.6)
    grid = figure.add_gridspec(2, 3, height_ratios=[1, 3.2], width_ratios=[1, 1, 0.8])
    _structure(figure.add_subplot(grid[0, :]), scheme)
    panels = [figure.add_subplot(grid[1, column]) for column in range(3)]
    for axes, name, x, kept in zip(panels, "ab", layer["inputs"], layer["kept"], strict=False):
        _routes(axes, np.array(x), np.array(layer["weight"]), np.array(kept), scheme)
        axes.set_title(f"fully connected, input {name}", fontsize=10)
    _positions(panels[2], scheme)
    figure.suptitle(title, fontsize=11)
    return figure


def _structure(axes: Axes, scheme: Scheme) -> None:
    for place, words in enumerate(STAGES):
        ours = words.startswith("dynamic")
        box = {"boxstyle": "round,pad=0.5", "facecolor": rcParams["axes.facecolor"]}
        box["edgecolor"] = scheme.ours if ours else scheme.quiet
        axes.text(place, 0, words, ha="center", va="center", fontsize=9.5, bbox=box)
        if place:
            look = {"arrowstyle": "->", "color": scheme.quiet}
            axes.annotate("", (place - 0.35, 0), (place - 0.62, 0), arrowprops=look)
    axes.set(xlim=(-0.5, len(STAGES) - 0.5), ylim=(-1, 1))
    axes.axis("off")


def _routes(
    axes: Axes, x: np.ndarray, weight: np.ndarray, kept: np.ndarray, scheme: Scheme
) -> None:
    """Units below, darker where more active; classes above; routes thick, all other connections thin."""
    classes, units = weight.shape
    above = np.linspace(0, units - 1, classes + 2)[1:-1]
    votes = weight * x
    for c, m in np.ndindex(classes, units):
        width = 0.6 + 6 * votes[c, m] / votes.max() if kept[c, m] else 0.5
        colour = scheme.ours if kept[c, m] else scheme.line
        axes.plot([m, above[c]], [0, 1], color=colour, linewidth=width, zorder=1 + kept[c, m])
    look = {"s": 260, "edgecolors": rcParams["text.color"], "zorder": 3}
    axes.scatter(np.arange(units), np.zeros(units), c=x, cmap="Greys", vmin=0, **look)
    axes.scatter(above, np.ones(classes), color=rcParams["axes.facecolor"], **look)
    for m, value in enumerate(x):
        axes.text(m, -0.16, f"{value:.1f}", ha="center", fontsize=8)
    axes.text(-0.7, 1, "class", ha="right", va="center", fontsize=9)
    axes.text(-0.7, 0, "unit", ha="right", va="center", fontsize=9)
    axes.set(xlim=(-1.6, units - 0.4), ylim=(-0.3, 1.2))
    axes.axis("off")


def _positions(axes: Axes, scheme: Scheme) -> None:
    for row, column in np.ndindex(3, 3):
        name = {(0, 1): "a", (2, 2): "b"}.get((row, column), "")
        edge = scheme.ours if name else scheme.line
        place = (column, 2 - row)
        axes.add_patch(Rectangle(place, 0.9, 0.9, fill=False, edgecolor=edge, linewidth=1.6))
        axes.text(column + 0.45, 2.45 - row, name, ha="center", va="center", fontsize=12)
    axes.set(xlim=(-0.2, 3.2), ylim=(-0.6, 3.2), aspect="equal")
    axes.set_title("1 x 1 convolution: the same choice\nat each position of a map", fontsize=10)
    axes.axis("off")


def _rows(layer: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for name, x, kept in zip("ab", layer["inputs"], layer["kept"], strict=True):
        for c, m in np.ndindex(np.shape(layer["weight"])):
            yield name, c, m, x[m], layer["weight"][c][m], kept[c][m]
