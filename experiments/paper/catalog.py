"""Every table and figure: what it is, where the paper has it, the runs it needs, and what is made of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from experiments import store
from experiments.figures import ablation as ablation_figure
from experiments.figures import fig1, fig2, fig3, fig4, fig5, fig6, fig7, s1, s2
from experiments.figures import frontier as frontier_figure
from experiments.figures.series import MissingRuns
from experiments.paper import claims, grids, tables
from experiments.paper.grids import Row, Seeds
from experiments.research import real, real_tables
from experiments.run import Run
from experiments.store import Stored
from experiments.tables import ResultTable

FIGURES, TABLES = "figures", "tables"  # folders of what is made
CIFAR10, PLACES365 = "cifar10", "places365"
Plan = Callable[[str, Seeds], list[Run]]
Runs = Sequence[Stored]
Plans = Sequence[Run]


@dataclass(frozen=True)
class Missing:
    """What could not be made.

    Attributes:
        message: why, and what helps.
    """

    message: str


Made = ResultTable | Path | Missing
Make = Callable[[Runs, Plans, Path], Sequence[Made]]


@dataclass(frozen=True)
class Entry:
    """A table or figure.

    Attributes:
        name: on the command line.
        title: what it shows.
        where: in the paper; "ours" for what it lacks.
        makes: each makes something of stored runs, the planned ones and the folder of results.
        plan: its runs at a scale, with seeds or the scale's own; None where it shows no trained net.
        result: the file in the folder of figures that a command of its own writes instead.
    """

    name: str
    title: str
    where: str
    makes: tuple[Make, ...]
    plan: Plan | None = None
    result: str | None = None

    def planned(self, scale: str, seeds: Seeds = None, data: Sequence[str] = ()) -> list[Run]:
        """Its runs; on those of its data that are named, if any of them is."""
        runs = self.plan(scale, seeds) if self.plan else []
        on_data = [run for run in runs if run.data in data or run.data.partition(":")[0] in data]
        return on_data or runs

    def data(self, scale: str) -> list[str]:
        """Its data sets."""
        return list(dict.fromkeys(run.data for run in self.planned(scale)))


def _rows(rows: Sequence[Row], *data: str) -> Plan:
    return lambda scale, seeds: grids.grid(rows, data, scale, seeds)


def _one_seed(rows: Sequence[Row], *data: str) -> Plan:
    return lambda scale, seeds: grids.one_seed(rows, data, scale, seeds)


def _tables(table: Callable[[Runs, Plans], Sequence[Made]]) -> Make:
    return lambda runs, planned, out: table(runs, planned)


def _figure(draw: Callable[..., list[Path]]) -> Make:
    """A figure of runs on one data set."""
    return lambda runs, planned, out: [
        path
        for data in dict.fromkeys(run.data for run in planned)
        for path in draw(runs, out / FIGURES, data, planned[0].scale)
    ]


def _panels(draw: Callable[..., list[Path]]) -> Make:
    """A figure of runs on several data sets; those that lack runs are left out."""

    def made(runs: Runs, planned: Plans, out: Path) -> list[Path]:
        data = {run.data for run in planned}
        some = [run for run in runs if run["data"] in data]
        return draw(some, out / FIGURES, scale=planned[0].scale)

    return made


def _drawing(draw: Callable[..., list[Path]]) -> Make:
    """A figure that shows no trained net."""
    return lambda runs, planned, out: draw((), out / FIGURES)


CATALOG = {
    entry.name: entry
    for entry in (
        Entry(
            "table1",
            "accuracy of ResNets; heads and scores the paper lacks",
            "Table 1",
            (_tables(tables.table1),),
            _rows(grids.TABLE1, CIFAR10, PLACES365),
        ),
        Entry(
            "fig1",
            "the mechanism of a dynamic layer",
            "Figure 1",
            (_drawing(fig1.fig1),),
            result=fig3.RESULTS,
        ),
        Entry(
            "fig2",
            "what classes of a toy network have learned",
            "Figure 2",
            (_drawing(fig2.fig2),),
            result=fig2.RESULTS,
        ),
        Entry(
            "fig3",
            "EM routing's and Dynamic-K's selection on a map",
            "Figure 3",
            (_drawing(fig3.fig3),),
            result=fig3.RESULTS,
        ),
        Entry(
            "fig4",
            "accuracy over training, weights of the head",
            "Figure 4",
            (_figure(fig4.fig4),),
            _rows(grids.FIGURE4, CIFAR10),
        ),
        Entry(
            "fig5",
            "accuracy, sparsity and unit labels by K",
            "Figure 5",
            (_figure(fig5.fig5),),
            _rows(grids.FIGURE5, PLACES365),
        ),
        Entry(
            "fig6",
            "classes as compositions of units",
            "Figure 6",
            (_figure(fig6.fig6),),
            _rows(grids.FIGURE6, PLACES365),
        ),
        Entry(
            "fig7",
            "decisions explained",
            "Figure 7",
            (_figure(fig7.fig7),),
            _rows(grids.FIGURE7, PLACES365),
        ),
        Entry(
            "s1",
            "weights of routed convolutions",
            "supplement, Figure 1",
            (_figure(s1.s1),),
            _one_seed(grids.SUPPLEMENT1, PLACES365),
        ),
        Entry(
            "s2",
            "units as compositions of units below",
            "supplement, Figure 2",
            (_figure(s2.s2),),
            _one_seed(grids.SUPPLEMENT2, PLACES365),
        ),
        Entry(
            "claims",
            "every sentence of Section 4: its number, ours, a verdict",
            "Section 4, supplement",
            (claims.claims,),
            grids.claims,
        ),
        Entry(
            "frontier",
            "accuracy against weights per class, every method",
            "ours",
            (_tables(tables.frontier), _panels(frontier_figure.frontier)),
            grids.frontier,
        ),
        Entry(
            "real",
            "real data at five weights a class, every method",
            "ours",
            (
                _tables(real_tables.real),
                real_tables.records,
                _panels(partial(frontier_figure.frontier, model=real.NAME, name="real")),
            ),
            real.grid,
        ),
        Entry(
            "ablation",
            "the optimizer's own choices, one changed at a time",
            "ours",
            (_tables(tables.ablation), _panels(ablation_figure.ablation)),
            grids.ablation,
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


def together(entries: Sequence[Entry], scale: str, seeds: Seeds, data: Sequence[str]) -> list[Run]:
    """The runs of several entries, those that they share once."""
    return list(dict.fromkeys(run for e in entries for run in e.planned(scale, seeds, data)))


def done(planned: Plans, runs: Runs) -> int:
    """How many of the planned runs are stored."""
    return len({run.label for run in planned} & {store.label(run.record) for run in runs})


def with_recipe(run: Run, changes: Mapping[str, Any]) -> Run:
    """The same with another recipe.

    >>> from experiments.paper.grids import DENSE, grid
    >>> with_recipe(grid([DENSE], ["cifar10"], "tiny")[0], {"batch": 32}).recipe.batch
    32
    """
    return replace(run, recipe=run.recipe.changed(changes)) if changes else run


def of_classes(entry: Entry, classes: Sequence[str]) -> Entry:
    """Figure 6 of these classes; other entries have none to be asked for."""
    if not classes or entry.name != "fig6":
        return entry
    return replace(entry, makes=(_figure(partial(fig6.fig6, classes=classes)),))


def make(entry: Entry, runs: Runs, planned: Plans, out: Path) -> Iterator[Made]:
    """What an entry shows, from all stored runs of the scale, whatever their seeds."""
    of_scale = [run for run in runs if planned and run["scale"] == planned[0].scale]
    if entry.result and not (out / FIGURES / entry.result).exists():
        yield Missing(f"{entry.name}: there is no {out / FIGURES / entry.result}; {_train(entry)}")
        return
    if planned and not done(planned, runs):
        count = f"none of its {len(planned)} runs at scale {planned[0].scale}"
        yield Missing(f"{entry.name}: {count} is in {out}; {_train(entry)}")
        return
    for part in entry.makes:
        try:
            yield from part(of_scale, planned, out)
        except MissingRuns as error:
            yield Missing(str(error))


def _train(entry: Entry) -> str:
    return f"python -m experiments run {entry.name} makes what is missing"
