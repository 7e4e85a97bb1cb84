"""`python -m theory`: check every claim, print one table, write theory.json and the plots.

    python -m theory                 all claims, at most 10 minutes on 2 cores
    python -m theory --quick         at most 90 seconds
    python -m theory eq6 ce1         these claims
    python -m theory --document      put the table of the last run into docs/theory.md
    python -m theory resnet --help   descriptive slopes of ResNets

Exit status 1 if a verdict differs from the one that the documentation claims. Finished claims are
kept in --out: the same command continues where it was stopped.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from theory import document, figures, resnet, table
from theory.registry import CLAIMS, named
from theory.results import Store, config, to_json
from theory.verdicts import Check, Claim, Verdict

RAISED = "raised "


def check(name: str, quick: bool, seed: int) -> tuple[str, Check, float]:
    """Check one claim, in this process and one thread; an exception leaves it inconclusive."""
    torch.set_num_threads(1)
    start = time.monotonic()
    claim = named([name])[0]
    try:
        outcome = claim.function(quick, seed)
    except Exception as error:
        outcome = Check(float("nan"), 0.0, unclear=f"{RAISED}{type(error).__name__}: {error}")
    return name, outcome, time.monotonic() - start


def _outcomes(
    names: list[str], quick: bool, seed: int, jobs: int
) -> Iterator[tuple[str, Check, float]]:
    """Outcomes as they come, from several processes where that pays."""
    if jobs == 1 or len(names) < 4:
        yield from (check(name, quick, seed) for name in names)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        # The claims at the end of the list take longest.
        futures = [pool.submit(check, name, quick, seed) for name in reversed(names)]
        try:
            yield from (future.result() for future in as_completed(futures))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def verdicts(
    claims: list[Claim], store: Store, console: Console, quick: bool, seed: int, jobs: int
) -> list[Verdict]:
    """Check what is not finished, with progress, and store each claim as it finishes."""
    done = {c.name: v for c in claims if (v := store.load(c)) is not None}
    missing = [claim.name for claim in claims if claim.name not in done]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        total = len(claims)
        task = progress.add_task(f"{len(done)} of {total} claims", total=total)
        for name, outcome, seconds in _outcomes(missing, quick, seed, jobs):
            done[name] = Verdict(named([name])[0], outcome, seconds)
            if not outcome.unclear.startswith(RAISED):
                store.save(done[name])
            progress.update(task, description=f"{len(done)} of {total} claims; last: {name}")
    return [done[claim.name] for claim in claims]


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
    if argv[:1] == ["resnet"]:
        return int(resnet.main(argv[1:]) or 0)
    arguments = parser()
    options = arguments.parse_args(argv)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    if options.list:
        for claim in CLAIMS:
            console.print(f"{claim.name:24s} {claim.source:20s} {claim.statement}", markup=False)
        return 0
    if options.document:
        document.write(options.out / "theory.json")
        return 0
    try:
        claims = named(options.names)
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
    whole = len(claims) == len(CLAIMS)
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
    sys.exit(main(sys.argv[1:]))
