"""The commands `list`, `run` and `draw`: what there is, training what a table or figure lacks, showing it."""

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape

from experiments import selection_map, store, toy
from experiments.arguments import add_device, add_seeds, at_least, device_of, folder
from experiments.datasets.registry import availability
from experiments.datasets.spec import DataError
from experiments.evaluation.sparse_heads import MISSING, glm_saga_installed
from experiments.launch import train_all
from experiments.methods import parse_options
from experiments.paper import catalog
from experiments.paper.catalog import (
    CATALOG,
    FIGURES,
    TABLES,
    Entry,
    Missing,
    chosen,
    done,
    of_classes,
    together,
)
from experiments.recipes import SCALES
from experiments.run import CONCEPTS, Environment, Run, data_scale
from experiments.tables import ResultTable, plain
from experiments.training.distributed import Ranks, joined

OUT = Path("runs/paper")
STOPPED = 130  # exit status after Ctrl-C
WORKERS = {"cpu": 0, "cuda": 4}  # processes that read images, unless it is said how many
PATIENCE = timedelta(hours=12)  # that ranks wait for the first one to evaluate a network
# what makes the results of figures without runs
OWN = {"fig1": selection_map.main, "fig2": toy.main, "fig3": selection_map.main}
# CPU seconds of one run, evaluation included, one thread of an AMD EPYC on a busy machine, torch 2.14.1
MEASURED = {
    ("tiny", "cifar10", "resnet18"): 5.4,
    ("tiny", "cifar10", "resnet50"): 11.3,
    ("tiny", "places365", "resnet18"): 6.3,
    ("tiny", "places365", "resnet50"): 11.3,
    ("tiny", "scenes:size=24,classes=8,concepts=8,train=560", "resnet18"): 6.2,
    ("tiny", "scenes:size=64,classes=8,concepts=8,train=240", "resnet18"): 13.4,
    ("tiny", "scenes:size=128,classes=8,concepts=8,train=400", "resnet18"): 9.5,
}


def list_main(argv: Sequence[str]) -> int:
    """Show every table and figure, its data and cost and how much is stored, and which data are at hand."""
    parser = _parser("list", list_main.__doc__ or "")
    parser.add_argument("--data", nargs="+", default=[], metavar="NAME:PATH", help="where data lie")
    args = parser.parse_args(argv)
    console, runs = Console(), store.load(args.out)
    table = plain(
        f"scale {args.scale}, results in {args.out}", "runs that several share are trained once"
    )
    for name in ("name", "what it shows", "data", "runs x\nepochs", "core-\nminutes", "stored"):
        table.add_column(name, no_wrap=name != "what it shows")
    for entry in CATALOG.values():
        planned = entry.planned(args.scale)
        there = f"{done(planned, runs)} of {len(planned)}"
        if entry.result:
            there = "yes" if (args.out / FIGURES / entry.result).exists() else "no"
        data = _names(entry.data(args.scale))
        shows = f"{entry.where}: {entry.title}"
        table.add_row(entry.name, shows, data, *costs(planned), there)
    console.print(table)
    at_hand = plain("data")
    at_hand.add_column("name", no_wrap=True)
    at_hand.add_column("where it is")
    texts = {text.partition(":")[0]: text for text in args.data}
    for name, where in availability(texts, data_scale(args.scale)).items():
        at_hand.add_row(name, escape(where))
    console.print(at_hand)
    return 0


def run_main(argv: Sequence[str]) -> int:
    """Train what a table or figure lacks, then show it; 1 if a run failed, 130 after Ctrl-C.

    Stored runs are kept, runs that were cut go on from their checkpoint. Ctrl-C stops after the present step.
    Under torchrun, all ranks train each run together.
    """
    parser = _parser("run", run_main.__doc__ or "")
    _add_names(parser)
    parser.add_argument(
        "--devices",
        type=at_least(1),
        default=1,
        help="runs side by side, each on a CUDA device of its own, or on a CPU core (default 1)",
    )
    add_device(parser)
    parser.add_argument(
        "--workers",
        type=at_least(0),
        help="processes a run reads images with (default 0 on CPU, else 4)",
    )
    parser.add_argument(
        "--recipe",
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help="what of the recipes is to be otherwise: epochs, batch, lr, warmup, precision=bfloat16, "
        "accumulate=2, ema=0.999, compiled=True ...",
    )
    args = parser.parse_args(argv)
    entries = _entries(parser, args)
    _check_devices(parser, args)
    data = restricted(args.data, entries, args.scale)
    planned = together(entries, args.scale, args.seeds, data)
    try:
        changes = parse_options(args.recipe)
        planned = [catalog.with_recipe(run, changes) for run in planned]
    except (TypeError, ValueError) as error:
        parser.error(f"--recipe: {error}")
    torch.set_num_threads(1)
    with joined(None if args.device == "auto" else args.device, PATIENCE) as ranks:
        environments = _environments(args, sources(args.data, entries, args.scale), ranks)
        console = Console(quiet=not ranks.first)
        there = _opened(parser, planned, environments[0], console)
        return _run(entries, planned, there, environments, args, console)


