"""Figure 7: decisions explained, by units of routed nets and of the dense baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures import style, units
from experiments.figures.heat import heat
from experiments.figures.labels import data_of, shortened, wrapped
from experiments.figures.series import D5, DENSE, OURS, SCALE, Row, first, needs, runs_of
from experiments.figures.sheets import Table, publish
from experiments.figures.svg import Scheme
from experiments.figures.waterfall import waterfall
from experiments.paper.store import Stored

TOP = 5
HEAT = (
    "heat: each map from its least to its largest value; number: part of the logit, and its share"
)
VERDICTS = ("predicted", "runner-up")
COLUMNS = ("image", "label", "model", "verdict", "class", "part", "concept", "value")
Arrays = Mapping[str, np.ndarray]


class Verdict(NamedTuple):
    """A logit of one image as a sum: `parts` of `top` units, others, bias.

    Attributes:
        name: of the class.
        top: units of the largest parts, by size, without those that add nothing.
        parts: of the top units.
        rest: of all other units together, which is the residual.
        others: their number.
        bias: of the class.
    """

    name: str
    top: np.ndarray
    parts: np.ndarray
    rest: float
    others: int
    bias: float

    @property
    def logit(self) -> float:
        """The sum."""
        return float(self.parts.sum()) + self.rest + self.bias

    def share(self, part: float) -> str:
        """Of the logit, in words; nothing where the logit is not positive."""
        return f" ({part / self.logit:.0%})" if self.logit > 0 else ""


def fig7(
    stored: Sequence[Stored], out: Path, data: str = "places365", scale: str = SCALE
) -> list[Path]:
    """Draw two test images, as `fig7` and `fig7-wrong`: one that all nets get right, one that d5a gets wrong.

    Of each net the predicted class, not the true one, and the runner-up. A part is W_cm x_m where the
    unit is kept, so that units, all others (the residual) and bias add up to the logit; its share of the
    logit is the paper's contribution score. Of images, the first stored one of its kind is taken; if none
    is right everywhere, the first, and if d5a gets all right there is no second figure.

    Raises:
        MissingRuns: Res18-d5a or Res18 was never trained on these data.
    """
    runs = first(runs_of("fig7", stored, [D5, DENSE], data, scale, beside=[OURS]))
    for run in runs.values():
        needs("fig7", run, "verdict_parts", "pictures")
    found = {row: run.arrays for row, run in runs.items()}
    paths = []
    for name, n in images(found).items():
        label = str(found[D5]["class_names"][found[D5]["labels"][n]])
        title = f"{data_of(data)} at scale {scale}, stored test image {n}: {shortened(label, 70)}"
        rows = [part for row, arrays in found.items() for part in _table(row, arrays, n, label)]

        def draw(scheme: Scheme, n: int = n, title: str = title) -> Figure:
            return _page(runs, found, n, title, scheme)

        paths += publish(out, name, title, draw, Table(COLUMNS, rows))
    return paths


def images(found: Mapping[Row, Arrays]) -> dict[str, int]:
    """Stored images by the figure that shows them."""
    right = {row: a["verdict_classes"][:, 0] == a["labels"] for row, a in found.items()}
    wrong = np.flatnonzero(~right[D5])
    shown = {"fig7": int(np.all(list(right.values()), axis=0).argmax())}
    return shown | ({"fig7-wrong": int(wrong[0])} if len(wrong) else {})


def verdict(arrays: Arrays, n: int, rank: int) -> Verdict:
    """The class at a rank, 0 or 1, of image n."""
    parts = arrays["verdict_parts"][n, rank].astype(float)
    top = np.argsort(-abs(parts), kind="stable")[:TOP]
    top = top[parts[top] != 0]
    name = str(arrays["class_names"][arrays["verdict_classes"][n, rank]])
    rest = float(np.delete(parts, top).sum())
    bias = float(arrays["verdict_biases"][n, rank])
    return Verdict(name, top, parts[top], rest, len(parts) - len(top), bias)


def _page(
    runs: Mapping[Row, Stored], found: Mapping[Row, Arrays], n: int, title: str, scheme: Scheme
) -> Figure:
    ranks = [(row, rank) for row, a in found.items() for rank in range(_verdicts(a))]
    figure = style.canvas(15.5, 0.8 + 2.5 * len(ranks))
    grid = figure.add_gridspec(len(ranks), TOP + 2, width_ratios=[1] * (TOP + 1) + [2.4])
    for line, (row, rank) in enumerate(ranks):
        panels = [figure.add_subplot(grid[line, column]) for column in range(TOP + 2)]
        decided = verdict(found[row], n, rank)
        panels[0].imshow(found[row]["pictures"][n], interpolation="nearest")
        words = wrapped(decided.name, 24, 2)
        panels[0].set_title(f"{VERDICTS[rank]}:\n{words}\nlogit {decided.logit:.2f}", fontsize=9)
        seed = runs[row]["seed"]
        panels[0].set_ylabel(
            f"{row.label}\nseed {seed}", color=row.paint, fontsize=10, fontweight="bold"
        )
        _maps(panels[1:-1], found[row], n, decided)
        for axes in panels[:-1]:
            axes.set(xticks=[], yticks=[])
        labels = [f"unit {m}" for m in decided.top]
        labels += [f"residual, {decided.others} units", "bias", "sum = logit"]
        values = [*decided.parts, decided.rest, decided.bias, decided.logit]
        ink = rcParams["text.color"]
        waterfall(panels[-1], labels, values, scheme.positive, ink, scheme.quiet)
    figure.suptitle(f"{title}\n{HEAT}", fontsize=11)
    return figure


def _maps(panels: Sequence[Axes], arrays: Arrays, n: int, decided: Verdict) -> None:
    picture = arrays["pictures"][n] / 255
    for axes, m, part in zip(panels, decided.top, decided.parts, strict=False):
        heat(axes, picture, arrays["maps"][n, m])
        name, iou = units.label(arrays, "layer4", m)
        concept = "" if iou is None else f"\n{wrapped(name or 'no concept', 24, 1)}"
        axes.set_title(f"{part:+.2f}{decided.share(part)}\nunit {m}{concept}", fontsize=9)
    for axes in panels[len(decided.top) :]:
        axes.axis("off")


def _verdicts(arrays: Arrays) -> int:
    """Two, or one where there is one class."""
    return arrays["verdict_classes"].shape[1]


def _table(row: Row, arrays: Arrays, n: int, label: str) -> Iterator[tuple[Any, ...]]:
    for rank in range(_verdicts(arrays)):
        decided = verdict(arrays, n, rank)
        start = (n, label, row.label, VERDICTS[rank], decided.name)
        for m, part in zip(decided.top, decided.parts, strict=True):
            name, _ = units.label(arrays, "layer4", m)
            yield *start, f"unit {m}", name, float(part)
        yield *start, "residual", "", decided.rest
        yield *start, "bias", "", decided.bias
        yield *start, "logit", "", decided.logit
