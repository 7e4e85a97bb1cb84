"""Figure 3: the positions of one map that EM routing and Dynamic-K let speak for each class."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures.fig2 import results
from experiments.figures.style import PlottedNumbers, Scheme, canvas, clean, publish
from experiments.store import Stored

RESULTS = "selection_map.json"
SENT = "(b) what Dynamic-{k} sends on:\nthe class is the sum of its {k} largest\npositive votes, and of nothing else"
BLUE, RED, GREY = "#1c7ed6", "#e03131", "#adb5bd"
COLUMNS = ("class", "row", "column", "activation", "vote", "em", "dynamic_k")


def fig3(stored: Sequence[Stored], out: Path) -> list[Path]:
    """Draw one map, each class's votes on it, and the positions that both rules take.

    Args:
        stored: not needed; what the rules choose is in `selection_map.json`.
        out: folder of results.

    Raises:
        FileNotFoundError: there is no `selection_map.json` in it.
    """
    scene = results(out / RESULTS, "selection-map")
    title = "Positions that EM routing and Dynamic-K let speak for each class"
    return publish(
        out,
        "fig3",
        title,
        lambda scheme: _page(scene, scheme),
        PlottedNumbers(COLUMNS, _rows(scene)),
    )


def _page(scene: dict[str, Any], scheme: Scheme) -> Figure:
    side, k, classes = scene["side"], scene["k"], scene["classes"]
    figure = canvas(3.2 * (len(classes) + 1), 7.6)
    panels = figure.subplots(3, len(classes) + 1, height_ratios=[3, 2, 2])
    panels[0, 0].imshow(np.reshape(scene["map"], (side, side)), cmap="Greys")
    panels[0, 0].set_title("(a) one feature map, x", fontsize=10)
    panels[1, 0].axis("off")
    panels[2, 0].axis("off")
    panels[2, 0].text(0, 0.95, SENT.format(k=k), va="top", fontsize=9.5)
    legend = (
        "blue: EM routing, positions within\none deviation of the class mean\n\n"
        f"red: Dynamic-{k}, the {k} largest\npositive votes\n\n"
        "a drawn scene with given weights,\nnothing is trained"
    )
    panels[1, 0].text(0, 0.95, legend, va="top", fontsize=9.5)
    for c, name in enumerate(classes):
        votes, near, largest = (np.array(scene[key][c]) for key in ("votes", "near", "largest"))
        axes = panels[0, c + 1]
        axes.imshow(votes.reshape(side, side), cmap="Greys")
        _outline(axes, near.reshape(side, side), BLUE, 0.36)
        _outline(axes, largest.reshape(side, side), RED, 0.44)
        listed = f"EM {near.sum()} positions, Dynamic-{k} {largest.sum()}"
        axes.set_title(f"{name}: votes w x\n{listed}", fontsize=10)
        ball = scene["means"][c], scene["deviations"][c]
        _distribution(clean(panels[1, c + 1]), votes, ball, votes[largest])
        _sent(panels[2, c + 1], votes, largest, name)
    for axes in panels[0]:
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


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


def _sent(axes: Axes, votes: np.ndarray, chosen: np.ndarray, name: str) -> None:
    """The positions in a row, and lines from the chosen ones to the class, as wide as their votes."""
    middle = (len(votes) - 1) / 2
    axes.scatter(np.arange(len(votes)), np.zeros(len(votes)), c=votes, cmap="Greys", s=9)
    for position in np.flatnonzero(chosen):
        width = 4 * votes[position] / votes.max()
        axes.plot([float(position), middle], [0, 1], color=RED, linewidth=width)
    axes.text(middle, 1.08, f"Y({name}) = {votes[chosen].sum():.2f}", ha="center", fontsize=9.5)
    axes.set_ylim(-0.2, 1.3)
    axes.axis("off")


def _rows(scene: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    side = scene["side"]
    for c, name in enumerate(scene["classes"]):
        for position, activation in enumerate(scene["map"]):
            chosen = (scene[key][c][position] for key in ("votes", "near", "largest"))
            yield name, position // side, position % side, activation, *chosen
