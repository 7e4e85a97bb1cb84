"""Tables of stored runs: the paper's Table 1, the frontier, the ablation.

Each is a function (runs, planned) -> tables; a row that lacks its runs is "—".
"""

from collections.abc import Iterator, Sequence
from math import log
from typing import NamedTuple

import pandas as pd

from experiments.published import TOP1, TOP5, title
from experiments.run import Run
from experiments.store import Stored
from experiments.tables import NONE, ResultTable, column, frame, paired_by_seed, spread

TABLE1 = (
    "net",
    "seeds",
    "paper\ntop-1",
    "ours\ntop-1",
    "paper\ntop-5",
    "ours\ntop-5",
    "weights\n/class",
    "residual\nat 5, %",
    "mean\nIoU",
    "top-100\nIoU",
    "detec-\ntors",
    "unique",
    "F1",
)
LABELS = (("mean_iou", 3), ("top100_iou", 3), ("detectors", 0), ("unique", 0), ("f1", 2))
FRONTIER = ("method", "seeds", "weights\n/class", "test\ntop-1, %")
ABLATION = (
    "change",
    "seeds",
    "validation\ntop-1, %",
    "minus default,\nsame seeds",
    "weights\n/class",
    "residual\nat 5, %",
    "mean\nIoU",
    "test\ntop-1, %",
)
DENSE = ("resnet18", "SGD")  # whose head is cut, and on whose units sparse heads are fitted
SOLVERS = ("saga", "glm_saga")
PRUNED = (2, 3, 5, 10, 25)
Runs = Sequence[Stored]
Plans = Sequence[Run]


class Point(NamedTuple):
    """A head of a run: mean weights per class, and test accuracy."""

    weights: float
    accuracy: float


def table1(runs: Runs, planned: Plans) -> list[ResultTable]:
    """Accuracy of ResNets, the paper's beside ours, and what the paper lacks beside them; one for each data set."""
    scale = planned[0].scale
    stand_in = () if scale in ("paper", "code") else ("the paper's numbers are of its own data",)
    return [
        ResultTable(
            name=f"table1-{data}",
            title=f"Table 1, {data}, scale {scale}: test accuracy in %, mean ± sd",
            columns=TABLE1,
            rows=_table1_rows(runs, planned, data),
            notes=(
                *stand_in,
                "residual at 5: share of a score outside its 5 largest terms; F1: class -> concept",
                "saga, glm_saga: heads fitted afterwards; of the path, the one with nearest 5 weights a class",
            ),
        )
        for data in _data(planned)
    ]


def frontier(runs: Runs, planned: Plans) -> list[ResultTable]:
    """Accuracy against weights per class, one for each data set.

    Every row that a grid lists is here, and every point of a path: none was chosen.
    """
    return [
        ResultTable(
            name=f"frontier-{number}",
            title=f"Frontier, {data}, scale {planned[0].scale}: mean ± sd",
            columns=FRONTIER,
            rows=[
                (
                    name,
                    str(len(points)),
                    spread([point.weights for point in points]),
                    spread([point.accuracy for point in points], factor=100),
                )
                for name, points in _frontier_points(runs, planned, data)
            ],
        )
        for number, data in enumerate(_data(planned), start=1)
    ]


def ablation(runs: Runs, planned: Plans) -> list[ResultTable]:
    """Our own choices, one changed at a time; one for each data set; the first row of the grid is the default.

    Validation images judge. The test accuracy of two rows is shown: the default, and the best by validation.
    """
    return [
        ResultTable(
            name=f"ablation-{number}",
            title=f"Ablation, {data}, scale {planned[0].scale}: mean ± sd",
            columns=ABLATION,
            rows=_ablation_rows(runs, planned, data),
            notes=("test accuracy: of the default, and of the best by validation accuracy",),
        )
        for number, data in enumerate(_data(planned), start=1)
    ]


def _data(planned: Plans) -> list[str]:
    return list(dict.fromkeys(run.data for run in planned))


def _groups(runs: Runs, planned: Plans, data: str) -> dict[tuple[str, str], pd.DataFrame]:
    """The runs of each planned network and method on a data set, in the grid's order."""
    wanted = dict.fromkeys((p.model.name, p.method.name) for p in planned if p.data == data)
    return {
        (model, method): frame(
            run
            for run in runs
            if (run["model"], run["method"], run["data"]) == (model, method, data)
        )
        for model, method in wanted
    }


