"""Show every table and figure: its data, what it costs, and how much of it is stored.

python -m experiments list [--scale tiny|small|paper|code] [--out runs/paper]
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.paper import arguments, store
from experiments.paper.catalog import CATALOG, FIGURES, Entry, done
from experiments.paper.costs import spoken
from experiments.paper.planned import Planned
from experiments.paper.tables.sheet import plain

COLUMNS = ("name", "what it shows", "data", "runs x\nepochs", "core-\nminutes", "stored")


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = arguments.parser("list", (__doc__ or "").partition("\n")[0])
    args = parser.parse_args(argv)
    arguments.check(parser, args)
    runs = store.load(args.out)
    title = f"scale {args.scale}, results in {args.out}"
    table = plain(title, "runs that several share are trained once")
    for name in COLUMNS:
        table.add_column(name, no_wrap=name != "what it shows")
    for entry in CATALOG.values():
        planned = entry.planned(args.scale)
        table.add_row(
            entry.name,
            f"{entry.where}: {entry.title}",
            _data(entry.data(args.scale)),
            *spoken(planned),
            _stored(entry, planned, runs, args.out),
        )
    Console().print(table)
    return 0


def _data(texts: Sequence[str]) -> str:
    """Names, and how many variants of each where there are several."""
    counts = Counter(text.partition(":")[0] for text in texts)
    return "\n".join(name if n == 1 else f"{name}, {n} sizes" for name, n in counts.items())


def _stored(
    entry: Entry, planned: Sequence[Planned], runs: Sequence[store.Stored], out: Path
) -> str:
    if entry.result:
        return "yes" if (out / FIGURES / entry.result).exists() else "no"
    return f"{done(planned, runs)} of {len(planned)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
