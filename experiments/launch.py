"""Runs trained one after another in this process, or side by side in processes of their own, with their progress."""

import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from experiments.run import Environment, Run
from experiments.training.loop import Progress as Position

EVERY = 0.5  # seconds between reports of a run's progress
FINISHED = {"trained": "trained", "kept": "stored before", "failed": "[red]failed[/]"}


class Event(NamedTuple):
    """What happened to a run.

    Attributes:
        kind: "step", "trained", "kept" from before, or "failed".
        run: its number in the list.
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


def train_all(
    runs: Sequence[Run], environments: Sequence[Environment], console: Console
) -> list[tuple[str, str]]:
    """Train what is not stored, with as many runs side by side as there are environments.

    Returns:
        Labels and messages of the runs that failed.

    Raises:
        KeyboardInterrupt: somebody asked to stop; runs at work have left a checkpoint.
    """
    with ProgressView(runs, console) as view, stoppable():
        if len(environments) == 1:
            one_after_another(runs, environments[0], view.tell)
        else:
            side_by_side(runs, environments, view.tell)
    return view.failures


def one_after_another(runs: Sequence[Run], environment: Environment, tell: Tell) -> None:
    """Train what is not stored, in this process."""
    for number, run in enumerate(runs):
        attempt(number, run, environment, tell)


def attempt(number: int, run: Run, environment: Environment, tell: Tell) -> None:
    """Train a run unless it is stored; what goes wrong is told, and is no reason to stop."""
    last = 0.0

    def report(at: Position) -> None:
        nonlocal last
        if time.monotonic() - last > EVERY or at.step == at.steps:
            last = time.monotonic()
            tell(Event("step", number, at.step, at.steps, f"{at.loss():.3f}"))

    try:
        is_stored = run.stored(environment) is not None
        if not is_stored:
            run.train(environment, report)
    except Exception as error:
        if environment.ranks.count > 1:
            raise  # the others are at some point of this run, and must hear of it
        tell(Event("failed", number, text=f"{type(error).__name__}: {error}"))
    else:
        tell(Event("kept" if is_stored else "trained", number))


def side_by_side(runs: Sequence[Run], environments: Sequence[Environment], tell: Tell) -> None:
    """Train what is not stored, in a process for each environment.

    A killed run goes on from its checkpoint bit for bit, so processes may be ended at any moment. Where one was
    killed from outside, the runs that were at work have failed, and the others are begun again.
    """
    left = list(range(len(runs)))
    while left:
        at_work, done = set[int](), set[int]()

        def note(event: Event, at_work: set[int] = at_work, done: set[int] = done) -> None:
            (at_work if event.kind == "step" else done).add(event.run)
            tell(event)

        try:
            _pool(runs, left, environments, note)
        except BrokenProcessPool as error:
            for number in at_work - done:
                done.add(number)
                tell(Event("failed", number, text=f"its process ended: {error}"))
            if not done:
                raise
        left = [number for number in left if number not in done]


def _pool(
    runs: Sequence[Run], left: Sequence[int], environments: Sequence[Environment], tell: Tell
) -> None:
    context = multiprocessing.get_context("spawn")
    slots, events, stopping = context.Queue(), context.Queue(), context.Event()
    for environment in environments:
        slots.put(environment)
    with ProcessPoolExecutor(len(environments), context, _start, (slots, events, stopping)) as pool:
        futures = [pool.submit(_work, number, runs[number]) for number in left]
        try:
            for event in _events(events, futures):
                tell(event)
        except KeyboardInterrupt:
            # a run at training ends its step and writes a checkpoint, which leaving the pool waits for
            stopping.set()
            for future in futures:
                future.cancel()
            for process in multiprocessing.active_children():
                if process.pid is not None:
                    os.kill(process.pid, signal.SIGINT)
            raise
        for future in futures:
            future.result()


def _events(events: Any, futures: Sequence[Future[None]]) -> Iterator[Event]:
    """What processes tell until all runs have ended."""
    while True:
        ended = all(future.done() for future in futures)
        try:
            yield events.get(timeout=0.1 if ended else EVERY)
        except queue.Empty:
            if ended:
                return


_here: dict[
    str, Any
] = {}  # of a process of the pool: its environment, and where it tells what happens


def _start(slots: Any, events: Any, stopping: Any) -> None:
    torch.set_num_threads(1)
    if hasattr(os, "setsid"):
        os.setsid()  # out of reach of the terminal's Ctrl-C: the first process passes it on, once
    parent = multiprocessing.parent_process()

    def tell(event: Event) -> None:
        if parent is not None and not parent.is_alive():
            raise KeyboardInterrupt
        events.put(event)

    _here.update(environment=slots.get(), tell=tell, stopping=stopping, at_work=False)
    signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: Any) -> None:
    """Stop the work; a process that dies while it waits for some would break the pool."""
    if _here["at_work"]:
        raise KeyboardInterrupt


def _work(number: int, run: Run) -> None:
    if _here["stopping"].is_set():
        raise KeyboardInterrupt
    _here["at_work"] = True
    try:
        _here["tell"](Event("step", number))
        attempt(number, run, _here["environment"], _here["tell"])
    except KeyboardInterrupt:
        if not _here["stopping"].is_set():
            os._exit(1)  # a pool that is broken ends its processes by SIGTERM, and waits for them
        raise
    finally:
        _here["at_work"] = False


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM, a scheduler's way to stop a job, is as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class ProgressView:
    """How many runs are done, and where those at work stand, for a `with`.

    Attributes:
        failures: of runs that went wrong, their labels and messages.
    """

    def __init__(self, runs: Sequence[Run], console: Console) -> None:
        self.runs, self.failures = runs, list[tuple[str, str]]()
        self._progress = Progress(
            TextColumn("{task.description}"),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[text]}"),
            BarColumn(20),
            TimeRemainingColumn(),
            console=console,
        )
        self._all = self._progress.add_task("runs", total=len(runs), text="")
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> "ProgressView":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def tell(self, event: Event) -> None:
        """Show what happened."""
        label = self.runs[event.run].label
        if event.kind == "step":
            if event.run not in self._tasks:
                self._tasks[event.run] = self._progress.add_task(label, total=1, text="")
            self._progress.update(
                self._tasks[event.run],
                completed=event.step,
                total=max(event.steps, 1),
                text=f"steps, loss {event.text}" if event.text else "",
            )
        else:
            self._finish(event, label)

    def _finish(self, event: Event, label: str) -> None:
        if event.run in self._tasks:
            self._progress.remove_task(self._tasks.pop(event.run))
        if event.kind == "failed":
            self.failures.append((label, event.text))
        self._progress.advance(self._all)
        said = f"{label}: {FINISHED[event.kind]}"
        self._progress.console.print(said, style="dim", highlight=False, soft_wrap=True)
