"""Train classifiers with SGD and with InterpretableSGD at identical settings, compare, draw, and read.

    python -m experiments demo [--out runs/demo] [--seeds 0 1 2] [--device auto] [--data digits scenes]

Claim, 5 seeds, one CPU thread (docs/results/demo.md): on the scenes (24 classes, 2,000 test images)
InterpretableSGD has 5.0 weights per class against 64, at most .2 % of a score outside its top 5 units, and
1.14 points (standard error 0.29) more test accuracy than SGD. Digits saturate: no evidence.

Same initial weights, batches and schedule for all. Beside them: SGD with an L1 penalty on the head, on
the scenes, and sparse heads fitted on the frozen units of SGD's net. Validation images choose between
each sparse head and its refit, and are looked at after each epoch; nothing else is chosen here, and
test images are read once. A run that has finished is kept, one that was cut goes on: stop with Ctrl-C, repeat
the command.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from experiments import demo_report, store
from experiments.arguments import add_device, add_seeds, at_least, device_of, folder
from experiments.evaluation.metrics import DEFINITIONS
from experiments.evaluation.sparse_heads import PostHoc
from experiments.figures import convergence, fig7, frontier, weight_maps
from experiments.figures.series import DENSE as DENSE_SERIES
from experiments.figures.series import OURS as OURS_SERIES
from experiments.launch import train_all
from experiments.methods import DENSE, OURS, Method, check, l1, parse_options
from experiments.models.registry import Model
from experiments.recipes import RECIPES, Recipe
from experiments.run import Environment, Protocol, Run, scaled
from experiments.store import Stored
from experiments.tables import Paired, frame, paired_by_seed, plain

SCALE = "demo"
SHOWN = 8  # test images whose maps are stored, for figures
LOOKED = 150  # validation images with masks, to compare units with while they form
COLUMNS = {
    "test\nacc.": ("accuracy", ".1%"),
    "valid.\nacc.": ("validation_accuracy", ".1%"),
    "weights\n/class": ("weights_per_class", ".1f"),
    "spar-\nsity": ("sparsity", ".1%"),
    "residual\nat 5": ("residual_at_5", ".2%"),
    "steps": ("steps", "d"),
    "sec.": ("seconds", ".0f"),
}


@dataclass(frozen=True)
class Problem:
    """A data set of the demo with its network.

    Attributes:
        name: on the command line.
        model: the network.
        images: to train, validate and test on.
        recipe: how long, at the learning rate chosen for SGD on validation images.
        methods: ways to train it.
    """

    name: str
    model: Model
    images: tuple[int, int, int]
    recipe: Recipe
    methods: tuple[Method, ...] = (DENSE, OURS)

    def data(self, share: float = 1.0) -> str:
        """As a run names it, with fewer images for a quick look at the machinery.

        >>> PROBLEMS["scenes"].data(0.1)
        'scenes:train=500,validation=150,test=200'
        """
        least = 2 * self.recipe.batch
        counts = [n if share == 1 else max(least, round(share * n)) for n in self.images]
        names = zip(("train", "validation", "test"), counts, strict=True)
        return f"{self.name}:" + ",".join(f"{name}={n}" for name, n in names)


# Digits saturate: they test the machinery and say nothing about accuracy.
PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("digits", Model("digits_resnet"), (1083, 359, 355), RECIPES["digits"]["tiny"]),
        Problem(
            "scenes",
            Model("small_resnet"),
            (5000, 1500, 2000),
            Recipe(epochs=8, batch=64, lr=0.2),
            (DENSE, OURS, l1()),
        ),
        Problem("glyphs", Model("glyph_net"), (6000, 1500, 2000), RECIPES["glyphs"]["tiny"]),
    )
}


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status, 130 after Ctrl-C."""
    args = _parse(argv)
    before = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    try:
        return _demo(args)
    finally:
        torch.set_num_threads(before)


def grid(
    data: Sequence[str], seeds: Sequence[int], share: float, options: dict[str, object]
) -> list[Run]:
    """Every method on every data set with every seed; `options` are those of InterpretableSGD."""
    runs = []
    for problem in map(PROBLEMS.__getitem__, data):
        for seed in seeds:
            for method in problem.methods:
                heads = PostHoc() if method == DENSE else None
                protocol = Protocol(looked=LOOKED, curves=True, shown=SHOWN, post_hoc=heads)
                ours = method if method != OURS else replace(OURS, options=options)
                run = Run(
                    problem.data(share), problem.model, ours, problem.recipe, protocol, SCALE, seed
                )
                runs.append(scaled(run, share))
    return runs


