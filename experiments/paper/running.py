"""Train what a table or figure lacks, then show it.

    python -m experiments run table1 [--scale tiny|small|paper|code] [--data places365:/path ...]
        [--devices N] [--seeds 0 1 2] [--out runs/paper]

Stored runs are kept, runs that were cut go on from their checkpoint. Ctrl-C stops after the present step.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from experiments import selection_map, toy
from experiments.paper import arguments, store
from experiments.paper.catalog import FIGURES, Entry, done, together
from experiments.paper.frozen import MISSING, installed
from experiments.paper.place import Place
from experiments.paper.planned import Planned
from experiments.paper.runs import FROZEN
from experiments.paper.screen import Screen
from experiments.paper.showing import show
from experiments.paper.workers import one_after_another, side_by_side

STOPPED = 130  # exit status after Ctrl-C
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
    places = _places(parser, args, entries)
    planned = together(
        entries,
        args.scale,
        args.seeds,
        arguments.restricted(args.data, entries, args.scale),
    )
    _open(parser, planned, places[0])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _run(entries, planned, places, args)
    finally:
        torch.set_num_threads(threads)


def _run(
    entries: Sequence[Entry],
    planned: Sequence[Planned],
    places: Sequence[Place],
    args: argparse.Namespace,
) -> int:
    console = Console()
    stopped = False
    for entry in entries:
        if entry.result and not (args.out / FIGURES / entry.result).exists():
            OWN[entry.name](["--out", str(args.out / FIGURES)])
    with Screen(planned, console) as screen:
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
    data = arguments.restricted(args.data, entries, args.scale)
    whole = [
        show(console, entry, runs, entry.planned(args.scale, args.seeds, data), args.out)
        for entry in entries
    ]
    if any((run.network, run.method) == FROZEN for run in planned) and not installed():
        console.print(MISSING, style="dim", soft_wrap=True)
    for label, text in screen.failures:
        console.print(f"{label} failed: {text}", style="red", markup=False, soft_wrap=True)
    return 1 if screen.failures or not all(whole) else 0


def _places(
    parser: argparse.ArgumentParser, args: argparse.Namespace, entries: Sequence[Entry]
) -> list[Place]:
    cuda = torch.cuda.is_available()
    if args.device not in ("auto", "cpu", "cuda"):
        parser.error(f"--device must be auto, cpu or cuda, got {args.device!r}")
    if args.device == "cuda" and not cuda:
        parser.error("--device is cuda, but torch sees no CUDA device")
    kind = args.device if args.device != "auto" else "cuda" if cuda else "cpu"
    if args.devices < 1:
        parser.error(f"--devices must be at least 1, got {args.devices}")
    if kind == "cuda" and args.devices > torch.cuda.device_count():
        parser.error(
            f"--devices must be at most {torch.cuda.device_count()}, which torch sees, "
            f"got {args.devices}"
        )
    if args.workers is not None and args.workers < 0:
        parser.error(f"--workers must be at least 0, got {args.workers}")
    workers = args.workers if args.workers is not None else 0 if kind == "cpu" else 4
    sources = arguments.sources(args.data, entries, args.scale)
    names = [f"cuda:{i}" if kind == "cuda" else "cpu" for i in range(args.devices)]
    return [Place(args.out, sources, name, workers) for name in names]


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
    probe = out / ".writable"
    probe.touch()
    probe.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
