"""Figure 3: the positions of one map that EM routing and Dynamic-K let speak for each class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, RED, GREY = "#1c7ed6", "#e03131", "#adb5bd"


def em_against_dynamic_k(out: Path) -> Path:
    """Draw em_against_dynamic_k.png from selection_map.json."""
    stored = json.loads((out / "selection_map.json").read_text())
    side, k, classes = stored["side"], stored["k"], stored["classes"]
    figure = Figure(figsize=(3.2 * (len(classes) + 1), 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(classes) + 1, height_ratios=[3, 2])
    panels[0, 0].imshow(np.reshape(stored["map"], (side, side)), cmap="Greys")
    panels[0, 0].set_title("one feature map, x", fontsize=10)
    panels[1, 0].axis("off")
    legend = (
        "blue: EM routing, positions within\none deviation of the class mean\n\n"
        f"red: Dynamic-{k}, the {k} largest\npositive votes"
    )
    panels[1, 0].text(0, 0.95, legend, va="top", fontsize=9)
    for c, name in enumerate(classes):
        votes, near, largest = (np.array(stored[key][c]) for key in ("votes", "near", "largest"))
        axes = panels[0, c + 1]
        axes.imshow(votes.reshape(side, side), cmap="Greys")
        _outline(axes, near.reshape(side, side), BLUE, 0.36)
        _outline(axes, largest.reshape(side, side), RED, 0.44)
        listed = f"EM {near.sum()} positions, Dynamic-{k} {largest.sum()}"
        axes.set_title(f"{name}: votes w x\n{listed}", fontsize=10)
        ball = stored["means"][c], stored["deviations"][c]
        _distribution(panels[1, c + 1], votes, ball, votes[largest])
    for axes in panels[0]:
        axes.set_xticks([])
        axes.set_yticks([])
    path = out / "em_against_dynamic_k.png"
    figure.savefig(path, dpi=140)
    return path


def _outline(axes: Axes, mask: np.ndarray, colour: str, half: float) -> None:
    for row, column in np.argwhere(mask):
        x = [column - half, column + half, column + half, column - half, column - half]
        y = [row - half, row - half, row + half, row + half, row - half]
        axes.plot(x, y, color=colour, linewidth=1.6)


def _distribution(
    axes: Axes, votes: np.ndarray, ball: tuple[float, float], chosen: np.ndarray
) -> None:
    """All votes of a class on a line, the ball of EM routing and the choice of Dynamic-K."""
    mean, deviation = ball
    axes.axvspan(mean - deviation, mean + deviation, color=BLUE, alpha=0.2)
    axes.axvline(mean, color=BLUE, linewidth=1)
    axes.hist(votes, bins=30, color=GREY)
    axes.plot(chosen, np.zeros(len(chosen)), "^", color=RED, clip_on=False)
    axes.set_xlabel("vote")
    axes.set_ylabel("positions")
    axes.spines[["top", "right"]].set_visible(False)
