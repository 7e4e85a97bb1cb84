"""At five weights a class, on scenes of growing size: which way to train is most accurate?

    python -m experiments research1 [--sizes 64 128 512] [--seeds 10 11 12 13 14] [--images 1] [--out runs/research1]

Dense SGD, InterpretableSGD as it is by default and with two rows of options, an L1 penalty on the head, Dynamic-5,
and heads fitted or cut after the training on the frozen units of the dense net. Same initial weights, batches and
schedule for all; a seed also redraws the data. `--images 3` trains on three times the images, and so for three
times the steps, without L1, whose strengths were chosen for the short runs. `--choose` trains on seed 0 what
learning rates, strengths and options were chosen from, and looks at validation images alone. What was found:
docs/results/research1.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments import results
from experiments.research import unit_tables
from experiments.research.intervals import Paired, paired
from experiments.research.methods import (
    DENSE,
    DYNAMIC,
    FAST,
    OURS,
    PER_SAMPLE,
    Method,
    l1,
)
from experiments.research.problems import SIZES, enlarged
from experiments.research.runs import COUNT, CUT, Run, all_of, write_lines
from experiments.research.scan import variant
from experiments.threads import threads

SEEDS = (10, 11, 12, 13, 14)
RATES = (0.1, 0.2, 0.4)
CHOSEN_FROM = {
    64: (0.003, 0.007, 0.01, 0.014),
    128: (0.0005, 0.001, 0.002, 0.003, 0.004, 0.005),
    512: (0.0002, 0.0005, 0.001),
}
# by units: the penalty that keeps most of the accuracy, and one that leaves about 5 weights a class; at 512 none does
# so at an accuracy worth a row
L1 = {64: (0.003, 0.008), 128: (0.001, 0.0035), 512: (0.0002,)}
# of heads fitted afterwards
STRENGTHS = {
    64: (0.02, 0.012, 0.008, 0.006, 0.004),
    128: (0.02, 0.012, 0.008, 0.006, 0.004),
    512: (0.02, 0.014, 0.01, 0.008, 0.006),
}
# what `methods.FAST` and `methods.PER_SAMPLE` were chosen from, at 128 units
OPTIONS = (
    OURS,
    variant(5, horizon=0),
    variant(5, horizon=0, sparsity=1),
    variant(5, horizon=60),
    variant(5, horizon=60, foresight=0),
    variant(5, horizon=60, shrink=10.0),
    replace(PER_SAMPLE, name="per-sample"),
    DYNAMIC,
)
# heads that are also cut to 5 weights a class
CUT_TOO = (DENSE.name, "L1, keeps the accuracy", DYNAMIC.name, PER_SAMPLE.name)
PATH = f"dense, L1 path at {COUNT}"
POST_HOC = f"dense, best head fitted afterwards at {COUNT}"
Rows = dict[str, dict[int, tuple[float, float]]]


def contestants(size: int, images: int = 1) -> tuple[Method, ...]:
    """The ways to train nets of so many units, on so many times the images."""
    if images > 1:
        return (DENSE, OURS, FAST, PER_SAMPLE, DYNAMIC)
    names = ("L1, keeps the accuracy", "L1, about 5 weights")
    penalised = (l1(strength, name) for strength, name in zip(L1[size], names, strict=False))
    return (DENSE, OURS, FAST, PER_SAMPLE, DYNAMIC, *penalised)


def grid(
    sizes: Iterable[int], seeds: Iterable[int], images: int = 1, quick: bool = False
) -> list[Run]:
    """The runs of the question."""
    found = []
    for size in sizes:
        problem = enlarged(SIZES[size], images).scaled(0.05 if quick else 1)
        for seed in seeds:
            for method in contestants(size, images):
                strengths = STRENGTHS[size] if method == DENSE else ()
                found.append(Run(problem, method, seed, strengths=strengths))
    return found


def choices(sizes: Iterable[int]) -> list[Run]:
    """What learning rates and strengths were chosen from."""
    runs = []
    for size in sizes:
        problem = SIZES[size]
        rates = [replace(problem, lr=lr) for lr in RATES]
        runs += [Run(p, replace(DENSE, name=f"dense, lr {p.lr}"), 0, "validation") for p in rates]
        runs += [Run(problem, l1(s, f"L1 {s}"), 0, "validation") for s in CHOSEN_FROM[size]]
    runs += [Run(SIZES[128], method, 0, "validation") for method in OPTIONS]
    return runs


def accuracy_at(
    points: Sequence[Mapping[str, float]], count: float = COUNT, key: str = "accuracy"
) -> float:
    """Accuracy of a path at a number of weights: linear between its neighbours, or the nearest end.

    >>> accuracy_at([{"weights": 4.0, "accuracy": 0.5}, {"weights": 6.0, "accuracy": 0.7}])
    0.6
    """
    ordered = sorted(points, key=lambda point: point["weights"])
    for low, high in pairwise(ordered):
        if low["weights"] <= count <= high["weights"]:
            width = high["weights"] - low["weights"]
            way = (count - low["weights"]) / width if width else 0.0
            return low[key] + way * (high[key] - low[key])
    return min(ordered, key=lambda point: abs(point["weights"] - count))[key]


def fitted_afterwards(heads: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Accuracy and weights of heads on the dense net's units at 5 weights a class; validation images choose.

    Args:
        heads: of a record of the dense net: the points of the L1 path, those cut to 5 and fitted again,
            and the trained head so cut.

    Returns:
        The path read at 5, its best cut point, the trained head, and the best of these three.
    """
    points = [head for head in heads if not head["name"].endswith(CUT)]
    cuts = [head for head in heads if head["name"].endswith(f", {CUT}")]
    path = {key: accuracy_at(points, key=key) for key in ("accuracy", "validation_accuracy")}
    found: dict[str, Mapping[str, Any]] = {
        PATH: {**path, "weights": COUNT},
        f"dense, L1 path, {CUT}": max(cuts, key=_on_validation),
        f"dense, {CUT}": next(head for head in heads if head["name"] == CUT),
    }
    found[POST_HOC] = max(found.values(), key=_on_validation)
    return {name: (head["accuracy"], head["weights"]) for name, head in found.items()}


