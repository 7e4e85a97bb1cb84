"""One test image explained: units, contributions, bias, and their sum, the logit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments.figures import style
from experiments.figures.heat import heat
from experiments.figures.waterfall import waterfall
from experiments.results import Record, arrays

TOP = 5
Arrays = dict[str, np.ndarray]


def explained(out: Path, records: Sequence[Record]) -> list[Path]:
    """One figure per data set, of its first seed: `explained-DATA.png`, a row per optimizer.

    White outlines are the pixels of the concepts that make up the image's class, where the data knows them.
    The image is the first stored test image that every optimizer classifies as its label, else the first.
    """
    paths = []
    for data, some in style.by_data(records).items():
        runs = [runs[0] for runs in style.by_optimizer(some).values()]
        found = [arrays(out, run) for run in runs]
        right = np.all([f["logits"].argmax(1) == f["labels"] for f in found], axis=0)
        n = int(right.argmax())
        figure = style.canvas(15, 0.6 + 2.2 * len(runs))
        grid = figure.add_gridspec(len(runs), TOP + 3, width_ratios=[1] * (TOP + 1) + [0.1, 2.6])
        for row, (run, contents) in enumerate(zip(runs, found, strict=True)):
            panels = [figure.add_subplot(grid[row, column]) for column in range(TOP + 1)]
            _row(panels, figure.add_subplot(grid[row, TOP + 2]), run["optimizer"], contents, n)
        c = found[0]["labels"][n]
        figure.suptitle(f"{data}, test image {n}, class {c}: {found[0]['class_names'][c]}")
        paths.append(style.save(figure, out, f"explained-{data}"))
    return paths


def parts(contents: Arrays, n: int) -> tuple[int, np.ndarray, float]:
    """Predicted class of image n, contributions W_cm x_m of all units to it, and its bias, in float64."""
    c = int(contents["logits"][n].argmax())
    terms = contents["weight"][c].astype(float) * contents["units"][n].astype(float)
    return c, terms, float(contents["bias"][c])


def _row(panels: Sequence[Axes], bars: Axes, optimizer: str, contents: Arrays, n: int) -> None:
    c, terms, bias = parts(contents, n)
    top = np.argsort(-abs(terms), kind="stable")[:TOP]
    top = top[terms[top] != 0]
    picture = _rgb(contents["images"][n])
    panels[0].imshow(picture, interpolation="nearest")
    panels[0].set_ylabel(optimizer, fontsize=11, color=style.COLOURS[optimizer], fontweight="bold")
    panels[0].set_title(f"says: class {c}", fontsize=9)
    for axes, m in zip(panels[1:], top, strict=False):
        heat(axes, picture, contents["maps"][n, m])
        axes.set_title(f"unit {m}", fontsize=9)
    for axes in panels:
        axes.set(xticks=[], yticks=[])
        for mask in contents["masks"][n]:
            if mask.any() and not mask.all():
                axes.contour(mask, levels=[0.5], colors="white", linewidths=1)
    for axes in panels[1 + len(top) :]:
        axes.axis("off")
    rest = len(terms) - len(top)
    labels = [f"unit {m}" for m in top] + [f"{rest} others", "bias", "sum = logit"]
    values = [*terms[top], terms.sum() - terms[top].sum(), bias, terms.sum() + bias]
    waterfall(bars, labels, values, style.COLOURS[optimizer])


def _rgb(image: np.ndarray) -> np.ndarray:
    """(channels, h, w) to (h, w, 3) in [0, 1]."""
    low, high = min(0.0, float(image.min())), max(1.0, float(image.max()))
    planes = (image - low) / (high - low)
    return np.broadcast_to(planes, (3, *image.shape[1:])).transpose(1, 2, 0)
