"""What a user sees while runs are trained: how many are done, and where those at work stand."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from experiments.paper.planned import Planned
from experiments.paper.workers import Event

FINISHED = {"trained": "trained", "kept": "stored before", "failed": "[red]failed[/]"}


class Screen:
    """Progress of runs, for a `with`.

    Attributes:
        failures: of runs that went wrong, their names and messages.
    """

    def __init__(self, planned: Sequence[Planned], console: Console) -> None:
        self.planned, self.failures = planned, list[tuple[str, str]]()
        self._progress = Progress(
            TextColumn("{task.description}"),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[text]}"),
            BarColumn(20),
            TimeRemainingColumn(),
            console=console,
        )
        self._all = self._progress.add_task("runs", total=len(planned), text="")
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def tell(self, event: Event) -> None:
        """Show what happened."""
        label = self.planned[event.run].label if event.run >= 0 else "a worker"
        if event.kind == "step":
            if event.run not in self._tasks:
                self._tasks[event.run] = self._progress.add_task(label, total=1, text="")
            self._progress.update(
                self._tasks[event.run],
                completed=event.step,
                total=max(event.steps, 1),
                text=f"steps, loss {event.text}" if event.text else "",
            )
        elif event.kind in FINISHED:
            self._finish(event, label)

    def _finish(self, event: Event, label: str) -> None:
        if event.run in self._tasks:
            self._progress.remove_task(self._tasks.pop(event.run))
        if event.kind == "failed":
            self.failures.append((label, event.text))
        self._progress.advance(self._all)
        said = f"{label}: {FINISHED[event.kind]}"
        self._progress.console.print(said, style="dim", highlight=False, soft_wrap=True)
