"""What the figures share: colours, one canvas per data set, a place to save it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.results import Record

COLOURS = {"SGD": "#5f6b7a", "InterpretableSGD": "#d9480f", "SGD with L1": "#2b6cb0"}
INK, PALE = "#22262b", "#c9ced6"


def by_data(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records of each data set, in order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record["data"], []).append(record)
    return found


def by_optimizer(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records of each optimizer that has any, in the order of the legend."""
    found = {name: [r for r in records if r["optimizer"] == name] for name in COLOURS}
    return {name: some for name, some in found.items() if some}


def canvas(width: float, height: float) -> Figure:
    """An empty figure that belongs to no window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def clean(axes: Axes) -> Axes:
    """Without the frame's upper right half, with a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color=PALE, linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)
    return axes


def save(figure: Figure, out: Path, name: str) -> Path:
    """Write a PNG and return its path."""
    path = out / f"{name}.png"
    figure.savefig(path, dpi=140)
    return path
