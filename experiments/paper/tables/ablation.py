"""Our own choices, one changed at a time: validation images judge, test images are read for the judgement alone."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.paper.planned import Planned
from experiments.paper.store import Stored
from experiments.paper.tables.rows import label_score, of
from experiments.paper.tables.sheet import NONE, Sheet, spread

COLUMNS = (
    "change",
    "seeds",
    "validation\ntop-1, %",
    "minus default,\nsame seeds",
    "weights\n/class",
    "residual\nat 5, %",
    "mean\nIoU",
    "test\ntop-1, %",
)


def ablation(runs: Sequence[Stored], planned: Sequence[Planned]) -> list[Sheet]:
    """A sheet for each data set; the first row of the grid is the default.

    The test accuracy of two rows is shown: the default, and the best by validation accuracy.
    """
    return [
        Sheet(
            name=f"ablation-{number}",
            title=f"Ablation, {data}, scale {planned[0].scale}: mean ± sd",
            columns=COLUMNS,
            rows=_rows(runs, planned, data),
            notes=("test accuracy: of the default, and of the best by validation accuracy",),
        )
        for number, data in enumerate(dict.fromkeys(p.data for p in planned), start=1)
    ]


def _rows(runs: Sequence[Stored], planned: Sequence[Planned], data: str) -> list[tuple[str, ...]]:
    methods = dict.fromkeys((p.network, p.method) for p in planned if p.data == data)
    found = {row: of(runs, *row, data) for row in methods}
    default = next(iter(found))
    stored = [row for row in found if found[row]]
    best = max(stored, key=lambda row: _mean(found[row]), default=default)
    return [
        (
            "default" if row == default else row[1].partition(" ")[2],
            str(len(some)),
            spread([run["validation_top1"] for run in some], factor=100),
            spread(_differences(some, found[default]), factor=100) if row != default else NONE,
            spread([run["weights_per_class"] for run in some]),
            spread([run["residual_at_5"] for run in some], factor=100),
            spread([label_score(run, "mean_iou") for run in some], digits=3),
            spread([run["top1"] for run in some], factor=100) if row in (default, best) else NONE,
        )
        for row, some in found.items()
    ]


def _mean(runs: Sequence[Stored]) -> float:
    return sum(run["validation_top1"] for run in runs) / len(runs)


def _differences(runs: Sequence[Stored], default: Sequence[Stored]) -> list[float | None]:
    by_seed = {run["seed"]: run["validation_top1"] for run in default}
    return [run["validation_top1"] - by_seed[run["seed"]] for run in runs if run["seed"] in by_seed]
