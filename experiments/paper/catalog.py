"""Every table and figure: what it is, where the paper has it, the runs it needs, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.paper import grids, store
from experiments.paper.grids import Row
from experiments.paper.planned import Planned
from experiments.paper.store import Stored
from experiments.paper.tables.ablation import ablation
from experiments.paper.tables.frontier import frontier
from experiments.paper.tables.sheet import Sheet
from experiments.paper.tables.table1 import table1

Seeds = Sequence[int] | None
Made = Sheet | Path
Plan = Callable[[str, Seeds], list[Planned]]
Make = Callable[[Sequence[Stored], Sequence[Planned], Path], Sequence[Made]]


@dataclass(frozen=True)
class Entry:
    """A table or figure.

    Attributes:
        name: on the command line.
        title: what it shows.
        where: in the paper; "ours" for what it lacks.
        plan: its runs at a scale, with seeds or the scale's own.
        make: from all stored runs, the planned ones and a folder, what is printed and drawn.
    """

    name: str
    title: str
    where: str
    plan: Plan
    make: Make

    def planned(self, scale: str, seeds: Seeds = None, data: Sequence[str] = ()) -> list[Planned]:
        """Its runs; on those of its data that are named, if any of them is."""
        runs = self.plan(scale, seeds)
        chosen = [run for run in runs if run.data in data or run.data.partition(":")[0] in data]
        return chosen or runs

    def data(self, scale: str) -> list[str]:
        """Its data sets."""
        return list(dict.fromkeys(run.data for run in self.plan(scale, None)))


def _rows(rows: Sequence[Row], *data: str) -> Plan:
    return lambda scale, seeds: grids.grid(rows, data, scale, seeds)


def _sheets(table: Callable[[Sequence[Stored], Sequence[Planned]], list[Sheet]]) -> Make:
    return lambda runs, planned, out: table(runs, planned)


CATALOG = {
    entry.name: entry
    for entry in (
        Entry(
            "table1",
            "accuracy of ResNets, beside heads and scores the paper lacks",
            "Table 1",
            _rows(grids.TABLE1, "cifar10", "places365"),
            _sheets(table1),
        ),
        Entry(
            "frontier",
            "accuracy against weights per class, every method on one axis",
            "ours",
            grids.frontier,
            _sheets(frontier),
        ),
        Entry(
            "ablation",
            "the optimizer's own choices, one changed at a time",
            "ours",
            grids.ablation,
            _sheets(ablation),
        ),
    )
}


def chosen(names: Sequence[str]) -> list[Entry]:
    """Entries by name; "all" is every one.

    Raises:
        ValueError: no such table or figure.
    """
    for name in names:
        if name != "all" and name not in CATALOG:
            raise ValueError(f"name must be one of all, {', '.join(CATALOG)}, got {name!r}")
    return list(CATALOG.values()) if "all" in names else [CATALOG[n] for n in dict.fromkeys(names)]


def together(
    entries: Sequence[Entry], scale: str, seeds: Seeds, data: Sequence[str]
) -> list[Planned]:
    """The runs of several entries, those that they share once."""
    return list(dict.fromkeys(run for e in entries for run in e.planned(scale, seeds, data)))


def done(planned: Sequence[Planned], runs: Sequence[Stored]) -> int:
    """How many of the planned runs are stored."""
    return len({run.label for run in planned} & {store.label(run.record) for run in runs})


def make(entry: Entry, runs: Sequence[Stored], planned: Sequence[Planned], out: Path) -> list[Made]:
    """What an entry shows, from all stored runs of its scale, whatever their seeds."""
    scale = planned[0].scale if planned else ""
    some = [run for run in runs if run["scale"] == scale]
    return list(entry.make(some, planned, out))
