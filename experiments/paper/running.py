"""Train what a table or figure lacks, then show it.

    python -m experiments run table1 [--scale tiny|small|paper|code] [--data places365:/path ...]
        [--devices N] [--seeds 0 1 2] [--out runs/paper]

Stored runs are kept, runs that were cut go on from their checkpoint. Ctrl-C stops after the present step.
Under torchrun, all ranks train each run together.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import torch
from rich.console import Console

from experiments import selection_map, toy
from experiments.evaluation.frozen import MISSING, installed
from experiments.paper import arguments, store
from experiments.paper.catalog import FIGURES, Entry, done, together
from experiments.paper.place import Place
from experiments.paper.planned import DENSE, Planned
from experiments.paper.screen import Screen
from experiments.paper.showing import show
from experiments.paper.workers import one_after_another, side_by_side, stoppable
from experiments.threads import threads
from experiments.training.distributed import Ranks, joined

STOPPED = 130  # exit status after Ctrl-C
WORKERS = {"cpu": 0, "cuda": 4}  # processes that read images, unless it is said how many
PATIENCE = timedelta(hours=12)  # that ranks wait for the first one to judge a net
OWN = {
    "fig2": toy.main,
    "fig3": selection_map.main,
}  # what makes the results of figures without runs


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status: 1 if a run failed, 130 after Ctrl-C."""
    parser = arguments.parser("run", (__doc__ or "").partition("\n")[0])
    arguments.add_names(parser)
    parser.add_argument(
        "--devices",
        type=int,
        default=1,
        help="runs side by side, each on a CUDA device of its own, or on a CPU core (default 1)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--workers", type=int, help="processes a run reads images with (default 0 on CPU, else 4)"
    )
    args = parser.parse_args(argv)
    arguments.check(parser, args)
    entries = arguments.check_names(parser, args)
    _check(parser, args)
    data = arguments.restricted(args.data, entries, args.scale)
    planned = together(entries, args.scale, args.seeds, data)
    device = None if args.device == "auto" else args.device
    with threads(1), joined(device, PATIENCE) as ranks:
        places = _places(args, arguments.sources(args.data, entries, args.scale), ranks)
        _open(parser, planned, places[0])
        return _run(entries, planned, places, args)


def _run(
    entries: Sequence[Entry],
    planned: Sequence[Planned],
    places: Sequence[Place],
    args: argparse.Namespace,
) -> int:
    first = places[0].ranks.first
    console = Console(quiet=not first)
    stopped = False
    for entry in entries if first else ():
        if entry.result and not (args.out / FIGURES / entry.result).exists():
            OWN[entry.name](["--out", str(args.out / FIGURES)])
    with Screen(planned, console) as screen, stoppable():
        try:
            if len(places) == 1:
                one_after_another(planned, places[0], screen.tell)
            else:
                side_by_side(planned, places, screen.tell)
        except KeyboardInterrupt:
            stopped = True
    runs = store.load(args.out)
    if stopped:
        count = f"{done(planned, runs)} of {len(planned)} runs are stored"
        console.print(f"stopped: {count} in {args.out}; the same command goes on", soft_wrap=True)
        return STOPPED
    if not first:
        return 0
    data = arguments.restricted(args.data, entries, args.scale)
    whole = [
        show(console, entry, runs, entry.planned(args.scale, args.seeds, data), args.out)
        for entry in entries
    ]
    if any((run.network, run.method) == DENSE for run in planned) and not installed():
        console.print(MISSING, style="dim", markup=False, soft_wrap=True)
    for label, text in screen.failures:
        console.print(f"{label} failed: {text}", style="red", markup=False, soft_wrap=True)
    return 1 if screen.failures or not all(whole) else 0


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a message unless the devices are there."""
    if args.device not in ("auto", "cpu", "cuda"):
        parser.error(f"--device must be auto, cpu or cuda, got {args.device!r}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device is cuda, but torch sees no CUDA device")
    if args.devices < 1:
        parser.error(f"--devices must be at least 1, got {args.devices}")
    if args.devices > 1 and "RANK" in os.environ:
        parser.error(
            f"--devices must be 1 where torchrun's ranks train each run together, got {args.devices}"
        )
    cuda = args.device != "cpu" and torch.cuda.is_available()
    if cuda and args.devices > torch.cuda.device_count():
        parser.error(
            f"--devices must be at most {torch.cuda.device_count()}, which torch sees, "
            f"got {args.devices}"
        )
    if args.workers is not None and args.workers < 0:
        parser.error(f"--workers must be at least 0, got {args.workers}")


def _places(args: argparse.Namespace, sources: Mapping[str, str], ranks: Ranks) -> list[Place]:
    """One for each run at a time."""
    kind = ranks.device.type
    workers = args.workers if args.workers is not None else WORKERS[kind]
    if kind == "cuda" and ranks.count == 1:
        devices = [f"cuda:{number}" for number in range(args.devices)]
    else:
        devices = [str(ranks.device)] * args.devices
    return [Place(args.out, sources, device, workers, ranks) for device in devices]


def _open(parser: argparse.ArgumentParser, planned: Sequence[Planned], place: Place) -> None:
    """End with a message unless results can be written and all data can be opened."""
    try:
        _writable(place.out)
    except OSError as error:
        parser.error(
            f"--out must be a folder that can be written, got {place.out}: {error.strerror}"
        )
    for run in {(p.data, p.scale): p for p in planned}.values():
        try:
            place.images(run)
        except (ValueError, OSError) as error:
            parser.error(f"--data {place.text(run.data)}: {error}")


def _writable(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    probe = out / f".writable-{os.getpid()}"
    probe.touch()
    probe.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
