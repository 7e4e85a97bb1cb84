"""When are units concepts, and the classes' formulas true: five weights a class against a dense head.

    python -m experiments research2 [--seeds 20 21 22 23 24] [--out runs/research2] [--explore] [--quick]

`--explore` trains the scan that the recipe was chosen from, which looks at validation images alone; without it the
recipe is confirmed on test images of seeds that had no part in the choice. What was found: docs/results/research2.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from experiments.research.problems import CONCEPTS, QUICK, finished
from experiments.research.scan import CONFIRMED, SCAN
from experiments.research.tables import CONVENTIONS, agreement_table, compact, scan_table
from experiments.run import Run
from experiments.store import write_lines

SEEDS = (20, 21, 22, 23, 24)
STRENGTHS = (0.012, 0.008, 0.006)


def grid(seeds: Sequence[int], quick: bool = False) -> list[Run]:
    """The runs that confirm."""
    problem = CONCEPTS.scaled(QUICK if quick else 1)
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
    args = parser.parse_args(argv)
    console = Console(width=180)
    torch.set_num_threads(1)
    runs = finished(list(SCAN) if args.explore else grid(args.seeds, args.quick), args.out, console)
    if args.explore:
        console.print(scan_table(runs))
    else:
        for quantile, convention in CONVENTIONS:
            console.print(agreement_table(runs, quantile, convention))
    path = args.out / ("research2-scan.json" if args.explore else "research2.json")
    write_lines(path, list(map(compact, runs)))
    console.print(f"wrote {path}", style="dim")
    return 0
