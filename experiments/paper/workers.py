"""Runs one after another in this process, or side by side in processes of their own, a device for each.

Ctrl-C in a terminal reaches every process. A worker at training ends its step, writes a checkpoint and
stops; one that judges a net finishes that. So outside training a signal is noted, never raised.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch

from experiments.paper.place import Place
from experiments.paper.planned import Planned
from experiments.paper.runs import Run
from experiments.training.loop import Progress
from experiments.training.signals import SIGNALS

EVERY = 0.5  # seconds between reports of a run's progress


class Event(NamedTuple):
    """What happened to a run.

    Attributes:
        kind: "step", "trained", "kept" from before, "failed" or "stopped".
        run: its number in the list; -1 where no run was at work.
        step: done.
        steps: of the whole run.
        text: the loss, or what went wrong.
    """

    kind: str
    run: int
    step: int = 0
    steps: int = 0
    text: str = ""


Tell = Callable[[Event], None]


def one_after_another(planned: Sequence[Planned], place: Place, tell: Tell) -> None:
    """Train what is not stored, in this process.

    Raises:
        KeyboardInterrupt: somebody asked to stop.
    """
    for number, run in enumerate(planned):
        attempt(number, run, place, tell)


def attempt(number: int, planned: Planned, place: Place, tell: Tell) -> None:
    """Train a run unless it is stored; what goes wrong is told, and is no reason to stop."""
    last = 0.0

    def report(at: Progress) -> None:
        nonlocal last
        if time.monotonic() - last > EVERY or at.step == at.steps:
            last = time.monotonic()
            tell(Event("step", number, at.step, at.steps, f"{at.loss():.3f}"))

    try:
        run = Run(planned, place, place.images(planned))
        kept = run.stored() is not None
        if not kept:
            run.train(report)
    except Exception as error:
        if place.ranks.count > 1:
            raise  # the others are at some point of this run, and must hear of it
        tell(Event("failed", number, text=f"{type(error).__name__}: {error}"))
    else:
        tell(Event("kept" if kept else "trained", number))


def side_by_side(planned: Sequence[Planned], places: Sequence[Place], tell: Tell) -> None:
    """Train what is not stored, in as many processes as there are places.

    Raises:
        KeyboardInterrupt: somebody asked to stop; every process has.
    """
    context = multiprocessing.get_context("spawn")
    tasks, events = context.Queue(), context.Queue()
    for number in [*range(len(planned)), *(None for _ in places)]:
        tasks.put(number)
    workers = [
        context.Process(target=_work, args=(list(planned), place, tasks, events))
        for place in places
    ]
    # what a process inherits until it notes signals itself
    with _handling({signal.SIGINT: signal.SIG_IGN}):
        for worker in workers:
            worker.start()
    stopped = False
    try:
        for event in _events(events, workers):
            stopped |= event.kind == "stopped"
            tell(event)
    except KeyboardInterrupt:
        stopped = True
        for worker in workers:
            worker.terminate()
        for event in _events(events, workers):
            tell(event)
    finally:
        for worker in workers:
            worker.join()
        tasks.cancel_join_thread()
    if stopped:
        raise KeyboardInterrupt


def _events(events: Any, workers: Sequence[Any]) -> Iterator[Event]:
    """What workers tell until all have ended; one that was killed is told of, with the run it was at."""
    at: dict[int, int] = {}
    while True:
        alive = any(worker.is_alive() for worker in workers)
        try:
            pid, event = events.get(timeout=EVERY if alive else 0)
        except queue.Empty:
            if alive:
                continue
            break
        at[pid] = event.run if event.kind == "step" else -1
        yield event
    for worker in workers:
        if worker.exitcode and worker.exitcode != -signal.SIGTERM:
            text = f"its process ended with status {worker.exitcode}"
            yield Event("failed", at.get(worker.pid, -1), text=text)


def _work(planned: list[Planned], place: Place, tasks: Any, events: Any) -> None:
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    pid = multiprocessing.current_process().pid
    with _noted() as asked:
        while (number := tasks.get()) is not None and not asked:

            def tell(event: Event) -> None:
                if parent is not None and not parent.is_alive():
                    raise KeyboardInterrupt
                events.put((pid, event))

            tell(Event("step", number))
            try:
                attempt(number, planned[number], place, tell)
            except KeyboardInterrupt:
                asked.append(number)
        if asked:
            events.put((pid, Event("stopped", -1)))


def stoppable() -> AbstractContextManager[None]:
    """SIGTERM, a scheduler's way to stop a job, is as Ctrl-C."""
    return _handling({signal.SIGTERM: signal.default_int_handler})


@contextmanager
def _noted() -> Iterator[list[int]]:
    """Signals as entries of a list; a second one is as harmless as the first."""
    asked: list[int] = []
    with _handling(dict.fromkeys(SIGNALS, lambda number, frame: asked.append(number))):
        yield asked


@contextmanager
def _handling(handlers: Mapping[int, Any]) -> Iterator[None]:
    """What signals do inside; what they did before afterwards."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
