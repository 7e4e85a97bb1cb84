"""When are units concepts, and the classes' formulas true: five weights a class against a dense head.

    python -m experiments research2 [--seeds 20 21 22 23 24] [--out runs/research2] [--explore] [--quick]

`--explore` trains the scan that the recipe was chosen from, which looks at validation images alone; without it the
recipe is confirmed on test images of seeds that had no part in the choice. What was found: docs/results/research2.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments import results
from experiments.research import unit_tables
from experiments.research.methods import DENSE
from experiments.research.problems import CONCEPTS
from experiments.research.runs import Run, all_of, write_lines
from experiments.research.scan import CONFIRMED, SCAN
from experiments.threads import threads

SEEDS = (20, 21, 22, 23, 24)
STRENGTHS = (0.012, 0.008, 0.006)


def grid(seeds: Sequence[int], quick: bool = False) -> list[Run]:
    """The runs that confirm."""
    problem = CONCEPTS.scaled(0.05 if quick else 1)
    return [
        Run(problem, method, seed, strengths=STRENGTHS if method == DENSE else ())
        for seed in seeds
        for method in CONFIRMED
    ]


def scanned(records: Sequence[results.Record], labels: Sequence[tuple[str, str]]) -> Table:
    """One row for each run of the scan, beside the dense net of its problem and seed."""
    shown = Table(title="validation images; published quantile", box=None, title_justify="left")
    for name in ("problem", "method", "seed"):
        shown.add_column(name)
    columns = ("accuracy", "weights", "IoU all", "/dense", "IoU used", "/dense", "F1", "dense F1")
    for name in columns:
        shown.add_column(name, justify="right")
    dense = {
        (problem, record["seed"]): unit_tables.read(record["unit_figures"], "published")
        for record, (problem, method) in zip(records, labels, strict=True)
        if method == DENSE.name
    }
    for record, (problem, method) in zip(records, labels, strict=True):
        own = unit_tables.read(record["unit_figures"], "published")
        base = dense[problem, record["seed"]]
        ratios = [own[key] / base[key] for key in ("IoU of all", "IoU of used")]
        shown.add_row(
            problem,
            method,
            str(record["seed"]),
            f"{record['validation_accuracy']:.1%}",
            f"{record['weights_per_class']:.1f}",
            f"{own['IoU of all']:.3f}",
            f"{ratios[0]:.2f}",
            f"{own['IoU of used']:.3f}",
            f"{ratios[1]:.2f}",
            f"{own['F1']:.3f}",
            f"{base['F1']:.3f}",
        )
    return shown


def compact(records: Sequence[results.Record]) -> list[dict[str, Any]]:
    """What a page of results keeps of each run."""
    kept = ("method", "seed", "accuracy", "weights_per_class", "hash")
    return [
        {
            **{key: record["config"][key] for key in ("data", "net", "epochs", "judge")},
            **{key: record[key] for key in kept},
            "units": unit_tables.compact(record),
            "sparse_heads": [
                {
                    **{key: head[key] for key in ("name", "weights", "accuracy")},
                    "units": unit_tables.compact(head),
                }
                for head in record.get("sparse_heads", ())
            ],
        }
        for record in records
    ]


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments research2", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=Path("runs/research2"))
    parser.add_argument("--explore", action="store_true", help="the scan, on validation images")
    parser.add_argument("--quick", action="store_true", help="a twentieth of it, to see it work")
    args = parser.parse_args(argv)
    console = Console(width=180)
    with threads(1):
        runs = [row.run for row in SCAN] if args.explore else grid(args.seeds, args.quick)
        records = all_of(runs, args.out, console.print)
    if args.explore:
        console.print(scanned(records, [(row.problem, row.run.method.name) for row in SCAN]))
    else:
        for quantile, convention in unit_tables.CONVENTIONS:
            console.print(unit_tables.compared(records, quantile, convention))
    path = args.out / ("research2-scan.json" if args.explore else "research2.json")
    write_lines(path, compact(records))
    console.print(f"wrote {path}", style="dim")
    return 0
