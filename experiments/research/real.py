"""Real data at five weights a class: every way to train and to fit a head, on five sets that packages bring.

    python -m experiments run real --scale small --data mails:PATH
    python -m experiments choose-real [--data letters mails:PATH ...] [--out runs/real-choices]

The first trains the suite, and shows its table and figure; the second trains on seed 0 what learning rates, warm-ups
and strengths were chosen from, and looks at validation samples alone. Same initial weights and batches for all. What
was found: docs/results/real.md.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from experiments.evaluation.sparse_heads import PostHoc
from experiments.launch import train_all
from experiments.methods import ADAMW, DENSE, OURS, OURS_ADAMW, RANDOM_UNITS, Method, dynamic, l1
from experiments.models.registry import Model
from experiments.recipes import PAPERS_DECAY, recipe
from experiments.run import Environment, Protocol, Run
from experiments.tables import plain

NAME = "body"  # of every set's network, in tables
# a small network for tables and pixels, one layer before the head on what a frozen network says
MODELS = {
    "fashion": Model("mlp", {"widths": (256, 128)}, NAME),
    "letters": Model("mlp", {"widths": (256, 128)}, NAME),
    "satellite": Model("mlp", {"widths": (256, 128)}, NAME),
    "mails": Model("mlp", {"widths": (128,)}, NAME),
    "pictured": Model("mlp", {"widths": (128,)}, NAME),
}
ENCODED = ("mails", "pictured")  # by a frozen network, for minutes, which tiny does without
SEEDS = {"tiny": (0,)}
FIVE = (0, 1, 2, 3, 4)
STRENGTHS = (0.08, 0.03, 0.01, 0.004)  # of heads fitted afterwards
FITTED_ON = 4000  # training samples
RATES = {"SGD": (0.05, 0.2), "AdamW": (1e-3, 3e-3)}
WARMUPS = (0.0, 0.15)
PENALTIES = (5e-4, 2e-3, 8e-3)
TINY = 0.1  # of the epochs

Choice = Mapping[str, Any]
# by set and method, chosen on validation samples of seed 0 (`choices`); the rest is the recipe's
CHOSEN: dict[str, dict[str, Choice]] = {}


def methods(data: str) -> list[Method]:
    """The ways to train on a set, each with what was chosen for it."""
    chosen = CHOSEN.get(data, {})
    penalty = chosen.get("SGD with L1", {}).get("l1", PENALTIES[1])
    dense = chosen.get(DENSE.name, {})
    return [
        _with(DENSE, dense),
        _with(OURS, chosen.get(OURS.name, {})),
        _with(ADAMW, chosen.get(ADAMW.name, {"lr": RATES["AdamW"][0]})),
        _with(OURS_ADAMW, chosen.get(OURS_ADAMW.name, {"lr": RATES["AdamW"][0]})),
        # the paper's budget of decay, without which a short run empties nothing
        _with(dynamic(5), {**dense, "head_decay": PAPERS_DECAY}),
        _with(l1(penalty, "SGD with L1"), dense),
        _with(RANDOM_UNITS, chosen.get(OURS.name, {})),
    ]


def grid(scale: str, seeds: Sequence[int] | None = None) -> list[Run]:
    """The suite."""
    chosen = SEEDS.get(scale, FIVE) if seeds is None else seeds
    return [
        _run(data, method, scale, seed)
        for data in MODELS
        if scale != "tiny" or data not in ENCODED
        for seed in chosen
        for method in methods(data)
    ]


def choices(data: str) -> list[Run]:
    """What was chosen from, on validation samples of seed 0."""
    tried = [
        _named(method, lr=lr, warmup=warmup)
        for method in (DENSE, OURS, ADAMW, OURS_ADAMW)
        for lr in RATES["AdamW" if method in (ADAMW, OURS_ADAMW) else "SGD"]
        for warmup in (WARMUPS if method in (DENSE, OURS) else WARMUPS[:1])
    ]
    dense = CHOSEN.get(data, {}).get(DENSE.name, {})
    tried += [_with(l1(p, f"SGD with L1, l1={p:g}"), dense) for p in PENALTIES]
    return [
        replace(_run(data, method, "small", 0), protocol=Protocol("validation")) for method in tried
    ]


def _run(data: str, method: Method, scale: str, seed: int) -> Run:
    fitted = (
        PostHoc(STRENGTHS, FITTED_ON, cut=5, glm_saga=True) if method.name == DENSE.name else None
    )
    length = recipe(data, scale)
    length = length.scaled(TINY) if scale == "tiny" else length
    return Run(data, MODELS[data], method, length, Protocol(post_hoc=fitted), scale, seed)


def _with(method: Method, changes: Choice) -> Method:
    """The method with other settings of the recipe, under its own name."""
    settings = {name: value for name, value in changes.items() if name != "l1"}
    return replace(method, recipe={**method.recipe, **settings})


def _named(method: Method, **changes: Any) -> Method:
    words = [method.name, *(f"{name}={value:g}" for name, value in changes.items())]
    return replace(_with(method, changes), name=", ".join(words))


def main(argv: Sequence[str]) -> int:
    """Train what choices were made from; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments choose-real", description=__doc__)
    parser.add_argument("--data", nargs="+", default=list(MODELS), metavar="NAME[:PATH]")
    parser.add_argument("--out", type=Path, default=Path("runs/real-choices"))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    console, texts = Console(), {text.partition(":")[0]: text for text in args.data}
    if unknown := set(texts) - set(MODELS):
        parser.error(f"--data must be of {', '.join(MODELS)}, got {', '.join(unknown)}")
    environment = Environment(args.out, texts)
    runs = [run for data in texts for run in choices(data)]
    failures = train_all(runs, [environment], console)
    table = plain("accuracy on validation samples, seed 0")
    for name in ("data", "method", "accuracy, %", "weights/class"):
        table.add_column(name)
    for run in runs:
        if (stored := run.stored(environment)) is not None:
            accuracy, weights = stored["validation_accuracy"], stored["weights_per_class"]
            table.add_row(run.data, run.method.name, f"{100 * accuracy:.2f}", f"{weights:.1f}")
    console.print(table)
    for label, text in failures:
        console.print(f"{label} failed: {text}", style="red", markup=False, soft_wrap=True)
    return 1 if failures else 0