def draw_main(argv: Sequence[str]) -> int:
    """Show tables and figures of stored runs; nothing is trained; 1 if anything is missing."""
    parser = _parser("draw", draw_main.__doc__ or "")
    _add_names(parser)
    args = parser.parse_args(argv)
    entries = _entries(parser, args)
    return 0 if _show_all(Console(), entries, args) else 1


def _run(
    entries: Sequence[Entry],
    planned: Sequence[Run],
    there: Sequence[Run],
    environments: Sequence[Environment],
    args: argparse.Namespace,
    console: Console,
) -> int:
    first = environments[0].ranks.first
    for entry in entries if first else ():
        if entry.result and not (args.out / FIGURES / entry.result).exists():
            OWN[entry.name](["--out", str(args.out / FIGURES)])
    try:
        failures = train_all(there, environments, console)
    except KeyboardInterrupt:
        count = f"{done(planned, store.load(args.out))} of {len(planned)} runs are stored"
        console.print(f"stopped: {count} in {args.out}; the same command goes on", soft_wrap=True)
        return STOPPED
    if not first:
        return 0
    complete = _show_all(console, entries, args)
    if any(run.protocol.post_hoc for run in planned) and not glm_saga_installed():
        console.print(MISSING, style="dim", markup=False, soft_wrap=True)
    for label, text in failures:
        console.print(f"{label} failed: {text}", style="red", markup=False, soft_wrap=True)
    return 1 if failures or not complete else 0


def _show_all(console: Console, entries: Sequence[Entry], args: argparse.Namespace) -> bool:
    """Whether nothing was missing."""
    data, runs = restricted(args.data, entries, args.scale), store.load(args.out)
    return all(
        [
            show(console, entry, runs, entry.planned(args.scale, args.seeds, data), args.out)
            for entry in entries
        ]
    )


def show(
    console: Console, entry: Entry, runs: Sequence[store.Stored], planned: Sequence[Run], out: Path
) -> bool:
    """Make an entry and say what came of it: tables are printed and written, figures named; whether all was there."""
    complete = True
    for made in catalog.make(entry, runs, planned, out):
        path = made
        if isinstance(made, Missing):
            complete = False
            console.print(made.message, highlight=False, markup=False, soft_wrap=True)
            continue
        if isinstance(made, ResultTable):
            console.print(made.drawn(console.width))
            path = made.write(out / TABLES)
        console.print(f"wrote {path}", style="dim", highlight=False, soft_wrap=True)
    return complete


def costs(planned: Sequence[Run]) -> tuple[str, str]:
    """Runs x epochs, and minutes on one core where each run's were measured, in words.

    >>> costs([])
    ('none', '0')
    """
    runs = Counter(run.recipe.epochs for run in planned)
    lengths = " + ".join(f"{count} x {length}" for length, count in sorted(runs.items()))
    seconds = [MEASURED.get((run.scale, run.data, run.model.name)) for run in planned]
    known = [each for each in seconds if each is not None]
    minutes = f"{sum(known) / 60:.0f}" if len(known) == len(seconds) else "?"
    return lengths or "none", minutes


def known_data(entries: Sequence[Entry], scale: str) -> list[str]:
    """Data sets of some entries: their texts, and their names without options."""
    texts = list(dict.fromkeys(text for entry in entries for text in entry.data(scale)))
    return list(dict.fromkeys(name for text in texts for name in (text.partition(":")[0], text)))


def restricted(data: Sequence[str], entries: Sequence[Entry], scale: str) -> list[str]:
    """What of `--data` names data sets of the entries, without paths."""
    known = known_data(entries, scale)
    return [text if text in known else text.partition(":")[0] for text in data]


