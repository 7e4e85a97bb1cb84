"""Graphs of readers and units: targets above, the units that they read most below, pictures under them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import rcParams
from matplotlib.axes import Axes
from torch.nn.functional import interpolate

from experiments.evaluation import selection
from experiments.figures.style import Scheme, wrapped

RISE, WORDS, PICTURE = 1.3, 0.72, 0.9  # heights of lines and words, side of a picture, in columns
WIDEST = 8.0  # line, in points
OUTLINE = "#ffd43b"
COLUMNS = ("model", "target", "unit", "concept", "iou", "weight")
DIM = 0.4  # of the light outside a unit's region


class Unit(NamedTuple):
    """One unit.

    Attributes:
        number: counted from 0.
        name: of its concept; "" where it has none.
        iou: with it; None where units are not labelled.
        pictures: that excite it most, (j, h, w, 3), bytes.
        regions: where it exceeds its threshold there, (j, h, w), bool.
    """

    number: int
    name: str
    iou: float | None
    pictures: np.ndarray
    regions: np.ndarray

    @property
    def words(self) -> str:
        """On a few lines; the concept only where there is one."""
        if self.iou is None:
            return f"unit {self.number}"
        return f"unit {self.number}\n{wrapped(self.name or 'no concept', 14)}\nIoU {self.iou:.2f}"


def label(arrays: Mapping[str, np.ndarray], stage: str, unit: int) -> tuple[str, float | None]:
    """Concept and IoU of a stage's unit; ("", None) where units are not labelled."""
    reader = selection.STAGES[stage].removeprefix("inner:")
    names, iou = (
        ("unit_names", "unit_iou")
        if reader == "weight"
        else (f"inner_in_names:{reader}", f"inner_in_iou:{reader}")
    )
    if iou not in arrays:
        return "", None
    return str(arrays[names][unit]), float(arrays[iou][unit])


def unit(arrays: Mapping[str, np.ndarray], stage: str, number: int) -> Unit:
    """A unit that `experiments.evaluation.snapshots` has stored pictures of."""
    (places,) = np.nonzero(arrays[f"top_units:{stage}"] == number)
    if not len(places):  # of a run that was stored when fewer classes could be asked for
        return Unit(
            number, *label(arrays, stage, number), np.empty((0, 1, 1, 3)), np.empty((0, 1, 1))
        )
    place = int(places[0])
    count = int(arrays[f"top_counts:{stage}"][place])
    pictures = arrays[f"top_pictures:{stage}"][place, :count]
    maps = arrays[f"top_maps:{stage}"][place, :count]
    regions = upsampled(maps, pictures.shape[1:3]) > arrays[f"top_thresholds:{stage}"][place]
    return Unit(number, *label(arrays, stage, number), pictures, regions)


def upsampled(maps: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bilinear between the centres of positions, as dissection does it, (j, h', w') to (j, h, w)."""
    if not len(maps):
        return np.empty((0, *size))
    planes = torch.from_numpy(maps.astype(np.float32))[:, None]
    return interpolate(planes, size, mode="bilinear", align_corners=False)[:, 0].numpy()


def lit(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A picture, darker outside the region."""
    return (picture * np.where(region, 1.0, DIM)[..., None]).astype(np.uint8)


class Graph(NamedTuple):
    """A part of the connections between two layers.

    Attributes:
        targets: by index, what is written at the top.
        units: that they read, from left to right.
        weights: by (target, unit), what the line is wide for.
    """

    targets: Mapping[int, str]
    units: Sequence[Unit]
    weights: Mapping[tuple[int, int], float]

    def table(self, model: str) -> Iterator[tuple[Any, ...]]:
        """A row for each line."""
        units = {unit.number: unit for unit in self.units}
        for (target, source), weight in self.weights.items():
            read = units[source]
            yield model, self.targets[target], source, read.name, read.iou, weight


def graph(
    arrays: Mapping[str, np.ndarray], stage: str, names: Mapping[int, str], most: int
) -> Graph:
    """The stored part of a stage's connections, at most so many of a target."""
    weight = arrays[selection.STAGES[stage]]
    weights = {
        (target, int(source)): float(weight[target, source])
        for target in names
        for source in selection.strongest(weight[target], most)
    }
    places = {target: place for place, target in enumerate(names)}
    readers: dict[int, list[float]] = {}
    for target, source in weights:
        readers.setdefault(source, []).append(places[target])
    order = sorted(readers, key=lambda source: (np.mean(readers[source]), source))
    return Graph(names, [unit(arrays, stage, source) for source in order], weights)


def height(drawn: Graph) -> float:
    """Of the drawing, in columns."""
    rows = max((len(unit.pictures) for unit in drawn.units), default=0)
    return RISE + WORDS + 0.62 + rows * (PICTURE + 0.06)


def draw(axes: Axes, drawn: Graph, columns: int, scheme: Scheme) -> None:
    """Draw a graph on a page of so many columns; width of a line is weight, the graph's largest widest."""
    left = (columns - len(drawn.units)) / 2
    x = {unit.number: left + place + 0.5 for place, unit in enumerate(drawn.units)}
    tops = _tops(drawn, x, columns)
    most = max(drawn.weights.values(), default=1.0)
    for (target, source), weight in drawn.weights.items():
        axes.plot(
            [x[source], tops[target]],
            [0, RISE],
            color=scheme.positive,
            linewidth=max(0.4, WIDEST * weight / most),
            alpha=0.75,
            solid_capstyle="round",
        )
    for target, name in drawn.targets.items():
        silent = not any(target == t for t, _ in drawn.weights)
        words = wrapped(name, 22, 3) + ("\n(reads no unit)" if silent else "")
        axes.plot(tops[target], RISE, "o", markersize=8, color=rcParams["text.color"])
        axes.text(tops[target], RISE + 0.12, words, ha="center", va="bottom", fontsize=10)
    for read in drawn.units:
        axes.plot(x[read.number], 0, "o", markersize=6, color=rcParams["text.color"])
        axes.text(x[read.number], -0.1, read.words, ha="center", va="top", fontsize=8)
        for row, (picture, region) in enumerate(zip(read.pictures, read.regions, strict=True)):
            top = -WORDS - row * (PICTURE + 0.06)
            _picture(axes, picture, region, x[read.number], top)
    rows = height(drawn)
    axes.set(xlim=(0, columns), ylim=(RISE + 0.62 - rows, RISE + 0.62), aspect="equal")
    axes.axis("off")


def _tops(drawn: Graph, x: Mapping[int, float], columns: int) -> dict[int, float]:
    """Where targets stand: evenly, in their order."""
    step = columns / max(1, len(drawn.targets))
    return {target: step * (place + 0.5) for place, target in enumerate(drawn.targets)}


def _picture(
    axes: Axes, picture: np.ndarray, region: np.ndarray, centre: float, top: float
) -> None:
    """As large as fits, its proportions kept, the region outlined."""
    tall, wide = picture.shape[:2]
    side = PICTURE / max(tall, wide)
    half = wide * side / 2
    extent = (centre - half, centre + half, top - tall * side, top)
    axes.imshow(lit(picture, region), extent=extent, interpolation="nearest", aspect="auto")
    if region.any() and not region.all():
        axes.contour(region, [0.5], extent=extent, origin="upper", colors=OUTLINE, linewidths=0.9)