def _table1_rows(runs: Runs, planned: Plans, data: str) -> list[tuple[str, ...]]:
    groups = _groups(runs, planned, data)
    rows = []
    for (model, method), rows_of_net in groups.items():
        name = title(model, method)
        published = [
            f"{table[data][name]:.2f}" if name in table.get(data, {}) else NONE
            for table in (TOP1, TOP5)
        ]
        rows.append(
            (
                name,
                str(len(rows_of_net)),
                published[0],
                spread(column(rows_of_net, "accuracy"), factor=100),
                published[1],
                spread(column(rows_of_net, "top5"), factor=100),
                spread(column(rows_of_net, "weights_per_class")),
                spread(column(rows_of_net, "residual_at_5"), factor=100),
                *(spread(column(rows_of_net, f"unit_labels.{label}"), d) for label, d in LABELS),
            )
        )
    if DENSE not in groups:
        return rows
    dense = _stored(groups[DENSE])
    cuts = {"pruned to 5": [pruned(run, 5) for run in dense]}
    cuts |= {f"{s}, nearest 5": [nearest(path(run, s)) for run in dense] for s in SOLVERS}
    for name, points in cuts.items():
        known = [point for point in points if point is not None]
        cells = {
            0: f"{title(*DENSE)}, {name}",
            1: str(len(known)),
            3: spread([point.accuracy for point in known], factor=100),
            6: spread([point.weights for point in known]),
        }
        rows.append(tuple(cells.get(place, NONE) for place in range(len(TABLE1))))
    return rows


def _frontier_points(runs: Runs, planned: Plans, data: str) -> Iterator[tuple[str, list[Point]]]:
    groups = _groups(runs, planned, data)
    for (model, method), rows_of_net in groups.items():
        trained = [Point(run["weights_per_class"], run["accuracy"]) for run in _stored(rows_of_net)]
        yield title(model, method), trained
    dense, name = _stored(groups.get(DENSE, pd.DataFrame())), title(*DENSE)
    for count in PRUNED:
        cut = [pruned(run, count) for run in dense]
        yield f"{name}, pruned to {count}", [point for point in cut if point is not None]
    for solver in SOLVERS:
        paths = [path(run, solver) for run in dense]
        for number, heads in enumerate(zip(*paths, strict=False), start=1):
            yield f"{name}, {solver}, {number}", list(heads)


def _ablation_rows(runs: Runs, planned: Plans, data: str) -> list[tuple[str, ...]]:
    groups = _groups(runs, planned, data)
    default = next(iter(groups))
    means = {key: column(rows, "validation_accuracy") for key, rows in groups.items()}
    best = max(
        (k for k in means if means[k]), key=lambda k: sum(means[k]) / len(means[k]), default=default
    )
    return [
        (
            "default" if key == default else key[1].partition(", ")[2],
            str(len(rows_of_net)),
            spread(means[key], factor=100),
            _difference(rows_of_net, groups[default]) if key != default else NONE,
            spread(column(rows_of_net, "weights_per_class")),
            spread(column(rows_of_net, "residual_at_5"), factor=100),
            spread(column(rows_of_net, "unit_labels.mean_iou"), digits=3),
            spread(column(rows_of_net, "accuracy"), factor=100) if key in (default, best) else NONE,
        )
        for key, rows_of_net in groups.items()
    ]


def _difference(found: pd.DataFrame, default: pd.DataFrame) -> str:
    difference = paired_by_seed(found, default, "validation_accuracy")
    return NONE if difference is None else difference.text(100, 1)


def _stored(rows: pd.DataFrame) -> list[Stored]:
    return list(rows["run"]) if len(rows) else []


def pruned(run: Stored, count: int) -> Point | None:
    """The head cut to its `count` largest weights a class; None if that was not measured."""
    curve = run["accuracy_at_weights"]
    if count not in curve["weights"]:
        return None
    return Point(count, curve["accuracy"][curve["weights"].index(count)])


def path(run: Stored, solver: str) -> list[Point]:
    """Heads that a solver fitted on frozen units, strongest penalty first; none if there are none."""
    heads = run.record.get("sparse_heads", ())
    return [Point(h["weights"], h["accuracy"]) for h in heads if h["solver"] == solver]


def nearest(points: Sequence[Point], count: float = 5) -> Point | None:
    """The head whose weights per class are nearest by ratio; accuracy has no say in it.

    >>> nearest([Point(2, 0.5), Point(6, 0.6), Point(60, 0.9)])
    Point(weights=6, accuracy=0.6)
    """
    nonempty = [point for point in points if point.weights > 0]
    return min(nonempty, key=lambda point: abs(log(point.weights / count))) if nonempty else None
