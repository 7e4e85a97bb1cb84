"""Table 1: accuracy of ResNets, the paper's beside ours, and what the paper lacks beside them."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.paper.planned import DENSE, Planned
from experiments.paper.published import NAMES, TOP1, TOP5
from experiments.paper.store import Stored
from experiments.paper.tables.rows import CUT, label_score, of, title
from experiments.paper.tables.sheet import NONE, Sheet, spread

COLUMNS = (
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
SCORES = (("mean_iou", 3), ("top100_iou", 3), ("detectors", 0), ("unique", 0), ("f1", 2))


def table1(runs: Sequence[Stored], planned: Sequence[Planned]) -> list[Sheet]:
    """A sheet for each data set.

    Args:
        runs: stored ones, any.
        planned: those that the table consists of; a row that lacks them is "—".
    """
    scale = planned[0].scale
    stand_in = () if scale in ("paper", "code") else ("the paper's numbers are of its own data",)
    return [
        Sheet(
            name=f"table1-{data}",
            title=f"Table 1, {data}, scale {scale}: test accuracy in %, mean ± sd",
            columns=COLUMNS,
            rows=_rows(runs, planned, data),
            notes=(
                *stand_in,
                "residual at 5: share of a score outside its 5 largest terms; F1: class -> concept",
                "saga, glm_saga: heads fitted afterwards; of the path, the one with nearest 5 weights a class",
            ),
        )
        for data in dict.fromkeys(p.data for p in planned)
    ]


def _rows(runs: Sequence[Stored], planned: Sequence[Planned], data: str) -> list[tuple[str, ...]]:
    rows = []
    for network, method in dict.fromkeys((p.network, p.method) for p in planned if p.data == data):
        rows.append(_row(of(runs, network, method, data), network, method, data))
    if any((p.network, p.method) == DENSE for p in planned):
        rows += [_cut(of(runs, *DENSE, data), name) for name in CUT]
    return rows


def _row(found: Sequence[Stored], network: str, method: str, data: str) -> tuple[str, ...]:
    published = [
        f"{table[data][network]:.2f}" if network in table.get(data, {}) else NONE
        for table in (TOP1, TOP5)
    ]
    return (
        title(network, method),
        str(len(found)),
        published[0],
        spread([run["top1"] for run in found], factor=100),
        published[1],
        spread([run["top5"] for run in found], factor=100),
        spread([run["weights_per_class"] for run in found]),
        spread([run["residual_at_5"] for run in found], factor=100),
        *(
            spread([label_score(run, name) for run in found], digits=digits)
            for name, digits in SCORES
        ),
    )


def _cut(found: Sequence[Stored], name: str) -> tuple[str, ...]:
    points = [point for point in map(CUT[name], found) if point is not None]
    cells = {
        0: f"{NAMES[DENSE[0]]}, {name}",
        1: str(len(points)),
        3: spread([point.accuracy for point in points], factor=100),
        6: spread([point.weights for point in points]),
    }
    return tuple(cells.get(place, NONE) for place in range(len(COLUMNS)))
