"""Accuracy against weights per class, every method on one axis."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, StrMethodFormatter

from experiments import published
from experiments.figures.series import (
    ADAMW,
    ALGORITHM_3,
    D5,
    DENSE,
    L1,
    OURS,
    OURS_ADAMW,
    RANDOM,
    RESNET,
    SCALE,
    SHARED,
    Series,
    missing_runs,
)
from experiments.figures.style import PlottedNumbers, Scheme, canvas, clean, data_of, publish
from experiments.store import Stored

TRAINED, CUT, HEADS, PAPER = "as trained", "largest k kept, not refitted", "post-hoc head", "paper"
TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
COLUMNS = ("data", "method", "kind", "run", "weights", "mean", "lowest", "highest", "seeds")
SOLVERS = {"saga": "x", "glm_saga": "+"}  # and how their heads are marked
ACROSS = 3  # panels of a row
UNITS = 512  # that the head of the paper's Res18 reads


class Family(NamedTuple):
    """Runs that differ in what sets their number of weights.

    Attributes:
        series: the one that is cut, and the family's colour.
        label: in the legend.
        method: pattern of the methods' names.
    """

    series: Series
    label: str
    method: str

    def holds(self, run: Stored) -> bool:
        """Whether a run is one of the family's."""
        return re.fullmatch(self.method, run["method"]) is not None


FAMILIES = (
    Family(OURS, "InterpretableSGD", r"InterpretableSGD(, block_size=[\d.]+)?"),
    Family(DENSE, "SGD", "SGD"),
    Family(L1, "SGD with L1 on the head", r"SGD with L1(, strength=\S+)?"),
    Family(D5, "Dynamic-K layer", r"Dynamic-\d+"),
    Family(SHARED, SHARED.label, "shared masks"),
    Family(ALGORITHM_3, ALGORITHM_3.label, "Algorithm 3"),
    Family(ADAMW, ADAMW.label, "AdamW"),
    Family(OURS_ADAMW, OURS_ADAMW.label, "InterpretableAdamW"),
    Family(RANDOM, RANDOM.label, "random units"),
)


