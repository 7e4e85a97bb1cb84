"""Train classifiers with SGD and with InterpretableSGD at identical settings, compare, draw, and read.

    python -m experiments demo [--out runs/demo] [--seeds 0 1 2] [--device auto] [--data digits scenes fashion:PATH]

Scenes show two or three of sixteen shapes on 48 x 48 pixels, and their report outlines where the shapes are. What came
of it, with seeds and hardware: docs/results/demo.md. Digits saturate: no evidence.

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
        images: to train, validate and test on; None for pictures on disk, which are what they are.
        recipe: how long, at the learning rate chosen for SGD on validation images.
        methods: ways to train it.
        options: of drawn data.
    """

    name: str
    model: Model
    images: tuple[int, int, int] | None
    recipe: Recipe
    methods: tuple[Method, ...] = (DENSE, OURS)
    options: str = ""

    def data(self, share: float = 1.0) -> str:
        """As a run names it, with fewer images for a quick look at the machinery.

        >>> PROBLEMS["scenes"].data(0.1)
        'scenes:size=48,noise=0.05,clutter=2,train=300,validation=128,test=128'
        """
        if self.images is None:
            return self.name
        least = 2 * self.recipe.batch
        counts = [n if share == 1 else max(least, round(share * n)) for n in self.images]
        names = zip(("train", "validation", "test"), counts, strict=True)
        return f"{self.name}:{self.options}" + ",".join(f"{name}={n}" for name, n in names)


# Digits saturate: they test the machinery and say nothing about accuracy.
PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("digits", Model("digits_resnet"), (1083, 359, 355), RECIPES["digits"]["tiny"]),
        Problem(
            "scenes",
            Model("small_resnet", {"strides": (2, 2, 2)}),
            (3000, 1000, 1000),
            Recipe(epochs=8, batch=64, lr=0.2, channels_last=True),
            (DENSE, OURS, l1()),
            "size=48,noise=0.05,clutter=2,",
        ),
        Problem("glyphs", Model("glyph_net"), (6000, 1500, 2000), RECIPES["glyphs"]["tiny"]),
        *(
            Problem(
                name,
                Model("small_resnet", {"strides": (2, 2, 2)}),
                None,
                replace(RECIPES[name]["tiny"], epochs=2, channels_last=True),
            )
            for name in ("fashion", "mnist")
        ),
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
    """Every method on every data set, by name, with every seed; `options` are those of InterpretableSGD."""
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
    named = {text.partition(":")[0]: text for text in args.data}
    console, environment = Console(), Environment(args.out, named, args.device)
    runs = grid(list(named), args.seeds, args.scale, dict(args.set))
    try:
        for run in runs:
            environment.data(run)
    except (ValueError, OSError) as error:
        console.print(f"--data: {error}", style="red", markup=False, soft_wrap=True)
        return 2
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
        for path in [*paths, *demo_report.write_reports(environment, finished)]:
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


def _problem(text: str) -> str:
    name = text.partition(":")[0]
    if name not in PROBLEMS or (text != name and PROBLEMS[name].images):
        known = ", ".join(n if p.images else f"{n}:PATH" for n, p in PROBLEMS.items())
        raise argparse.ArgumentTypeError(f"must be of {known}, got {text!r}")
    return text


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
        type=_problem,
        metavar="NAME[:PATH]",
        help=f"of {', '.join(PROBLEMS)}; the last two need a path (default: digits scenes)",
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