def _on_validation(head: Mapping[str, Any]) -> float:
    return float(head["validation_accuracy"])


def rows(records: Sequence[results.Record]) -> Rows:
    """By way to get a head, and seed: accuracy, and weights a class."""
    found: Rows = {}
    for record in records:
        seed, method = record["seed"], record["method"]
        own = {method: (record["accuracy"], record["weights_per_class"])}
        if method in CUT_TOO:
            own[f"{method}, cut to {COUNT}"] = (record["cuts"][str(COUNT)], COUNT)
        if "sparse_heads" in record:
            own |= fitted_afterwards(record["sparse_heads"])
        for name, value in own.items():
            found.setdefault(name, {})[seed] = value
    return found


def difference(found: Rows, name: str, other: str) -> Paired | None:
    """Accuracy of one row minus that of another, over the seeds that both have; None without any."""
    seeds = sorted(set(found[name]) & set(found.get(other, {})))
    if not seeds or name == other:
        return None
    return paired([found[name][s][0] for s in seeds], [found[other][s][0] for s in seeds])


def table(title: str, records: Sequence[results.Record]) -> Table:
    """One row for each way to get a head."""
    shown = Table(title=title, box=None, title_justify="left")
    shown.add_column("")
    for head in ("n", "accuracy", "weights/class", "minus dense", "minus the best afterwards"):
        shown.add_column(head, justify="right")
    found = rows(records)
    for name, by_seed in found.items():
        accuracy, weights = (sum(each) / len(each) for each in zip(*by_seed.values(), strict=True))
        differences = [difference(found, name, other) for other in (DENSE.name, POST_HOC)]
        texts = [each.text(100) if each else "" for each in differences]
        shown.add_row(name, str(len(by_seed)), f"{accuracy:.1%}", f"{weights:.1f}", *texts)
    return shown


def compact(records: Sequence[results.Record]) -> list[dict[str, Any]]:
    """What a page of results keeps of each run."""
    kept = (
        "method",
        "seed",
        "accuracy",
        "validation_accuracy",
        "weights_per_class",
        "cuts",
        "hash",
    )
    return [
        {
            "data": record["config"]["data"],
            **{key: record[key] for key in kept},
            "units": unit_tables.compact(record),
            "sparse_heads": [
                {key: head[key] for key in ("name", "weights", "accuracy", "validation_accuracy")}
                for head in record.get("sparse_heads", ())
            ],
        }
        for record in records
    ]


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments research1", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", choices=sorted(SIZES), default=list(SIZES))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=Path("runs/research1"))
    parser.add_argument(
        "--images",
        type=int,
        choices=range(1, 11),
        metavar="TIMES",
        default=1,
        help="as many training images and steps, 1 to 10",
    )
    parser.add_argument("--quick", action="store_true", help="a twentieth of it, to see it work")
    parser.add_argument("--choose", action="store_true", help="what choices were made from")
    args = parser.parse_args(argv)
    console = Console(width=180)
    with threads(1):
        if args.choose:
            all_of(choices(args.sizes), args.out, console.print)
            return 0
        records = all_of(
            grid(args.sizes, args.seeds, args.images, args.quick), args.out, console.print
        )
    for data in dict.fromkeys(record["config"]["data"] for record in records):
        own = [r for r in records if r["config"]["data"] == data]
        console.print(table(data, own))
        console.print(unit_tables.compared(own, *unit_tables.CONVENTIONS[0]))
    name = "research1" if args.images == 1 else f"research1-x{args.images}"
    path = args.out / f"{name}.json"
    write_lines(path, compact(records))
    console.print(f"wrote {path}", style="dim")
    return 0