def frontier(
    stored: Sequence[Stored],
    out: Path,
    data: Sequence[str] | None = None,
    scale: str = SCALE,
    model: str = RESNET,
    name: str = "frontier",
) -> list[Path]:
    """Draw a panel for each data set.

    A dot is a network as trained: mean over seeds, bars from lowest to highest. A thin line keeps the k
    largest weights of each class of the same network without refitting, with a band. A dashed line of
    crosses is the path of sparse heads fitted afterwards on the dense network's units, of one seed each.

    Args:
        stored: runs.
        out: folder to write to.
        data: data sets; all that have a dense network and one of ours if None.
        scale: of the runs.
        model: of the runs.
        name: of the files.

    Raises:
        MissingRuns: a data set lacks the dense network or ours; or none is stored at all.
    """
    here = [run for run in stored if (run["scale"], run["model"]) == (scale, model)]
    sets = [d for d in dict.fromkeys(run["data"] for run in here) if _has_both(here, d)]
    missing = [d for d in data or () if d not in sets] or ([] if data or sets else ["any data"])
    if missing:
        needed = [f"{model} ({series.method})" for series in (DENSE, OURS)]
        raise missing_runs("frontier", needed, missing[0], scale)
    panels = {d: [run for run in here if run["data"] == d] for d in data or sets}
    title = f"Test accuracy against weights per class, scale {scale}"

    def draw(scheme: Scheme) -> Figure:
        across = min(len(panels), ACROSS)
        down = -(-len(panels) // across)
        figure = canvas(max(8.0, 5.2 * across), 1.4 + 4.0 * down)
        drawn = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (text, some) in zip(drawn, panels.items(), strict=False):
            _panel(clean(axes), text, some, scale)
        for axes in drawn[len(panels) :]:
            axes.remove()
        _legend(figure, [f for f in FAMILIES if any(map(f.holds, here))])
        figure.suptitle(f"{title}\nmeans over seeds, bars and bands from lowest to highest")
        return figure

    rows = [row for text, some in panels.items() for row in _table(text, some, scale)]
    return publish(out, name, title, draw, PlottedNumbers(COLUMNS, rows))


class Point(NamedTuple):
    """Runs that differ in the seed alone: weights and test accuracy, (seeds,) each."""

    run: str
    weights: np.ndarray
    accuracy: np.ndarray


def points(family: Family, runs: Sequence[Stored]) -> list[Point]:
    """A family's networks as trained, fewest weights first."""
    seeds: dict[str, list[Stored]] = {}
    for run in filter(family.holds, runs):
        seeds.setdefault(f"{run['model']}, {run['method']}", []).append(run)
    keys = ("weights_per_class", "accuracy")
    trained = [
        Point(name, *(np.array([run[key] for run in some]) for key in keys))
        for name, some in seeds.items()
    ]
    return sorted(trained, key=lambda point: float(point.weights.mean()))


def cut(family: Family, runs: Sequence[Stored]) -> tuple[list[int], np.ndarray] | None:
    """Numbers of weights, and test accuracy (seeds, k) of the family's first series cut to them.

    Up to the first number that the networks do not have, where a cut changes little.
    """
    own_runs = [run for run in runs if run["method"] == family.series.method]
    if not own_runs:
        return None
    counts = own_runs[0]["accuracy_at_weights"]["weights"]
    have = np.mean([run["weights_per_class"] for run in own_runs])
    shown = sum(count < have for count in counts) + 1
    accuracies = [run["accuracy_at_weights"]["accuracy"][:shown] for run in own_runs]
    return counts[:shown], np.array(accuracies)


def heads(runs: Sequence[Stored]) -> Iterator[tuple[str, int, list[float], list[float]]]:
    """Solver, seed, weights and test accuracy of the sparse heads of each dense network."""
    for run in runs:
        for solver in SOLVERS:
            fitted = [
                head for head in run.record.get("sparse_heads", ()) if head["solver"] == solver
            ]
            if fitted:
                weights, accuracy = (
                    [head[key] for head in fitted] for key in ("weights", "accuracy")
                )
                yield solver, run["seed"], weights, accuracy


def paper(data: str, scale: str) -> dict[str, tuple[float, float]]:
    """Weights per class and top-1 that the paper gives, where the runs are on its data at its size.

    Its 99 % sparsity of Res18-d5a is about Places365.
    """
    if scale not in ("paper", "code") or data not in published.TOP1:
        return {}
    top1 = {name: value / 100 for name, value in published.TOP1[data].items()}
    published_points = {"Res18": (float(UNITS), top1["Res18"])}
    if data == "places365":
        few = UNITS * (1 - published.SPARSITY_D5A / 100)
        published_points["Res18-d5a"] = few, top1["Res18-d5a"]
    return published_points


def _has_both(runs: Sequence[Stored], data: str) -> bool:
    methods = {run["method"] for run in runs if run["data"] == data}
    return {DENSE.method, OURS.method} <= methods


def _panel(axes: Axes, data: str, runs: Sequence[Stored], scale: str) -> None:
    most = 1.0
    for family in FAMILIES:
        colour, dashes = family.series.paint, family.series.dashes
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
        look = {"marker": SOLVERS[solver], "markersize": 5, "linewidth": 1}
        by_weights = np.array(sorted(zip(weights, accuracy, strict=True)))
        axes.plot(*by_weights.T, color=DENSE.paint, linestyle="--", alpha=0.8, **look)
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


def _bars(series_values: Sequence[np.ndarray]) -> tuple[list[float], np.ndarray]:
    """Means, and how far the lowest and the highest lie from them, (2, points)."""
    means = [float(values.mean()) for values in series_values]
    ways = [(mean - v.min(), v.max() - mean) for mean, v in zip(means, series_values, strict=True)]
    return means, np.array(ways).reshape(-1, 2).T


def _legend(figure: Figure, families: Sequence[Family]) -> None:
    ink = figure.axes[0].title.get_color()
    entries = {
        family.label: Line2D(
            [],
            [],
            color=family.series.paint,
            marker="o",
            linestyle=family.series.dashes,
            linewidth=2,
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
            for count, kept in zip(pruned[0], pruned[1].T, strict=True):
                yield data, family.label, CUT, family.series.method, count, *_spread(kept)
    for solver, seed, counts, shares in heads(runs):
        for fitted, share in zip(counts, shares, strict=True):
            yield data, solver, HEADS, f"seed {seed}", fitted, share, share, share, 1
    for name, (given, share) in paper(data, scale).items():
        yield data, PAPER, PAPER, name, given, share, share, share, 1


def _spread(values: np.ndarray) -> tuple[float, float, float, int]:
    return float(values.mean()), float(values.min()), float(values.max()), len(values)
