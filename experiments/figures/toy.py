"""Figure 2: the weights of a toy network by training, as lines and as formulas."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, LINE, NEGATIVE = "#22262b", "#1c7ed6", "#c92a2a"
FAINT = 0.02  # of the largest weight; thinner lines are not drawn


def toy(out: Path) -> Path:
    """Draw toy.png from toy.json: a wider line is a larger weight, a dotted one is negative."""
    stored = json.loads((out / "toy.json").read_text())
    first: dict[str, dict] = {}
    for record in stored["records"]:
        first.setdefault(record["training"], record)
    figure = Figure(figsize=(5.2 * len(first), 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(first), squeeze=False)[0]
    for axes, (name, record) in zip(panels, first.items(), strict=True):
        _network(axes, record["weight"], stored["concepts"], list(stored["classes"]))
        axes.set_title(f"{name} (test {record['accuracy']:.1%})", fontsize=11, color=INK)
        formulas = [
            f"{klass} = {text}"
            for klass, text in zip(stored["classes"], record["formulas"], strict=True)
        ]
        axes.text(
            0.5,
            -0.04,
            "\n".join(formulas),
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=6.5,
            family="monospace",
            color=INK,
        )
    path = out / "toy.png"
    figure.savefig(path, dpi=140)
    return path


def _network(
    axes: Axes, weight: list[list[float]], concepts: list[str], classes: list[str]
) -> None:
    """Concepts below, classes above, a line per weight."""
    most = max(abs(w) for row in weight for w in row)
    below = [m / (len(concepts) - 1) for m in range(len(concepts))]
    above = [(o + 0.5) / len(classes) for o in range(len(classes))]
    for row, x_top in zip(weight, above, strict=True):
        for w, x_bottom in zip(row, below, strict=True):
            if abs(w) > FAINT * most:
                axes.plot(
                    [x_bottom, x_top],
                    [0, 1],
                    color=LINE if w > 0 else NEGATIVE,
                    linestyle="-" if w > 0 else ":",
                    linewidth=6 * abs(w) / most,
                    alpha=0.8,
                    zorder=1,
                )
    for x, y, name in [
        *((x, 0, c) for x, c in zip(below, concepts, strict=True)),
        *((x, 1, c) for x, c in zip(above, classes, strict=True)),
    ]:
        axes.plot(x, y, "o", markersize=12, color="white", markeredgecolor=INK, zorder=2)
        axes.annotate(
            name.replace(" ", "\n"),
            (x, y),
            xytext=(0, 12 if y else -12),
            textcoords="offset points",
            ha="center",
            va="bottom" if y else "top",
            fontsize=8,
            color=INK,
        )
    axes.set_xlim(-0.1, 1.1)
    axes.set_ylim(-0.22, 1.15)
    axes.axis("off")
