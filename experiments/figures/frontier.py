"""Accuracy against weights per class, every method on one axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, StrMethodFormatter

from experiments.figures import style
from experiments.figures.families import FAMILIES, Family, cut, heads, paper, points
from experiments.figures.labels import data_of
from experiments.figures.series import DENSE, OURS, SCALE, missing_runs
from experiments.figures.sheets import Table, clean, publish
from experiments.figures.svg import Scheme
from experiments.paper.store import Stored

TRAINED, CUT, HEADS, PAPER = "as trained", "largest k kept, not refitted", "post-hoc head", "paper"
TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
COLUMNS = ("data", "method", "kind", "run", "weights", "mean", "lowest", "highest", "seeds")


def frontier(
    stored: Sequence[Stored], out: Path, data: Sequence[str] | None = None, scale: str = SCALE
) -> list[Path]:
    """Draw a panel for each data set.

    A dot is a net as trained: mean over seeds, bars from lowest to highest. A thin line keeps the k
    largest weights of each class of the same net without refitting, with a band. A dashed line of
    crosses is the path of sparse heads fitted afterwards on the dense net's units, of one seed each.

    Args:
        stored: runs.
        out: folder to write to.
        data: data sets; all that have a dense net and one of ours if None.
        scale: of the runs.

    Raises:
        MissingRuns: a data set lacks the dense net or ours; or none is stored at all.
    """
    here = [run for run in stored if run["scale"] == scale]
    sets = [d for d in dict.fromkeys(run["data"] for run in here) if _whole(here, d)]
    missing = [d for d in data or () if d not in sets] or ([] if data or sets else ["any data"])
    if missing:
        raise missing_runs(
            "frontier", ["resnet18 (sgd)", "resnet18_isgd (isgd)"], missing[0], scale
        )
    panels = {d: [run for run in here if run["data"] == d] for d in data or sets}
    title = f"Test accuracy against weights per class, scale {scale}"

    def draw(scheme: Scheme) -> Figure:
        figure = style.canvas(max(8.0, 5.2 * len(panels)), 5.4)
        drawn = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (name, some) in zip(drawn, panels.items(), strict=True):
            _panel(clean(axes), name, some, scale)
        _legend(figure, [f for f in FAMILIES if any(map(f.holds, here))])
        figure.suptitle(f"{title}\nmeans over seeds, bars and bands from lowest to highest")
        return figure

    rows = [row for name, some in panels.items() for row in _table(name, some, scale)]
    return publish(out, "frontier", title, draw, Table(COLUMNS, rows))


def _whole(runs: Sequence[Stored], data: str) -> bool:
    there = {(run["network"], run["method"]) for run in runs if run["data"] == data}
    return {(row.network, row.method) for row in (DENSE, OURS)} <= there


def _panel(axes: Axes, data: str, runs: Sequence[Stored], scale: str) -> None:
    most = 1.0
    for family in FAMILIES:
        colour, dashes = family.row.paint, family.row.dashes
        if (pruned := cut(family, runs)) is not None:
            counts, kept = pruned
            axes.plot(counts, kept.mean(0), color=colour, linewidth=1, linestyle=dashes)
            axes.fill_between(counts, kept.min(0), kept.max(0), color=colour, alpha=0.12, lw=0)
        trained = points(family, runs)
        most = max([most, *(float(point.weights.max()) for point in trained)])
        x, x_bars = _bars([point.weights for point in trained])
        y, y_bars = _bars([point.accuracy for point in trained])
        look: dict[str, Any] = {
            "color": colour,
            "linewidth": 2.2,
            "elinewidth": 1,
            "linestyle": dashes,
        }
        axes.errorbar(x, y, y_bars, x_bars, "o", markersize=7, zorder=4, **look)
    for solver, _, weights, accuracy in heads(runs):
        look = {"marker": "x" if solver == "saga" else "+", "markersize": 5, "linewidth": 1}
        axes.plot(weights, accuracy, color=DENSE.paint, linestyle="--", alpha=0.8, **look)
    for name, place in paper(data, scale).items():
        axes.plot(*place, "D", markersize=8, markerfacecolor="none", color=axes.title.get_color())
        axes.annotate(
            f"paper: {name}", place, (-6, -12), textcoords="offset points", ha="right", fontsize=8
        )
    seeds = len({run["seed"] for run in runs})
    axes.set(xscale="log", xlabel="weights per class", ylabel="test accuracy")
    axes.set_title(f"{data_of(data)}\nup to {seeds} seed{'s' * (seeds > 1)} a method", fontsize=9.5)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if tick <= most]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _bars(some: Sequence[np.ndarray]) -> tuple[list[float], np.ndarray]:
    """Means, and how far the lowest and the highest lie from them, (2, points)."""
    means = [float(values.mean()) for values in some]
    ways = [(mean - v.min(), v.max() - mean) for mean, v in zip(means, some, strict=True)]
    return means, np.array(ways).reshape(-1, 2).T


def _legend(figure: Figure, families: Sequence[Family]) -> None:
    ink = figure.axes[0].title.get_color()
    entries = {
        family.label: Line2D(
            [], [], color=family.row.paint, marker="o", linestyle=family.row.dashes, linewidth=2
        )
        for family in families
    }
    entries |= {
        f"thin: {CUT}": Line2D([], [], color=ink, linewidth=1),
        "x: saga head fitted on SGD's units": Line2D(
            [], [], color=DENSE.paint, marker="x", linestyle="--", linewidth=1
        ),
        "+: glm_saga head on them": Line2D(
            [], [], color=DENSE.paint, marker="+", linestyle="--", linewidth=1
        ),
    }
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=4 if len(figure.axes) > 1 else 3,
        frameon=False,
        fontsize=8.5,
    )


def _table(data: str, runs: Sequence[Stored], scale: str) -> Iterator[tuple[Any, ...]]:
    for family in FAMILIES:
        for run, weights, accuracy in points(family, runs):
            yield data, family.label, TRAINED, run, float(weights.mean()), *_spread(accuracy)
        if (pruned := cut(family, runs)) is not None:
            row = f"{family.row.network} {family.row.method}"
            for count, kept in zip(pruned[0], pruned[1].T, strict=True):
                yield data, family.label, CUT, row, count, *_spread(kept)
    for solver, seed, counts, shares in heads(runs):
        for fitted, share in zip(counts, shares, strict=True):
            yield data, solver, HEADS, f"resnet18 sgd seed{seed}", fitted, share, share, share, 1
    for name, (given, share) in paper(data, scale).items():
        yield data, PAPER, PAPER, name, given, share, share, share, 1


def _spread(values: np.ndarray) -> tuple[float, float, float, int]:
    return float(values.mean()), float(values.min()), float(values.max()), len(values)
