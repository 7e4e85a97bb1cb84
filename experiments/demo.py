"""Train classifiers with SGD and with InterpretableSGD at identical settings, compare, draw, and read.

    python -m experiments demo [--out runs/demo] [--seeds 0 1 2] [--device auto] [--data digits scenes]

Claim, 5 seeds, one CPU thread (docs/results/demo.md): on the scenes (24 classes, 2,000 test images)
InterpretableSGD has 5.0 weights per class against 64, at most .2 % of a score outside its top 5 units, and
1.14 points (standard error 0.29) more test accuracy than SGD. Digits saturate: no evidence.

Same initial weights, batches and schedule for all. Beside them: SGD with an L1 penalty on the head, on
the scenes, and sparse heads fitted on the frozen units of SGD's net. Validation images choose between
each sparse head and its refit, and are looked at after each epoch; nothing else is chosen here, and
test images are read once. A run that has finished is kept: stop with Ctrl-C, repeat the command,
and it goes on with the next one.
"""

from __future__ import annotations

import argparse
import ast
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from experiments import results
from experiments.demo_report import write_reports
from experiments.evaluation import measures
from experiments.figures.accuracy import accuracy
from experiments.figures.convergence import convergence
from experiments.figures.explained import explained
from experiments.figures.heads import heads
from experiments.jobs import Job
from experiments.problems import PROBLEMS
from experiments.tables import pair_lines, run_table
from experiments.threads import threads
from interpretable_sgd import InterpretableSGD

FIGURES = (convergence, accuracy, heads, explained)


def _option(text: str) -> tuple[str, Any]:
    """An option and its value: a Python literal, or else a word."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"must be OPTION=VALUE, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status, 130 after Ctrl-C."""
    args = _parse(argv)
    with threads(args.threads):
        return _demo(args)


def _demo(args: argparse.Namespace) -> int:
    console = Console()
    jobs = [
        Job(PROBLEMS[name].scaled(args.scale), seed, optimizer, args.device, dict(args.set))
        for name in args.data
        for seed in args.seeds
        for optimizer in PROBLEMS[name].contestants
    ]
    start = time.perf_counter()
    records: list[results.Record] = []
    stopped = False
    try:
        for record in _run(jobs, args.out, console):
            records.append(record)
            _summarise(args.out, records, len(jobs), start)
    except KeyboardInterrupt:
        stopped = True
    if records:
        _summarise(args.out, records, len(jobs), start)
        console.print(run_table(records))
        for line in pair_lines(records):
            console.print(line, soft_wrap=True)
        for draw in FIGURES:
            for path in draw(args.out, records):
                console.print(f"wrote {path}", style="dim", soft_wrap=True)
        console.print(f"wrote {args.out / 'summary.json'}", style="dim", soft_wrap=True)
        for path in write_reports(args.out, records, args.scale):
            console.print(f"wrote {path}", soft_wrap=True)
    if stopped:
        console.print(f"stopped: {len(records)} of {len(jobs)} runs kept; repeat to go on")
        return 130
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments demo", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder of results (default runs/demo)"
    )
    parser.add_argument(
        "--seeds",
        "--seed",
        type=int,
        nargs="+",
        default=[0],
        metavar="SEED",
        help="one run of each per seed",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--data",
        nargs="+",
        default=["digits", "scenes"],
        choices=PROBLEMS,
        help="default: digits scenes",
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads (default 1: nets are small)"
    )
    parser.add_argument(
        "--set",
        type=_option,
        nargs="+",
        default=[],
        metavar="OPTION=VALUE",
        help="options of InterpretableSGD that are not to have their defaults, as foresight=0",
    )
    parser.add_argument("--scale", type=float, default=1.0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if min(args.seeds) < 0:
        parser.error(f"--seeds must be at least 0, got {min(args.seeds)}")
    if len(set(args.seeds)) < len(args.seeds) or len(set(args.data)) < len(args.data):
        parser.error("--seeds and --data must not name anything twice")
    if args.threads < 1:
        parser.error(f"--threads must be at least 1, got {args.threads}")
    if args.out.exists() and not args.out.is_dir():
        parser.error(f"--out must be a folder, got the file {args.out}")
    try:
        InterpretableSGD([torch.zeros(1)], **dict(args.set))
    except (TypeError, ValueError) as error:
        parser.error(f"--set: {error}")
    if not 0 < args.scale <= 1:
        parser.error(f"--scale must be in (0, 1], got {args.scale}")
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.device not in ("cpu", "cuda"):
        parser.error(f"--device must be auto, cpu or cuda, got {args.device}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device is cuda, but torch sees no CUDA device")
    return args


def _run(jobs: Sequence[Job], out: Path, console: Console) -> Iterator[results.Record]:
    """Finished runs in order: kept ones as they are, the others trained and stored."""
    columns = (
        "{task.description}",
        "step {task.completed}/{task.total}",
        "loss {task.fields[loss]}",
    )
    with Progress(
        *(TextColumn(text) for text in columns), BarColumn(), TimeRemainingColumn(), console=console
    ) as progress:
        for job in jobs:
            label = f"{job.problem.name}, {job.optimizer}, seed {job.seed}"
            prepared = job.prepare()
            record = results.stored(out, prepared.config)
            if record is None:
                task = progress.add_task(label, total=job.steps, loss="")
                tell = partial(_advance, progress, task)
                record = job.run(prepared, out, tell)
            else:
                progress.console.print(f"{label}: kept from an earlier run")
            yield record


def _advance(progress: Progress, task: TaskID, loss: float) -> None:
    progress.update(task, advance=1, loss=f"{loss:.3f}")


def _summarise(out: Path, records: list[results.Record], planned: int, start: float) -> None:
    seconds = time.perf_counter() - start
    content = results.summary(records, planned, measures.DEFINITIONS, seconds)
    results.write_json(out / "summary.json", content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
