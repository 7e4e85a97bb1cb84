"""Runs of many claims: in several processes, with progress, keeping what is finished."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_all_start_methods, get_context

import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from theory.claim import Check, Claim, Verdict
from theory.registry import named
from theory.store import Store

RAISED = "raised "


def check(name: str, quick: bool, seed: int) -> tuple[str, Check, float]:
    """Check one claim, in one thread: its outcome and CPU time. An exception is inconclusive."""
    torch.set_num_threads(1)
    start = time.process_time()
    claim = named([name])[0]
    try:
        outcome = claim.function(quick, seed)
    except Exception as error:
        outcome = Check(float("nan"), 0.0, unclear=f"{RAISED}{type(error).__name__}: {error}")
    return name, outcome, time.process_time() - start


def _outcomes(
    names: list[str], quick: bool, seed: int, jobs: int
) -> Iterator[tuple[str, Check, float]]:
    """Outcomes as they come, from several processes where that pays."""
    if jobs == 1 or len(names) < 4:
        yield from (check(name, quick, seed) for name in names)
        return
    # Importing torch costs seconds; a server imports it once, and its workers are forks of it.
    served = "forkserver" in get_all_start_methods()
    context = get_context("forkserver" if served else "spawn")
    context.set_forkserver_preload(["theory.registry"])
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        # The claims at the end of the list take longest.
        futures = [pool.submit(check, name, quick, seed) for name in reversed(names)]
        try:
            yield from (future.result() for future in as_completed(futures))
        except BaseException:
            # An interrupt does not wait for claims, which may take a minute.
            for worker in active_children():
                worker.terminate()
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
