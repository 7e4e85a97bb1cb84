"""At five weights a class, on scenes of growing size: which way to train is most accurate?

    python -m experiments research1 [--sizes 64 128 512] [--seeds 10 11 12 13 14] [--images 1] [--out runs/research1]

Dense SGD with and without a warm-up, InterpretableSGD as it is by default and with shared masks, an L1 penalty on
the head, Dynamic-5, and heads fitted or cut after the training on the frozen units of the dense nets. Same initial
weights and batches for all; a seed also redraws the data. `--only` trains the methods of these names alone.
`--images 3` trains on three times the images, and so for three times the steps, without L1, whose strengths were
chosen for the short runs. `--choose` trains on seed 0 what learning rates, strengths and options were chosen from,
and looks at validation images alone. What was found: docs/results/research1.md.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from experiments.methods import (
    DENSE,
    FAST_SHARED,
    OURS,
    SHARED,
    WARM_DENSE,
    WARM_OURS,
    Method,
    changed,
    dynamic,
    l1,
    variant,
)
from experiments.research.problems import QUICK, SIZES, finished
from experiments.research.tables import CONVENTIONS, accuracy_table, agreement_table, compact
from experiments.run import Run
from experiments.store import write_lines

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
DYNAMIC = dynamic(5)
# what `methods.FAST_SHARED` was chosen from, at 128 units, and ours beside it
OPTIONS = (
    OURS,
    variant(5, shrink=10.0),
    variant(5, form=0),
    SHARED,
    changed(SHARED, form=0),
    changed(SHARED, form=60),
    FAST_SHARED,
    DYNAMIC,
)
# methods whose heads are also cut to 5 weights a class
CUT_TOO = (DENSE.name, "L1, keeps the accuracy", DYNAMIC.name, FAST_SHARED.name)


def methods(size: int, images: int = 1) -> tuple[Method, ...]:
    """The ways to train networks of so many units, on so many times the images."""
    if images > 1:
        return (DENSE, WARM_DENSE, WARM_OURS, FAST_SHARED, DYNAMIC)
    names = ("L1, keeps the accuracy", "L1, about 5 weights")
    penalised = (l1(strength, name) for strength, name in zip(L1[size], names, strict=False))
    return (DENSE, WARM_DENSE, WARM_OURS, FAST_SHARED, DYNAMIC, *penalised)


def grid(
    sizes: Iterable[int],
    seeds: Iterable[int],
    images: int = 1,
    quick: bool = False,
    only: Sequence[str] = (),
) -> list[Run]:
    """The runs of the question, of all methods or of those of these names."""
    seeds = list(seeds)
    return [
        SIZES[size]
        .enlarged(images)
        .scaled(QUICK if quick else 1)
        .run(method, seed, strengths=STRENGTHS[size])
        for size in sizes
        for seed in seeds
        for method in methods(size, images)
        if not only or method.name in only
    ]


def choices(sizes: Iterable[int]) -> list[Run]:
    """What learning rates and strengths were chosen from."""
    runs = []
    for size in sizes:
        problem = SIZES[size]
        for lr in RATES:
            other = replace(problem, recipe=replace(problem.recipe, lr=lr))
            runs.append(other.run(replace(DENSE, name=f"{DENSE.name}, lr={lr}"), 0, "validation"))
        runs += [problem.run(l1(s, f"L1 {s}"), 0, "validation") for s in CHOSEN_FROM[size]]
    return runs + [SIZES[128].run(method, 0, "validation") for method in OPTIONS]


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
    parser.add_argument("--only", nargs="+", default=(), metavar="METHOD", help="names of methods")
    parser.add_argument("--quick", action="store_true", help="a twentieth of it, to see it work")
    parser.add_argument("--choose", action="store_true", help="what choices were made from")
    args = parser.parse_args(argv)
    console = Console(width=180)
    torch.set_num_threads(1)
    if args.choose:
        finished(choices(args.sizes), args.out, console)
        return 0
    runs = finished(
        grid(args.sizes, args.seeds, args.images, args.quick, args.only), args.out, console
    )
    for problem in dict.fromkeys(run["scale"] for run in runs):
        of_problem = [run for run in runs if run["scale"] == problem]
        console.print(accuracy_table(problem, of_problem, CUT_TOO))
        console.print(agreement_table(of_problem, *CONVENTIONS[0]))
    name = "research1" if args.images == 1 else f"research1-x{args.images}"
    path = args.out / f"{name}.json"
    write_lines(path, list(map(compact, runs)))
    console.print(f"wrote {path}", style="dim")
    return 0
