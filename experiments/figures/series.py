"""Which stored runs a figure shows, in which colour, and what is said where they are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import rcParams
from matplotlib.typing import LineStyleType

from experiments.paper.store import ARRAYS, Stored

SCALE = "tiny"


class MissingRuns(LookupError):
    """A figure lacks runs; the message says which, and what trains them."""


class Row(NamedTuple):
    """Runs that differ in the seed alone.

    Attributes:
        label: in the legend, as the paper writes it.
        network: the net's name.
        method: how it is trained.
        colour: of its lines; empty for that of the text.
        dashes: matplotlib's name of a line style.
    """

    label: str
    network: str
    method: str = "sgd"
    colour: str = ""
    dashes: LineStyleType = "-"

    @property
    def paint(self) -> str:
        """The colour on the page that is being drawn."""
        return self.colour or rcParams["text.color"]


# Red is the paper's for the dense net; ours have the colour of the text, as orange is too near.
DENSE = Row("Res18", "resnet18", colour="#e03131")
L1 = Row("Res18-L1", "resnet18_l1", "l1", "#2b6cb0")
D1, D5, D10, D25, D50, D100 = (
    Row(f"Res18-d{k}a", f"resnet18_d{k}a", colour=colour)
    for k, colour in (
        (1, "#9c36b5"),
        (5, "#2f9e44"),
        (10, "#12a594"),
        (25, "#2d9cdb"),
        (50, "#7c8cf8"),
        (100, "#b08968"),
    )
)
INNER = Row("Res18-d[32,32,5]a", "resnet18_d32_32_5a", colour="#2f9e44")
OURS = Row("InterpretableSGD", "resnet18_isgd", "isgd")
UNBIASED = Row("InterpretableSGD, unbiased", "resnet18_isgd", "unbiased", dashes="--")
FAITHFUL = Row("Algorithm 3, literally", "resnet18_isgd", "faithful", dashes=":")

Runs = dict[Row, list[Stored]]


def runs_of(
    figure: str,
    stored: Sequence[Stored],
    needed: Sequence[Row],
    data: str,
    scale: str,
    beside: Sequence[Row] = (),
) -> Runs:
    """The runs of each row by seed; rows that stand beside the paper's are left out where none is stored.

    Raises:
        MissingRuns: a needed row has no run at all.
    """
    here = [run for run in stored if run["data"] == data and run["scale"] == scale]
    found = {row: _of(row, here) for row in (*needed, *beside)}
    missing = [row for row in needed if not found[row]]
    if missing:
        raise missing_runs(
            figure, [f"{row.network} ({row.method})" for row in missing], data, scale
        )
    return {row: runs for row, runs in found.items() if runs}


def missing_runs(figure: str, missing: Sequence[str], data: str, scale: str) -> MissingRuns:
    """The error that names runs and the command which trains them."""
    where = f" --data {data}:PATH" if scale in ("paper", "code") and ":" not in data else ""
    return MissingRuns(
        f"{figure} must have a stored run of {', '.join(missing)} on {data} at scale {scale}, got none; "
        f"`python -m experiments run {figure} --scale {scale}{where}` trains what is missing"
    )


def first(runs: Runs) -> dict[Row, Stored]:
    """One run of each row: of the lowest seed that all rows have, else of each row's lowest."""
    common = set.intersection(*({run["seed"] for run in some} for some in runs.values()))
    return {
        row: next((run for run in some if run["seed"] == min(common, default=None)), some[0])
        for row, some in runs.items()
    }


def needs(figure: str, run: Stored, *arrays: str) -> None:
    """Check that a run was stored with the arrays that a figure shows.

    Raises:
        MissingRuns: it was not.
    """
    missing = [name for name in arrays if name not in run.arrays]
    if missing:
        raise MissingRuns(
            f"{figure} must have {', '.join(missing)} in {run.folder / ARRAYS}, which is older; "
            "remove that folder to train the run again"
        )


def _of(row: Row, runs: Sequence[Stored]) -> list[Stored]:
    own = [run for run in runs if (run["network"], run["method"]) == (row.network, row.method)]
    return sorted(own, key=lambda run: run["seed"])


def seeds(runs: Runs) -> str:
    """How many seeds each row has, for a title.

    >>> run = Stored(None, {"seed": 0})
    >>> seeds({DENSE: [run]}), seeds({DENSE: [run, run], D5: [run, run]})
    ('1 seed', '2 seeds')
    >>> seeds({DENSE: [run, run], D5: [run]})
    'n seeds: Res18 2, Res18-d5a 1'
    """
    counts = {row.label: len(some) for row, some in runs.items()}
    if len(set(counts.values())) == 1:
        (count,) = set(counts.values())
        return f"{count} seed{'s' * (count > 1)}"
    return "n seeds: " + ", ".join(f"{label} {count}" for label, count in counts.items())
