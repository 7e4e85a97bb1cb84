"""Figure 5: accuracy, sparsity and unit labels over training for growing K, on Places365."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from experiments.figures.series import (
    CURVE_COLUMNS,
    D5,
    D10,
    D25,
    D50,
    D100,
    DENSE,
    OURS,
    SCALE,
    SPREAD,
    Curve,
    Runs,
    Series,
    held_out,
    over_training,
    runs_of,
    seeds,
)
from experiments.figures.style import PlottedNumbers, Scheme, canvas, clean, data_of, publish
from experiments.store import Stored

ROWS = (D5, D10, D25, D50, D100, DENSE)
BEST = 100  # units in panel (d)
UNLABELLED = "no unit of these runs is labelled:\ntrain with --data broden:PATH"


def fig5(
    stored: Sequence[Stored], out: Path, data: str = "places365", scale: str = SCALE
) -> list[Path]:
    """Draw (a) top-1, (b) share of |w| < 1e-3, (c) mean IoU over training, (d) the 100 best units.

    Accuracy is that of test images where the runs looked at them after every epoch, else of validation images.

    Raises:
        MissingRuns: one of the paper's six nets was never trained on these data.
    """
    runs = runs_of("fig5", stored, ROWS, data, scale, beside=[OURS])
    held = held_out(runs)
    panels = {
        f"top-1 accuracy, {held}": _over_training(runs, f"{held}_accuracy"),
        "share of |w| < 0.001 in the head": _over_training(runs, "sparsity"),
        "mean IoU of units": _over_training(runs, "mean_iou"),
        f"IoU of the {BEST} best units": best_units(runs),
    }
    title = f"Accuracy, sparsity and unit labels over training, {data_of(data)} at scale {scale}"

    def draw(scheme: Scheme) -> Figure:
        figure = canvas(15.5, 4.3)
        for letter, axes, (name, some) in zip(
            "abcd", figure.subplots(1, 4), panels.items(), strict=True
        ):
            _panel(clean(axes), f"({letter}) {name}", some, over_units=letter == "d")
            if letter in "ab":
                axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        figure.suptitle(f"{data_of(data)} at scale {scale}; {seeds(runs)}; {SPREAD}", fontsize=10)
        return figure

    rows = [row for name, some in panels.items() for curve in some for row in curve.table(name)]
    return publish(out, "fig5", title, draw, PlottedNumbers(CURVE_COLUMNS, rows))


def _over_training(runs: Runs, name: str) -> list[Curve]:
    curves = [over_training(series, some, name) for series, some in runs.items()]
    return [curve for curve in curves if curve is not None]


def best_units(runs: Runs) -> list[Curve]:
    """IoU against rank, from 1; of rows whose units are labelled."""
    curves = []
    for series, some in runs.items():
        labelled = [run.arrays["unit_iou"] for run in some if "unit_iou" in run.arrays]
        if labelled:
            ranked = np.array([np.sort(iou)[::-1][:BEST] for iou in labelled])
            curves.append(Curve(series, np.arange(1, ranked.shape[1] + 1), ranked))
    return curves


def _panel(axes: Axes, title: str, curves: list[Curve], over_units: bool) -> None:
    for curve in curves:
        few = {"marker": "o", "markersize": 3} if len(curve.x) <= 8 else {}
        curve.draw(axes, curve.series.label, **few, **_weight(curve.series))
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("rank of the unit" if over_units else "epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if not curves:
        axes.text(0.5, 0.5, UNLABELLED, ha="center", va="center", transform=axes.transAxes)
    elif axes.get_ylim()[0] < 0:
        axes.set_ylim(bottom=0)


def _weight(series: Series) -> dict[str, float]:
    return {"linewidth": 2.4 if series in (DENSE, OURS) else 1.4}