def sources(data: Sequence[str], entries: Sequence[Entry], scale: str) -> dict[str, str]:
    """Where data lies that is not to be drawn or stood in for, by name."""
    known = known_data(entries, scale)
    elsewhere = [t for t in data if t == CONCEPTS or (":" in t and t not in known)]
    return {text.partition(":")[0]: text for text in elsewhere}


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    """With what all three commands know: the scale and the folder of results."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments {command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="tiny",
        help="how large data, networks and runs are (default tiny)",
    )
    parser.add_argument(
        "--out", type=folder, default=OUT, help=f"folder of results (default {OUT})"
    )
    return parser


def _add_names(parser: argparse.ArgumentParser) -> None:
    """Which tables and figures, on which of their data."""
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"all, {', '.join(CATALOG)}")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME[:PATH]",
        help="only these of its data sets, and where they lie; broden:PATH labels units",
    )
    parser.add_argument(
        "--classes", nargs="+", default=[], metavar="CLASS", help="that Figure 6 shows"
    )
    add_seeds(parser, None, "default: the scale's, two or three")


def _entries(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[Entry]:
    """The entries named, or an end with a message; data and seeds are checked too."""
    try:
        entries = [of_classes(entry, args.classes) for entry in chosen(args.names)]
    except ValueError as error:
        parser.error(str(error))
    known = known_data(entries, args.scale)
    for text in args.data:
        name = text.partition(":")[0]
        if text not in known and name not in (*known, CONCEPTS):
            parser.error(f"--data must be of {', '.join((*known, CONCEPTS))}, got {text!r}")
    named = [text for text in args.data if ":" not in text or text not in known]
    names = [text.partition(":")[0] for text in named]
    if len(set(names)) < len(names):
        parser.error(f"--data must not name a data set twice, got {' '.join(args.data)}")
    return entries


def _check_devices(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a message unless the devices are there."""
    kind, many = device_of(parser, args), torch.cuda.device_count()
    if args.devices > 1 and "RANK" in os.environ:
        parser.error(
            f"--devices must be 1 where torchrun's ranks train each run together, got {args.devices}"
        )
    if kind == "cuda" and args.devices > many:
        parser.error(f"--devices must be at most {many}, which torch sees, got {args.devices}")


def _environments(
    args: argparse.Namespace, elsewhere: Mapping[str, str], ranks: Ranks
) -> list[Environment]:
    """One for each run at a time."""
    kind = ranks.device.type
    workers = args.workers if args.workers is not None else WORKERS[kind]
    if kind == "cuda" and ranks.count == 1:
        devices = [f"cuda:{number}" for number in range(args.devices)]
    else:
        devices = [str(ranks.device)] * args.devices
    return [Environment(args.out, elsewhere, device, workers, ranks) for device in devices]


def _opened(
    parser: argparse.ArgumentParser,
    planned: Sequence[Run],
    environment: Environment,
    console: Console,
) -> list[Run]:
    """The runs whose data are there; ends with a message if none are, or what a user named cannot be opened.

    Data that is nobody's to name and is not at hand skips its rows, and what is missing is said.
    """
    try:
        _writable(environment.out)
    except OSError as error:
        parser.error(
            f"--out must be a folder that can be written, got {environment.out}: {error.strerror}"
        )
    missing: dict[str, str] = {}
    for run in {(run.data, run.scale): run for run in planned}.values():
        text = environment.text(run.data)
        try:
            environment.data(run)
        except (ValueError, OSError) as error:
            if not isinstance(error, DataError) or ":" in text:
                parser.error(f"--data {text}: {error}")
            missing[run.data] = f"{text}: {error}"
    there = [run for run in planned if run.data not in missing]
    if missing and not there:
        parser.error("; ".join(f"--data {message}" for message in missing.values()))
    for message in missing.values():
        console.print(f"skipped {message}", highlight=False, markup=False, soft_wrap=True)
    return there


def _writable(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    probe = out / f".writable-{os.getpid()}"
    probe.touch()
    probe.unlink(missing_ok=True)


def _names(texts: Sequence[str]) -> str:
    """Names of data, and how many variants of each where there are several."""
    counts = Counter(text.partition(":")[0] for text in texts)
    return "\n".join(name if n == 1 else f"{name}, {n} sizes" for name, n in counts.items())
