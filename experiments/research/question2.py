"""When are units concepts, and the classes' formulas true: five weights a class against a dense head.

    python -m experiments research2 [--seeds 20 21 22 23 24] [--out runs/research2] [--explore] [--quick] [--stamps]

`--explore` trains the scan that the recipe was chosen from, which looks at validation images alone; without it the
recipe is confirmed on test images of seeds that had no part in the choice. `--stamps` asks on scenes of real cut-outs
(the registry's `stamps`), with peers' metrics in a table of their own. What was found: docs/results/research2.md.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from experiments.methods import DENSE, OURS, WARM_DENSE, WARM_OURS, Method, variant
from experiments.models.registry import Model
from experiments.research.problems import CONCEPTS, QUICK, STAMPS, Problem, finished, resolved
from experiments.research.tables import (
    CONVENTIONS,
    agreement_table,
    compact,
    peers_table,
    scan_table,
)
from experiments.run import Run
from experiments.store import write_lines

SEEDS = (20, 21, 22, 23, 24)
STRENGTHS = (0.012, 0.008, 0.006)
CONFIRMED = (WARM_DENSE, WARM_OURS)

# what was scanned on validation images, problem by problem
STRIDES = (2, 2, 2)
LAST, BEFORE, SHORTCUT = "maps.5.conv2", "maps.5.conv1", "maps.5.downsample.0"
SMALL = Model("small_resnet")
DETAILED = resolved("48 px, 8 epochs", epochs=8)
Rows = Sequence[tuple[Problem, Sequence[Method]]]
FIRST_SEED: Rows = (
    (
        resolved("24 px, 8 epochs", size=24, model=SMALL, epochs=8),
        (DENSE, OURS, variant(3)),
    ),
    (
        resolved("24 px, 8 epochs, 60 classes", classes=60, size=24, model=SMALL, epochs=8),
        (DENSE, OURS, variant(3)),
    ),
    (
        resolved(
            "24 px, 8 epochs, 12x12 maps that see 13 px",
            size=24,
            model=Model("local", {"units": 64}),
            epochs=8,
        ),
        (DENSE, OURS, variant(3)),
    ),
    (
        DETAILED,
        (
            DENSE,
            OURS,
            variant(3),
            variant(2),
            variant(3, shrink=90.0),
            variant(3, form=0),
        ),
    ),
    (
        resolved(
            "48 px, 8 epochs, M = 32",
            model=Model("small_resnet", {"widths": (16, 32, 32), "strides": STRIDES}),
            epochs=8,
        ),
        (DENSE, variant(3)),
    ),
    (resolved("48 px, 8 epochs, 60 classes", classes=60, epochs=8), (DENSE, variant(3))),
    (
        resolved(
            "48 px, 8 epochs, 12x12 maps",
            model=Model("small_resnet", {"strides": (2, 2, 1)}),
            epochs=8,
        ),
        (DENSE, variant(3, shrink=90.0)),
    ),
    (
        CONCEPTS,
        (
            DENSE,
            variant(3),
            variant(3, shrink=60.0),
            variant(3, shrink=90.0),
            variant(3, shrink=120.0),
            variant(4, shrink=60.0),
            variant(3, {LAST: 64}, shrink=90.0),
            variant(3, {LAST: 24}, shrink=90.0),
            variant(3, {LAST: 32, BEFORE: 32, SHORTCUT: 8}, shrink=90.0),
        ),
    ),
)
RATES = tuple(
    replace(DETAILED, recipe=replace(DETAILED.recipe, lr=lr)).run(
        replace(DENSE, name=f"{DENSE.name}, lr={lr}"), 0, "validation"
    )
    for lr in (0.1, 0.4)
)
SECOND_SEED: Rows = ((CONCEPTS, (DENSE, variant(3, shrink=60.0))),)
SCAN: tuple[Run, ...] = tuple(
    problem.run(method, seed, "validation")
    for seed, rows in enumerate((FIRST_SEED, SECOND_SEED))
    for problem, methods in rows
    for method in methods
)


def grid(seeds: Sequence[int], quick: bool = False, stamps: bool = False) -> list[Run]:
    """The runs that confirm, on drawn scenes or on stamps."""
    problem = (STAMPS if stamps else CONCEPTS).scaled(QUICK if quick else 1)
    return [
        problem.run(method, seed, strengths=STRENGTHS) for seed in seeds for method in CONFIRMED
    ]


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments research2", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=Path("runs/research2"))
    parser.add_argument("--explore", action="store_true", help="the scan, on validation images")
    parser.add_argument("--quick", action="store_true", help="a twentieth of it, to see it work")
    parser.add_argument("--stamps", action="store_true", help="on scenes of real cut-outs")
    args = parser.parse_args(argv)
    console = Console(width=180)
    torch.set_num_threads(1)
    runs = finished(
        list(SCAN) if args.explore else grid(args.seeds, args.quick, args.stamps), args.out, console
    )
    if args.explore:
        console.print(scan_table(runs))
    else:
        for quantile, convention in CONVENTIONS:
            console.print(agreement_table(runs, quantile, convention))
        console.print(peers_table(runs))
    kind = "-scan" if args.explore else "-stamps" if args.stamps else ""
    path = args.out / f"research2{kind}.json"
    write_lines(path, list(map(compact, runs)))
    console.print(f"wrote {path}", style="dim")
    return 0
