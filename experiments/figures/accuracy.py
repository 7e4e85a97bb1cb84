"""Test accuracy against weights per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, ScalarFormatter

from experiments.figures import style
from experiments.results import Record


def accuracy(out: Path, records: Sequence[Record]) -> list[Path]:
    """One figure per data set: `accuracy-DATA.png`.

    A line keeps the k largest weights of every row and sets the others to 0 without refitting (mean over
    seeds, band from lowest to highest); a dot is a net as trained, a cross a sparse head on its frozen
    units.
    """
    paths = []
    for data, some in style.by_data(records).items():
        figure = style.canvas(6.4, 4.3)
        axes = style.clean(figure.subplots())
        counts: list[int] = []
        for name, runs in style.by_optimizer(some).items():
            colour = style.COLOURS[name]
            counts = runs[0]["accuracy_at_weights"]["weights"]
            kept = np.array([run["accuracy_at_weights"]["accuracy"] for run in runs])
            axes.plot(counts, kept.mean(0), color=colour, label=f"{name}, largest k weights")
            axes.fill_between(counts, kept.min(0), kept.max(0), color=colour, alpha=0.15)
            fitted = [run["sparse_heads"] for run in runs if "sparse_heads" in run]
            axes.plot(
                [weights for heads in fitted for weights in heads["weights"]],
                [share for heads in fitted for share in heads["accuracy"]],
                "x",
                color=colour,
                label=f"{name}, sparse head fitted afterwards" if fitted else None,
            )
            axes.plot(
                [run["weights_per_class"] for run in runs],
                [run["test_accuracy"] for run in runs],
                "o",
                color=colour,
                markeredgecolor="white",
                markersize=9,
                label=f"{name}, as trained",
                zorder=3,
            )
        axes.set(
            xscale="log",
            ylim=(0, 1.03),
            xlabel="weights per class",
            ylabel="test accuracy",
            title=f"{data}: accuracy against weights per class (n = {some[0]['n']['test']} images)",
        )
        ticks = [k for k in counts if k in (1, 2, 3, 5, 8, 12, 16, 24, 32, 64, 96)]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(frameon=False, loc="lower right")
        paths.append(style.save(figure, out, f"accuracy-{data}"))
    return paths
