"""Show tables and figures of stored runs; nothing is trained.

python -m experiments draw fig5 [--scale tiny|small|paper|code] [--out runs/paper]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.paper import arguments, store
from experiments.paper.showing import show


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status: 1 if anything is missing."""
    parser = arguments.parser("draw", (__doc__ or "").partition("\n")[0])
    arguments.add_names(parser)
    args = parser.parse_args(argv)
    arguments.check(parser, args)
    entries = arguments.check_names(parser, args)
    data = arguments.restricted(args.data, entries, args.scale)
    console, runs = Console(), store.load(args.out)
    whole = [
        show(console, entry, runs, entry.planned(args.scale, args.seeds, data), args.out)
        for entry in entries
    ]
    return 0 if all(whole) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
