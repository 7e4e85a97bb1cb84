"""Accuracy against weights per class, every method on one axis."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, StrMethodFormatter

from experiments.figures import style
from experiments.figures.svg import Scheme
from experiments.paper import published
from experiments.paper.figures.names import data_of
from experiments.paper.figures.rows import (
    D5,
    DENSE,
    FAITHFUL,
    L1,
    OURS,
    SCALE,
    UNBIASED,
    Row,
    missing_runs,
)
from experiments.paper.figures.sheets import Table, clean, publish
from experiments.paper.store import Stored

TRAINED, CUT, HEADS, PAPER = "as trained", "largest k kept, not refitted", "post-hoc head", "paper"
FITTED = {"sparse_heads": "saga", "glm_saga_heads": "glm_saga"}
TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
COLUMNS = ("data", "method", "kind", "run", "weights", "mean", "lowest", "highest", "seeds")
UNITS = 512  # that the head of the paper's Res18 reads


class Family(NamedTuple):
    """Runs that differ in what sets their number of weights.

    Attributes:
        row: the one that is cut, and the family's colour.
        label: in the legend.
        network: pattern of the nets.
        method: pattern of the methods.
    """

    row: Row
    label: str
    network: str
    method: str

    def holds(self, run: Stored) -> bool:
        """Whether a run is one of the family's."""
        network = re.fullmatch(self.network, run["network"])
        return bool(network and re.fullmatch(self.method, run["method"]))


FAMILIES = (
    Family(OURS, "InterpretableSGD", "resnet18_isgd", r"isgd( block_size=\d+)?"),
    Family(DENSE, "SGD", "resnet18", "sgd"),
    Family(L1, "SGD with L1 on the head", "resnet18_l1", r"l1( strength=\S+)?"),
    Family(D5, "Dynamic-K layer", r"resnet18_d\d+a", "sgd"),
    Family(UNBIASED, UNBIASED.label, "resnet18_isgd", "unbiased"),
    Family(FAITHFUL, FAITHFUL.label, "resnet18_isgd", "faithful"),
)


class Point(NamedTuple):
    """Runs that differ in the seed alone: weights and test accuracy, (seeds,) each."""

    run: str
    weights: np.ndarray
    accuracy: np.ndarray


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


def points(family: Family, runs: Sequence[Stored]) -> list[Point]:
    """A family's nets as trained, fewest weights first."""
    seeds: dict[str, list[Stored]] = {}
    for run in filter(family.holds, runs):
        seeds.setdefault(f"{run['network']} {run['method']}", []).append(run)
    found = [
        Point(
            name, *(np.array([run[key] for run in some]) for key in ("weights_per_class", "top1"))
        )
        for name, some in seeds.items()
    ]
    return sorted(found, key=lambda point: float(point.weights.mean()))


def cut(family: Family, runs: Sequence[Stored]) -> tuple[list[int], np.ndarray] | None:
    """Numbers of weights, and test accuracy (seeds, k) of the family's first row cut to them.

    Up to the first number that the nets do not have, where a cut changes little.
    """
    row = family.row
    some = [run for run in runs if (run["network"], run["method"]) == (row.network, row.method)]
    if not some:
        return None
    counts = some[0]["accuracy_at_weights"]["weights"]
    have = np.mean([run["weights_per_class"] for run in some])
    shown = sum(count < have for count in counts) + 1
    return counts[:shown], np.array(
        [run["accuracy_at_weights"]["accuracy"][:shown] for run in some]
    )


def heads(runs: Sequence[Stored]) -> Iterator[tuple[str, int, list[float], list[float]]]:
    """Solver, seed, weights and test accuracy of the sparse heads of each dense net."""
    for run in filter(FAMILIES[1].holds, runs):
        for key, solver in FITTED.items():
            if run.record.get(key):
                yield solver, run["seed"], run[key]["weights"], run[key]["accuracy"]


def paper(data: str, scale: str) -> dict[str, tuple[float, float]]:
    """Weights per class and top-1 that the paper gives, where the runs are on its data at its size.

    Its 99 % sparsity of Res18-d5a is about Places365.
    """
    if scale not in ("paper", "code") or data not in published.TOP1:
        return {}
    top1 = {name: value / 100 for name, value in published.TOP1[data].items()}
    found = {"Res18": (float(UNITS), top1["resnet18"])}
    if data == "places365":
        few = UNITS * (1 - published.SPARSITY_D5A / 100)
        found["Res18-d5a"] = few, top1["resnet18_d5a"]
    return found


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
