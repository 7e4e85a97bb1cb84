"""What `list`, `run` and `draw` are told, checked at the door."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.paper.catalog import CATALOG, Entry, chosen
from experiments.paper.grids import CONCEPTS
from experiments.paper.recipes import SCALES

OUT = Path("runs/paper")


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """With what all three commands know: the scale and the folder of results."""
    made = argparse.ArgumentParser(prog=f"python -m experiments {command}", description=description)
    made.add_argument(
        "--scale",
        default="tiny",
        help=f"{', '.join(SCALES)} (default tiny): how large data, nets and runs are",
    )
    made.add_argument("--out", type=Path, default=OUT, help=f"folder of results (default {OUT})")
    return made


def add_names(made: argparse.ArgumentParser) -> None:
    """Which tables and figures, on which of their data."""
    made.add_argument("names", nargs="+", metavar="NAME", help=f"all, {', '.join(CATALOG)}")
    made.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME[:PATH]",
        help="only these of its data sets, and where they lie; broden:PATH labels units",
    )
    made.add_argument(
        "--seeds", type=int, nargs="+", metavar="SEED", help="default: the scale's, two or three"
    )


def check(made: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a message unless the scale and the folder will do."""
    if args.scale not in SCALES:
        made.error(f"--scale must be one of {', '.join(SCALES)}, got {args.scale!r}")
    if args.out.exists() and not args.out.is_dir():
        made.error(f"--out must be a folder, got the file {args.out}")


def check_names(made: argparse.ArgumentParser, args: argparse.Namespace) -> list[Entry]:
    """The entries named, or an end with a message; data and seeds are checked too."""
    try:
        entries = chosen(args.names)
    except ValueError as error:
        made.error(str(error))
    if args.seeds and (min(args.seeds) < 0 or len(set(args.seeds)) < len(args.seeds)):
        made.error(f"--seeds must be different numbers of at least 0, got {args.seeds}")
    known = known_data(entries, args.scale)
    for text in args.data:
        name = text.partition(":")[0]
        if text not in known and name not in (*known, CONCEPTS):
            made.error(f"--data must be of {', '.join((*known, CONCEPTS))}, got {text!r}")
    whole = [text for text in args.data if ":" not in text or text not in known]
    names = [text.partition(":")[0] for text in whole]
    if len(set(names)) < len(names):
        made.error(f"--data must not name a data set twice, got {' '.join(args.data)}")
    return entries


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
