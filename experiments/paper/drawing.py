"""Show tables and figures of stored runs; nothing is trained.

python -m experiments draw fig5 [--scale tiny|small|paper|code] [--out runs/paper]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.paper import arguments, store
from experiments.paper.catalog import done, make
from experiments.paper.showing import show


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status: 1 if there is nothing to draw from."""
    parser = arguments.parser("draw", (__doc__ or "").partition("\n")[0])
    arguments.add_names(parser)
    args = parser.parse_args(argv)
    arguments.check(parser, args)
    entries = arguments.check_names(parser, args)
    data = arguments.restricted(args.data, entries, args.scale)
    console, runs, empty = Console(), store.load(args.out), 0
    for entry in entries:
        planned = entry.planned(args.scale, args.seeds, data)
        if planned and not done(planned, runs):
            empty += 1
            console.print(
                f"{entry.name}: none of its {len(planned)} runs at scale {args.scale} is in {args.out}; "
                f"python -m experiments run {entry.name} trains them",
                soft_wrap=True,
            )
        else:
            show(console, make(entry, runs, planned, args.out), args.out / "tables")
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
