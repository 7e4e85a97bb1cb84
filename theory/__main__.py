"""`python -m theory`: check every claim, print one table, write theory.json and the plots.

    python -m theory                 all claims, at most 10 minutes on 2 cores
    python -m theory --quick         at most 90 seconds
    python -m theory eq6 ce1         these claims
    python -m theory --document      put the table of the last run into docs/theory.md
    python -m theory gallery         a picture of trajectories on textbook surfaces
    python -m theory resnet --help   descriptive slopes of ResNets

Exit status 1 if a verdict differs from the one that the documentation claims. Finished claims are
kept in --out: the same command continues where it was stopped.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from rich.console import Console

from theory import figures, gallery, registry, report, resnet, table
from theory.claim import Claim
from theory.runner import verdicts
from theory.store import Store, config, to_json


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    arguments = argparse.ArgumentParser("python -m theory", description=__doc__.split("\n")[0])
    arguments.add_argument("names", nargs="*", metavar="NAME", help="claims; default: all")
    arguments.add_argument("--quick", action="store_true", help="smaller runs, 90 seconds")
    arguments.add_argument("--seed", type=int, default=0, help="of every random draw")
    arguments.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    arguments.add_argument("--out", type=Path, default=Path("runs/theory"), help="results")
    arguments.add_argument("--list", action="store_true", help="names and statements of claims")
    arguments.add_argument("--no-figures", action="store_true", help="leave out the plots")
    arguments.add_argument(
        "--document", action="store_true", help="put OUT/theory.json into docs/theory.md, and stop"
    )
    return arguments


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    if argv[:1] in (["resnet"], ["gallery"]):
        command = resnet.main if argv[0] == "resnet" else gallery.main
        return command(argv[1:])
    arguments = parser()
    options = arguments.parse_args(argv)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    if options.list:
        for claim in registry.CLAIMS:
            console.print(f"{claim.name:24s} {claim.source:20s} {claim.statement}", markup=False)
        return 0
    if options.document:
        report.write(options.out / "theory.json")
        return 0
    try:
        claims = registry.named(options.names)
    except KeyError as unknown:
        arguments.error(f"no claim is named {unknown.args[0]!r}; --list shows the names")
    if options.jobs < 1:
        arguments.error(f"--jobs must be at least 1, got {options.jobs}")
    return _run(claims, options, console)


def _run(claims: list[Claim], options: argparse.Namespace, console: Console) -> int:
    start, settings = time.monotonic(), config(options.quick, options.seed)
    store = Store(options.out, settings)
    found = verdicts(claims, store, console, options.quick, options.seed, options.jobs)
    text = to_json(found, settings)
    whole = len(claims) == len(registry.CLAIMS)
    if whole:
        (options.out / "theory.json").write_text(text + "\n")
    console.print(table.terminal(json.loads(text)["verdicts"]))
    if whole and not options.no_figures:
        for path in figures.draw(options.out, options.quick, options.seed):
            console.print(f"wrote {path}", markup=False)
    differing = [verdict.claim.name for verdict in found if not verdict.as_documented]
    seconds = time.monotonic() - start
    console.print(
        f"{len(found)} claims in {seconds:.0f} s; "
        + (
            f"differ from the documentation: {', '.join(differing)}"
            if differing
            else "all as documented"
        )
        + (f"; wrote {options.out / 'theory.json'}" if whole else ""),
        markup=False,
    )
    return 1 if differing else 0


if __name__ == "__main__":
    # As after an interrupt, no worker must outlive the command.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
