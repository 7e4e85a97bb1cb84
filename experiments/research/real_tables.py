"""Tables of the real suite: a row for each way to get a head, and the means over the sets.

Differences are paired by seed, with 95 % intervals; over sets, each set counts once.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments import store
from experiments.methods import DENSE
from experiments.research.tables import POST_HOC, difference, heads_at_few_weights
from experiments.run import Run
from experiments.store import Stored, write_lines
from experiments.tables import NONE, ResultTable, column, frame, spread

COLUMNS = (
    "way to get a head",
    "seeds",
    "test\ntop-1, %",
    "minus dense,\npoints",
    "minus best\nafterwards",
    "weights\n/class",
    "residual\nat 5, %",
    "terms\nto 95 %",
)
RECORDS = "real.json"
KEPT = (
    *("data", "method", "seed", "n", "steps", "seconds", "accuracy", "validation_accuracy"),
    *("weights_per_class", "residual_at_5", "reach_95", "accuracy_at_weights", "hash"),
)
HEADS = ("solver", "name", "weights", "accuracy", "validation_accuracy")
MEANS = ("method", "sets", "minus dense,\nmean", "worst\nset", "minus best\nafterwards, mean")


def real(runs: Sequence[Stored], planned: Sequence[Run]) -> list[ResultTable]:
    """One table for each set that has the dense network, and one over them."""
    kept = {run.label for run in planned}
    sets = {
        data: [run for run in runs if run["data"] == data and store.label(run.record) in kept]
        for data in dict.fromkeys(run.data for run in planned)
    }
    sets = {
        data: some for data, some in sets.items() if DENSE.name in {run["method"] for run in some}
    }
    scale = planned[0].scale
    tables = [
        ResultTable(
            f"real-{data}", f"{data}, scale {scale}: mean ± sd over seeds", COLUMNS, _rows(some)
        )
        for data, some in sets.items()
    ]
    notes = ("of each set that has both; a set counts once, whatever its seeds",)
    means = ResultTable("real", f"over {len(sets)} sets, scale {scale}", MEANS, _means(sets), notes)
    return [*tables, means]


def records(runs: Sequence[Stored], planned: Sequence[Run], out: Path) -> list[Path]:
    """What a page of results keeps of the suite's runs."""
    kept = {run.label for run in planned}
    write_lines(
        out / RECORDS,
        [
            {
                **{key: run[key] for key in KEPT},
                "sparse_heads": [
                    {key: head[key] for key in HEADS} for head in run.record.get("sparse_heads", ())
                ],
            }
            for run in runs
            if store.label(run.record) in kept
        ],
    )
    return [out / RECORDS]


def _rows(runs: Sequence[Stored]) -> list[tuple[str, ...]]:
    heads, trained = heads_at_few_weights(runs), frame(runs)
    rows = []
    for name, some in heads.groupby("head", sort=False):
        own = trained[trained["method"] == name]
        differences = [difference(heads, str(name), other) for other in (DENSE.name, POST_HOC)]
        rows.append(
            (
                str(name),
                str(len(some)),
                spread(column(some, "accuracy"), factor=100),
                *(each.text(100, 1) if each else NONE for each in differences),
                spread(column(some, "weights")),
                spread(column(own, "residual_at_5"), factor=100),
                spread(column(own, "reach_95")),
            )
        )
    return rows


def _means(sets: dict[str, list[Stored]]) -> list[tuple[str, ...]]:
    rows = [
        {
            "head": str(name),
            "dense": _mean(heads, str(name), DENSE.name),
            "afterwards": _mean(heads, str(name), POST_HOC),
        }
        for heads in map(heads_at_few_weights, sets.values())
        for name in heads["head"].unique()
        if name != DENSE.name
    ]
    return [
        (
            str(name),
            str(len(some)),
            _points(some["dense"].mean()),
            _points(some["dense"].min()),
            _points(some["afterwards"].mean()),
        )
        for name, some in pd.DataFrame(rows).groupby("head", sort=False)
    ]


def _mean(heads: pd.DataFrame, name: str, other: str) -> float:
    found = difference(heads, name, other)
    return float("nan") if found is None else found.mean


def _points(value: float) -> str:
    return NONE if pd.isna(value) else f"{100 * value:+.1f}"
