"""At five weights a class: a trained network, tuned for three epochs more.

    python -m experiments finetuning [--sizes 64 512] [--seeds 30 31 32 33 34] [--out runs/finetuning]

Dense networks are trained on scenes, as in research1. From their weights SGD and InterpretableSGD go on for three
epochs, and sparse heads are fitted on what SGD makes of them. `--choose` looks at validation images of seed 0
alone, at every learning rate. What was found: docs/results/finetuning.md.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from experiments.methods import DENSE, OURS, WARM_DENSE, Method, changed
from experiments.research.problems import QUICK, SIZES, finished
from experiments.research.question1 import STRENGTHS
from experiments.research.tables import accuracy_table, compact
from experiments.run import Run
from experiments.store import write_lines

SEEDS = (30, 31, 32, 33, 34)
RATES = (0.02, 0.05, 0.1, 0.2)
EARLY = changed(OURS, brake=0, form=0.95, settle=0.75)
EPOCHS = 3
# chosen on validation images of seed 0
LR = {DENSE: 0.2, OURS: 0.2, EARLY: 0.2}


def tuned(size: int, seed: int, method: Method, share: float = 1, split: str = "test") -> Run:
    """A method that goes on from the dense network of a seed."""
    problem = SIZES[size].scaled(share)
    start = problem.run(WARM_DENSE, seed, split)
    recipe = replace(problem.recipe, epochs=EPOCHS, warmup=0.0).scaled(share)
    on = replace(problem, name=f"{problem.name}, tuned", recipe=recipe)
    return replace(on.run(method, seed, split, STRENGTHS[size]), begin=start)


def grid(sizes: Sequence[int], seeds: Sequence[int], share: float = 1) -> list[Run]:
    """The runs that are compared, at the learning rates that were chosen."""
    methods = [replace(method, recipe={"lr": lr}) for method, lr in LR.items()]
    return [tuned(size, seed, each, share) for size in sizes for seed in seeds for each in methods]


def choices(sizes: Sequence[int]) -> list[Run]:
    """What learning rates were chosen from."""
    return [
        tuned(size, 0, changed(method, lr=lr), split="validation")
        for size in sizes
        for method in LR
        for lr in RATES
    ]


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments finetuning", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", choices=sorted(SIZES), default=[64, 512])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=Path("runs/finetuning"))
    parser.add_argument("--quick", action="store_true", help="a twentieth of it, to see it work")
    parser.add_argument("--choose", action="store_true", help="what choices were made from")
    args = parser.parse_args(argv)
    console = Console(width=180)
    torch.set_num_threads(1)
    share = QUICK if args.quick else 1
    planned = choices(args.sizes) if args.choose else grid(args.sizes, args.seeds, share)
    starts = {run.begin.label: run.begin for run in planned if run.begin is not None}
    finished(list(starts.values()), args.out, console)
    runs = finished(planned, args.out, console)
    for problem in dict.fromkeys(run["scale"] for run in runs):
        console.print(accuracy_table(problem, [run for run in runs if run["scale"] == problem]))
    if not args.choose:
        write_lines(args.out / "finetuning.json", list(map(compact, runs)))
    return 0
