"""Figure 7: decisions explained, by units of routed nets and of the dense baseline."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures import graphs
from experiments.figures.series import D5, DENSE, OURS, RESNET, SCALE, Series, first, needs, runs_of
from experiments.figures.style import (
    PlottedNumbers,
    Scheme,
    canvas,
    data_of,
    publish,
    shortened,
    wrapped,
)
from experiments.store import Stored

TOP = 5
HEAT = (
    "heat: each map from its least to its largest value; number: part of the logit, and the paper's "
    "contribution score, W x by the sum of W x over all units"
)
RANKS = ("predicted", "runner-up")
COLUMNS = ("image", "label", "model", "decision", "class", "part", "concept", "value", "score")
Arrays = Mapping[str, np.ndarray]


class Decision(NamedTuple):
    """A logit of one image as a sum: `parts` of `top` units, others, bias.

    Attributes:
        name: of the class.
        top: units of the largest parts, by size, without those that add nothing.
        parts: of the top units.
        rest: of all other units together, which is the residual.
        others: their number.
        bias: of the class.
        scores: the paper's contribution scores of the top units, W_m x_m / sum_m W_m x_m, the sum over all units,
            kept or not; NaN where the sum is not positive.
    """

    name: str
    top: np.ndarray
    parts: np.ndarray
    rest: float
    others: int
    bias: float
    scores: np.ndarray

    @property
    def logit(self) -> float:
        """The sum."""
        return float(self.parts.sum()) + self.rest + self.bias


def _said(score: float) -> str:
    return "" if np.isnan(score) else f" ({score:.0%})"


def fig7(
    stored: Sequence[Stored],
    out: Path,
    data: str = "places365",
    scale: str = SCALE,
    needed: Sequence[Series] = (D5, DENSE),
    beside: Sequence[Series] = (OURS,),
    model: str = RESNET,
    name: str = "fig7",
) -> list[Path]:
    """Draw two test images, as NAME and NAME-wrong: one that all nets get right, one that the first gets wrong.

    Of each net the predicted class, not the true one, and the runner-up. A part is W_cm x_m where the
    unit is kept, so that units, all others (the residual) and bias add up to the logit; the score beside it
    is the paper's. Of images, the first stored one of its kind is taken; if none
    is right everywhere, the first, and if the first net gets all right there is no second figure. White
    outlines are the pixels of the concepts that make up the image's class, where the data knows them.

    Raises:
        MissingRuns: a needed series was never trained on these data.
    """
    runs = first(runs_of(name, stored, needed, data, scale, beside, model))
    for run in runs.values():
        needs(name, run, "decision_parts", "pictures")
    arrays_of = {series: run.arrays for series, run in runs.items()}
    first_arrays = next(iter(arrays_of.values()))
    paths = []
    for suffix, n in images(arrays_of).items():
        label = str(first_arrays["class_names"][first_arrays["labels"][n]])
        title = f"{data_of(data)} at scale {scale}, stored test image {n}: {shortened(label, 70)}"
        rows = [
            part
            for series, arrays in arrays_of.items()
            for part in _table(series, arrays, n, label)
        ]

        def draw(scheme: Scheme, n: int = n, title: str = title) -> Figure:
            return _page(runs, arrays_of, n, title, scheme)

        paths += publish(out, f"{name}{suffix}", title, draw, PlottedNumbers(COLUMNS, rows))
    return paths


def images(arrays_of: Mapping[Series, Arrays]) -> dict[str, int]:
    """Stored images by the end of the name of the figure that shows them."""
    right = [a["decision_classes"][:, 0] == a["labels"] for a in arrays_of.values()]
    wrong = np.flatnonzero(~right[0])
    shown = {"": int(np.all(right, axis=0).argmax())}
    return shown | ({"-wrong": int(wrong[0])} if len(wrong) else {})


def decision(arrays: Arrays, n: int, rank: int) -> Decision:
    """The class at a rank, 0 or 1, of image n."""
    parts = arrays["decision_parts"][n, rank].astype(float)
    top = np.argsort(-abs(parts), kind="stable")[:TOP]
    top = top[parts[top] != 0]
    name = str(arrays["class_names"][arrays["decision_classes"][n, rank]])
    rest = float(np.delete(parts, top).sum())
    bias = float(arrays["decision_biases"][n, rank])
    row = arrays["weight"][arrays["decision_classes"][n, rank]]
    products = row.astype(float) * arrays["units"][n]
    scores = products[top] / (products.sum() if products.sum() > 0 else np.nan)
    return Decision(name, top, parts[top], rest, len(parts) - len(top), bias, scores)


def _page(
    runs: Mapping[Series, Stored],
    arrays_of: Mapping[Series, Arrays],
    n: int,
    title: str,
    scheme: Scheme,
) -> Figure:
    ranks = [(series, rank) for series, a in arrays_of.items() for rank in range(_decisions(a))]
    figure = canvas(15.5, 0.8 + 2.5 * len(ranks))
    grid = figure.add_gridspec(len(ranks), TOP + 2, width_ratios=[1] * (TOP + 1) + [2.4])
    for line, (series, rank) in enumerate(ranks):
        panels = [figure.add_subplot(grid[line, column]) for column in range(TOP + 2)]
        arrays = arrays_of[series]
        decided = decision(arrays, n, rank)
        panels[0].imshow(arrays["pictures"][n], interpolation="nearest")
        words = wrapped(decided.name, 24, 2)
        panels[0].set_title(f"{RANKS[rank]}:\n{words}\nlogit {decided.logit:.2f}", fontsize=9)
        seed = runs[series]["seed"]
        panels[0].set_ylabel(
            f"{series.label}\nseed {seed}", color=series.paint, fontsize=10, fontweight="bold"
        )
        _maps(panels[1:-1], arrays, n, decided)
        for axes in panels[:-1]:
            axes.set(xticks=[], yticks=[])
            _outline(axes, arrays, n)
        labels = [f"unit {m}" for m in decided.top]
        labels += [f"residual, {decided.others} units", "bias", "sum = logit"]
        values = [*decided.parts, decided.rest, decided.bias, decided.logit]
        ink = rcParams["text.color"]
        waterfall(panels[-1], labels, values, scheme.positive, ink, scheme.quiet)
    figure.suptitle(f"{title}\n{HEAT}", fontsize=11)
    return figure


def _maps(panels: Sequence[Axes], arrays: Arrays, n: int, decided: Decision) -> None:
    picture = arrays["pictures"][n] / 255
    shown = zip(panels, decided.top, decided.parts, decided.scores, strict=False)
    for axes, m, part, score in shown:
        heat(axes, picture, arrays["maps"][n, m])
        name, iou = graphs.label(arrays, "layer4", m)
        concept = "" if iou is None else f"\n{wrapped(name or 'no concept', 24, 1)}"
        axes.set_title(f"{part:+.2f}{_said(score)}\nunit {m}{concept}", fontsize=9)
    for axes in panels[len(decided.top) :]:
        axes.axis("off")


def _outline(axes: Axes, arrays: Arrays, n: int) -> None:
    for mask in arrays["masks"][n] if "masks" in arrays else ():
        if mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors="white", linewidths=1)


def _decisions(arrays: Arrays) -> int:
    """Two, or one where there is one class."""
    return int(arrays["decision_classes"].shape[1])


def _table(series: Series, arrays: Arrays, n: int, label: str) -> Iterator[tuple[Any, ...]]:
    for rank in range(_decisions(arrays)):
        decided = decision(arrays, n, rank)
        start = (n, label, series.label, RANKS[rank], decided.name)
        for m, part, score in zip(decided.top, decided.parts, decided.scores, strict=True):
            name, _ = graphs.label(arrays, "layer4", m)
            yield *start, f"unit {m}", name, float(part), float(score)
        yield *start, "residual", "", decided.rest, 1 - float(decided.scores.sum())
        yield *start, "bias", "", decided.bias, ""
        yield *start, "logit", "", decided.logit, ""


def waterfall(
    axes: Axes, labels: Sequence[str], values: Sequence[float], colour: str, ink: str, pale: str
) -> None:
    """Draw parts from top to bottom.

    Args:
        axes: a panel of its own.
        labels: of the values.
        values: the units' parts, then two that no unit stands for, then the sum.
        colour: of the units' bars.
        ink: of the sum and of the zero line.
        pale: of the two others.
    """
    starts = [0.0, *np.cumsum(values[:-1])[:-1], 0.0]
    colours = [colour] * (len(values) - 3) + [pale, pale, ink]
    rows = range(len(values))
    axes.barh(rows, values, left=starts, color=colours, height=0.7)
    axes.axvline(0, color=ink, linewidth=0.8)
    reach = [0.0, *np.cumsum(values[:-1])]
    span = max(reach) - min(reach) or 1.0
    for row, value, start in zip(rows, values, starts, strict=True):
        axes.text(
            max(start, start + value) + 0.02 * span, row, f"{value:+.2f}", va="center", fontsize=8
        )
    axes.set_xlim(min(reach) - 0.05 * span, max(reach) + 0.18 * span)
    axes.set_yticks(list(rows), labels, fontsize=8)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def heat(axes: Axes, picture: np.ndarray, activation: np.ndarray) -> None:
    """From the map's least to its largest value; a flat map says nothing of where and is left out.

    Args:
        axes: a panel of its own.
        picture: (h, w, 3), in [0, 1].
        activation: the map, (h', w').
    """
    height, width = picture.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(picture.mean(2), cmap="gray", interpolation="nearest", vmin=-0.4, vmax=1.2)
    if np.ptp(activation) > 0:
        axes.imshow(activation, cmap="inferno", alpha=0.6, extent=extent, interpolation="bilinear")
