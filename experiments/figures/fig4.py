"""Figure 4: accuracy over training on CIFAR-10, and the weights of the heads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from experiments.figures import weight_maps
from experiments.figures.series import (
    CURVE_COLUMNS,
    D1,
    D5,
    DENSE,
    L1,
    OURS,
    SCALE,
    SPREAD,
    Curve,
    Runs,
    first,
    held_out,
    over_training,
    runs_of,
    seeds,
)
from experiments.figures.style import PlottedNumbers, Scheme, canvas, clean, data_of, publish
from experiments.store import Stored

ROWS = (DENSE, L1, D5, D1)
COLUMNS = (*CURVE_COLUMNS, "unit", "output", "weight")


def fig4(
    stored: Sequence[Stored], out: Path, data: str = "cifar10", scale: str = SCALE
) -> list[Path]:
    """Draw (a) train and held-out accuracy of Res18, -L1, -d5a, -d1a and ours, (b) weights, one scale.

    Held-out images are test images where the runs looked at them after every epoch, else validation images.

    Raises:
        MissingRuns: one of the paper's four nets was never trained on these data.
    """
    runs = runs_of("fig4", stored, ROWS, data, scale, beside=[OURS])
    held, accuracy = _accuracy(runs)
    shown = first(runs)
    weights = {series.label: run.arrays["weight"] for series, run in shown.items()}
    title = f"Accuracy over training and weights of the head, {data_of(data)} at scale {scale}"

    def draw(scheme: Scheme) -> Figure:
        figure = canvas(6.2 + 1.15 * len(weights), 5)
        widths = [5.2, 1 + 1.15 * len(weights)]
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=widths)[0]
        _curves(left, accuracy, held, f"{data_of(data)}; {seeds(runs)}")
        _weights(right, weights, scheme, sorted({run["seed"] for run in shown.values()}))
        return figure

    rows = [
        (*row, "", "", "") for name, some in accuracy.items() for c in some for row in c.table(name)
    ]
    cells = (
        (panel, model, *[""] * 5, *cell)
        for panel, model, *cell in weight_maps.table("weights", weights)
    )
    return publish(out, "fig4", title, draw, PlottedNumbers(COLUMNS, (*rows, *cells)))


def _accuracy(runs: Runs) -> tuple[str, dict[str, list[Curve]]]:
    """What held-out images are called, and curves by what they were measured on."""
    held = held_out(runs)
    curves = {
        name: [over_training(series, some, f"{name}_accuracy") for series, some in runs.items()]
        for name in ("train", held)
    }
    return held, {name: [c for c in some if c is not None] for name, some in curves.items()}


def _curves(figure: SubFigure, accuracy: dict[str, list[Curve]], held: str, subtitle: str) -> None:
    axes = clean(figure.subplots())
    for name, some in accuracy.items():
        for curve in some:
            look = {} if name == held else {"linewidth": 0.9}
            curve.draw(axes, curve.series.label if name == held else None, **look)
    axes.set(xlabel="epoch", ylabel="accuracy")
    axes.set_title(f"(a) {subtitle}\n{SPREAD}", fontsize=9, loc="left")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    lines, labels = axes.get_legend_handles_labels()
    ink = axes.title.get_color()
    kinds = [Line2D([], [], color=ink, linewidth=w) for w in (1.6, 0.9)]
    figure.legend(
        [*lines, *kinds],
        [*labels, f"thick: {held}", "thin: train"],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8.5,
    )


def _weights(
    figure: SubFigure, weights: dict[str, np.ndarray], scheme: Scheme, shown: list[int]
) -> None:
    panels = figure.subplots(1, len(weights), squeeze=False)[0]
    norm = weight_maps.scale_of(list(weights.values()))
    for axes, (label, weight) in zip(panels, weights.items(), strict=True):
        picture = weight_maps.draw(axes, weight, norm, scheme)
        axes.set_title(f"{label}\n{weight_maps.empty(weight):.0%} empty", fontsize=7.5)
    classes, units = next(iter(weights.values())).shape
    panels[0].set_ylabel(f"{units} units, by the class they weigh most in")
    figure.supxlabel(f"{classes} classes each", fontsize=9)
    weight_maps.colour_bar(figure, picture, panels)
    seeds_shown = ", ".join(map(str, shown))
    figure.suptitle(f"(b) weights of the head, seed {seeds_shown}", fontsize=9)
