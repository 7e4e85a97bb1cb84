"""Accuracy against weights per class, every method on one axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from experiments.paper.planned import DENSE, Planned
from experiments.paper.published import NAMES
from experiments.paper.store import Stored
from experiments.paper.tables.rows import Point, of, path, pruned, title
from experiments.paper.tables.sheet import Sheet, spread

COLUMNS = ("method", "seeds", "weights\n/class", "test\ntop-1, %")
PRUNED = (2, 3, 5, 10, 25)
PATHS = {"saga": "sparse_heads", "glm_saga": "glm_saga_heads"}


def frontier(runs: Sequence[Stored], planned: Sequence[Planned]) -> list[Sheet]:
    """A sheet for each data set; a row that lacks its runs is "—".

    Every row that a grid lists is here, and every point of a path: none was chosen.
    """
    return [
        Sheet(
            name=f"frontier-{number}",
            title=f"Frontier, {data}, scale {planned[0].scale}: mean ± sd",
            columns=COLUMNS,
            rows=[
                (
                    name,
                    str(len(points)),
                    spread([point.weights for point in points]),
                    spread([point.accuracy for point in points], factor=100),
                )
                for name, points in _points(runs, planned, data)
            ],
        )
        for number, data in enumerate(dict.fromkeys(p.data for p in planned), start=1)
    ]


def _points(
    runs: Sequence[Stored], planned: Sequence[Planned], data: str
) -> Iterator[tuple[str, list[Point]]]:
    for network, method in dict.fromkeys((p.network, p.method) for p in planned if p.data == data):
        found = of(runs, network, method, data)
        yield (
            title(network, method),
            [Point(run["weights_per_class"], run["top1"]) for run in found],
        )
    dense, name = of(runs, *DENSE, data), NAMES[DENSE[0]]
    for count in PRUNED:
        cut = [pruned(run, count) for run in dense]
        yield f"{name}, pruned to {count}", [point for point in cut if point is not None]
    for solver, key in PATHS.items():
        paths = [path(run, key) for run in dense]
        for number, heads in enumerate(zip(*paths, strict=False), start=1):
            yield f"{name}, {solver}, {number}", list(heads)
