"""Figure 2: the weights of a toy network by training, as lines and as formulas."""

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures.style import PlottedNumbers, Scheme, canvas, publish
from experiments.store import Stored

RESULTS = "toy.json"
FAINT = 0.02  # of the largest weight; thinner lines are not drawn
COLUMNS = ("training", "seed", "accuracy", "class", "concept", "weight")


def fig2(stored: Sequence[Stored], out: Path) -> list[Path]:
    """Draw the first seed of each training: a wider line is a larger weight, a dotted one is negative.

    Args:
        stored: not needed; the toy's results are in `toy.json`.
        out: folder of results.

    Raises:
        FileNotFoundError: there is no `toy.json` in it.
    """
    toy = results(out / RESULTS, "toy")
    trained: dict[str, list[dict[str, Any]]] = {}
    for record in toy["records"]:
        trained.setdefault(record["training"], []).append(record)

    def draw(scheme: Scheme) -> Figure:
        figure = canvas(5.2 * len(trained), 6.2)
        for axes, (name, some) in zip(
            figure.subplots(1, len(trained), squeeze=False)[0], trained.items(), strict=True
        ):
            _network(axes, some[0]["weight"], toy["concepts"], list(toy["classes"]), scheme)
            mean = sum(record["accuracy"] for record in some) / len(some)
            count = f"{len(some)} seed{'s' * (len(some) > 1)}"
            axes.set_title(f"{name}: test {mean:.1%}, {count}", fontsize=11)
            formulas = [
                _lines(f"{c} = {words}")
                for c, words in zip(toy["classes"], some[0]["formulas"], strict=True)
            ]
            _below(axes, "\n".join(formulas))
        shown = next(iter(trained.values()))[0]["seed"]
        figure.suptitle(f"A toy network of known units; lines and formulas of seed {shown}")
        return figure

    title = "Weights of a toy network whose units are known, by training"
    return publish(out, "fig2", title, draw, PlottedNumbers(COLUMNS, _rows(trained, toy)))


def results(path: Path, command: str) -> dict[str, Any]:
    """What a command has stored.

    Raises:
        FileNotFoundError: it has not.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} must be there to be drawn; "
            f"`python -m experiments {command} --out {path.parent}` writes it"
        )
    return dict(json.loads(path.read_text()))


def _rows(
    trained: dict[str, list[dict[str, Any]]], toy: dict[str, Any]
) -> Iterator[tuple[Any, ...]]:
    for name, (record, *_) in trained.items():
        for klass, weights in zip(toy["classes"], record["weight"], strict=True):
            for concept, weight in zip(toy["concepts"], weights, strict=True):
                yield name, record["seed"], record["accuracy"], klass, concept, weight


def _lines(formula: str) -> str:
    """Broken before a sign, which stays with its number."""
    whole = re.sub(r"([+-]) (\S+) ", "\\1\u00a0\\2\u00a0", formula)
    return "\n".join(textwrap.wrap(whole, 60, subsequent_indent="    "))


def _below(axes: Axes, words: str) -> None:
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "left", "va": "top"}
    axes.text(0.0, -0.02, words, fontsize=7.5, family="monospace", **place)


def _network(
    axes: Axes, weight: list[list[float]], concepts: list[str], classes: list[str], scheme: Scheme
) -> None:
    """Concepts below, classes above, a line per weight."""
    most = max(abs(w) for row in weight for w in row) or 1.0
    below = [m / (len(concepts) - 1) for m in range(len(concepts))]
    above = [(o + 0.5) / len(classes) for o in range(len(classes))]
    for row, x_top in zip(weight, above, strict=True):
        for w, x_bottom in zip(row, below, strict=True):
            if abs(w) > FAINT * most:
                axes.plot(
                    [x_bottom, x_top],
                    [0, 1],
                    color=scheme.positive if w > 0 else scheme.negative,
                    linestyle="-" if w > 0 else ":",
                    linewidth=6 * abs(w) / most,
                    alpha=0.8,
                    zorder=1,
                )
    page, ink = rcParams["axes.facecolor"], rcParams["text.color"]
    for x, y, name in [
        *((x, 0, c) for x, c in zip(below, concepts, strict=True)),
        *((x, 1, c) for x, c in zip(above, classes, strict=True)),
    ]:
        axes.plot(x, y, "o", markersize=12, color=page, markeredgecolor=ink, zorder=2)
        axes.annotate(
            name.replace(" ", "\n"),
            (x, y),
            xytext=(0, 12 if y else -12),
            textcoords="offset points",
            ha="center",
            va="bottom" if y else "top",
            fontsize=9,
        )
    axes.set_xlim(-0.1, 1.1)
    axes.set_ylim(-0.22, 1.15)
    axes.axis("off")