def _demo(args: argparse.Namespace) -> int:
    console, environment = Console(), Environment(args.out, device=args.device)
    runs = grid(args.data, args.seeds, args.scale, dict(args.set))
    start, stopped = time.perf_counter(), False
    failures: list[tuple[str, str]] = []
    try:
        failures = train_all(runs, [environment], console)
    except KeyboardInterrupt:
        stopped = True
    finished = [stored for run in runs if (stored := run.stored(environment)) is not None]
    if finished:
        store.write_json(
            args.out / "summary.json", summary(finished, len(runs), time.perf_counter() - start)
        )
        console.print(run_table(finished))
        for line in pair_lines(finished):
            console.print(line, soft_wrap=True)
        paths = [*figures(finished, args.out), args.out / "summary.json"]
        for path in [*paths, *demo_report.write_reports(args.out, finished)]:
            if path.suffix in (".png", ".json", ".html"):
                console.print(f"wrote {path}", style="dim", soft_wrap=True)
    for label, message in failures:
        console.print(f"{label} failed: {message}", style="red", markup=False, soft_wrap=True)
    if stopped:
        console.print(f"stopped: {len(finished)} of {len(runs)} runs kept; repeat to go on")
        return 130
    return 1 if failures else 0


def figures(runs: Sequence[Stored], out: Path) -> list[Path]:
    """Four figures of each data set that has a network of SGD and one of ours."""
    paths = []
    for data in dict.fromkeys(run["data"] for run in runs):
        on_data = [run for run in runs if run["data"] == data]
        if not {DENSE.name, OURS.name} <= {run["method"] for run in on_data}:
            continue
        name, model = data.partition(":")[0], on_data[0]["model"]
        both = (OURS_SERIES, DENSE_SERIES)
        paths += [
            *convergence.convergence(on_data, out, data, SCALE, model, f"convergence-{name}"),
            *frontier.frontier(on_data, out, [data], SCALE, model, f"accuracy-{name}"),
            *weight_maps.heads(on_data, out, data, SCALE, f"heads-{name}", model=model),
            *fig7.fig7(on_data, out, data, SCALE, both, (), model, f"explained-{name}"),
        ]
    return paths


def summary(runs: Sequence[Stored], planned: int, seconds: float) -> store.Record:
    """The content of summary.json: runs without their curves, paired differences, definitions.

    Args:
        runs: finished ones.
        planned: how many were asked for; `complete` says whether all are there.
        seconds: of the whole command, resumed runs not counted.
    """
    curves = ("epochs", "curves", "accuracy_at_weights", "sparse_heads")
    content = {
        "complete": len(runs) == planned,
        "definitions": DEFINITIONS,
        "runs": [{k: v for k, v in run.record.items() if k not in curves} for run in runs],
        "paired_difference_of_accuracy": {
            data: pair._asdict() for data, pair in pairs(runs).items() if pair is not None
        },
        "seconds": seconds,
    }
    return {**content, "hash": store.digest(content)}


def pairs(runs: Sequence[Stored]) -> dict[str, Paired | None]:
    """Per data set, InterpretableSGD's accuracy minus SGD's over the seeds that both have finished."""
    rows = frame(runs)
    differences = {}
    for data, own in rows.groupby("data", sort=False):
        ours, dense = (own[own["method"] == method.name] for method in (OURS, DENSE))
        differences[str(data)] = paired_by_seed(ours, dense, "accuracy")
    return differences


def run_table(runs: Sequence[Stored]) -> Table:
    """One row per run."""
    sizes = {run["data"].partition(":")[0]: run["n"]["test"] for run in runs}
    table = plain("test images: " + ", ".join(f"{data} {n}" for data, n in sizes.items()))
    for name in ("data", "optimizer", "seed", *COLUMNS):
        table.add_column(name, justify="left" if name in ("data", "optimizer") else "right")
    for run in runs:
        cells = [format(run[key], form) for key, form in COLUMNS.values()]
        table.add_row(run["data"].partition(":")[0], run["method"], str(run["seed"]), *cells)
    return table


def pair_lines(runs: Sequence[Stored]) -> list[str]:
    """Per data set, the paired difference of test accuracy with its interval and n."""
    lines = []
    for data, pair in pairs(runs).items():
        if pair is not None:
            spread = "one seed, no interval" if pair.half_width is None else "95 % interval"
            lines.append(
                f"{data.partition(':')[0]}: {OURS.name} minus {DENSE.name}, test accuracy "
                f"{pair.text(100)} points ({spread}, n = {pair.n})"
            )
    return lines


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments demo", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--out", type=folder, default=Path("runs/demo"), help="folder of results")
    add_seeds(parser, [0], "one run of each method for each seed")
    add_device(parser)
    parser.add_argument(
        "--data",
        nargs="+",
        default=["digits", "scenes"],
        choices=PROBLEMS,
        help="default: digits scenes",
    )
    parser.add_argument("--threads", type=at_least(1), default=1, help="of the CPU: nets are small")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="OPTION=VALUE",
        help="options of InterpretableSGD that are not to have their defaults, as block_size=3",
    )
    parser.add_argument("--scale", type=float, default=1.0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        args.set = parse_options(args.set)
        check(replace(OURS, options=args.set))
    except (TypeError, ValueError) as error:
        parser.error(f"--set: {error}")
    if not 0 < args.scale <= 1:
        parser.error(f"--scale must be in (0, 1], got {args.scale}")
    args.data = list(dict.fromkeys(args.data))
    args.device = device_of(parser, args)
    return args
