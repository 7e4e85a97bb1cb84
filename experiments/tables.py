"""Stored runs as a frame, statistics over seeds, and tables for the terminal and as CSV."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from scipy import stats

from experiments.store import Stored

NONE = "—"
GAP = 2  # characters between columns
WIDEST = 32  # characters of a column; longer cells are wrapped
NESTED = (
    "unit_labels",
    "n",
    "signed_residual",
)  # of a record, whose entries are columns of their own


def frame(runs: Iterable[Stored]) -> pd.DataFrame:
    """One row for each run: what names it, its single numbers, and `run`, all of it.

    Entries of `unit_labels` and `n` are columns such as `unit_labels.mean_iou`, NaN where there are none.
    """
    rows = []
    for run in runs:
        single = {k: v for k, v in run.record.items() if not isinstance(v, dict | list)}
        nested = {f"{k}.{name}": v for k in NESTED for name, v in (run.record.get(k) or {}).items()}
        rows.append({**single, **nested, "run": run})
    return pd.DataFrame(rows)


def column(rows: pd.DataFrame, name: str) -> list[float]:
    """The numbers of a column that were measured; none if there is no such column.

    >>> column(pd.DataFrame({"a": [1.0, None]}), "a"), column(pd.DataFrame(), "b")
    ([1.0], [])
    """
    return [] if name not in rows else [float(value) for value in rows[name].dropna()]


def spread(values: Sequence[float], digits: int = 1, factor: float = 1.0) -> str:
    """Mean ± standard deviation over seeds.

    >>> spread([0.5, 0.7], factor=100), spread([3.0]), spread([])
    ('60.0 ± 14.1', '3.0', '—')
    """
    if not len(values):
        return NONE
    numbers = factor * np.asarray(values, dtype=float)
    error = f" ± {numbers.std(ddof=1):.{digits}f}" if len(numbers) > 1 else ""
    return f"{numbers.mean():.{digits}f}{error}"


class Paired(NamedTuple):
    """Mean difference, and the half-width of its 95 % interval; None for one seed."""

    mean: float
    half_width: float | None
    n: int

    def text(self, scale: float = 1.0, digits: int = 2) -> str:
        """Such as "+1.14 +- 0.58"."""
        error = "" if self.half_width is None else f" +- {scale * self.half_width:.{digits}f}"
        return f"{scale * self.mean:+.{digits}f}{error}"


def paired(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Paired:
    r"""First minus second, seed by seed.

    .. math:: \bar d \pm t_{n-1, (1 + level) / 2} \; s_d / \sqrt n

    Args:
        first: one value a seed.
        second: of the same seeds, in the same order.
        level: in (0, 1).

    Raises:
        ValueError: the lengths differ, or are 0.

    >>> paired([3.0, 5.0, 4.0], [1.0, 3.0, 2.0])
    Paired(mean=2.0, half_width=0.0, n=3)
    """
    if len(first) != len(second) or not first:
        raise ValueError(
            f"first and second must hold the same seeds, got {len(first)} and {len(second)} values"
        )
    differences = np.subtract(first, second)
    n = len(differences)
    if n == 1:
        return Paired(float(differences[0]), None, 1)
    error = stats.sem(differences)
    return Paired(float(differences.mean()), float(stats.t.ppf((1 + level) / 2, n - 1) * error), n)


def paired_by_seed(rows: pd.DataFrame, others: pd.DataFrame, name: str) -> Paired | None:
    """The difference of a column over the seeds that both have; None without any."""
    if name not in rows or name not in others:
        return None
    columns = [each.set_index("seed")[name] for each in (rows, others)]
    both = pd.concat(columns, axis=1, join="inner").dropna()
    return None if both.empty else paired(list(both.iloc[:, 0]), list(both.iloc[:, 1]))


@dataclass(frozen=True)
class ResultTable:
    """Rows of text under headings.

    Attributes:
        name: of the file.
        title: said above it.
        columns: headings.
        rows: as many cells as there are headings.
        notes: said below it.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()

    def drawn(self, width: int = 80) -> Group:
        """For a terminal of so many characters: what does not fit goes below, the first column repeated."""
        first, *wide = [_width(cells) for cells in zip(self.columns, *self.rows, strict=True)]
        blocks, left = [list[int]()], width - first
        for place, needed in enumerate(wide, 1):
            if blocks[-1] and left < needed + GAP:
                blocks, left = [*blocks, []], width - first
            blocks[-1].append(place)
            left -= needed + GAP
        tables = [self._block([0, *places]) for places in blocks]
        tables[0].title, tables[-1].caption = self.title, "\n".join(self.notes) or None
        return Group(*tables)

    def _block(self, places: Sequence[int]) -> Table:
        table = plain("")
        for place in places:
            long = any(len(row[place]) > WIDEST for row in self.rows)
            side: Literal["left", "right"] = "right" if place and not long else "left"
            table.add_column(self.columns[place], justify=side, no_wrap=not long, max_width=WIDEST)
        for row in self.rows:
            table.add_row(*(row[place] for place in places))
        return table

    def write(self, folder: Path) -> Path:
        """NAME.csv in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.csv"
        headings = [heading.replace("\n", " ") for heading in self.columns]
        pd.DataFrame(self.rows, columns=headings).to_csv(path, index=False)
        return path


def _width(cells: Iterable[str]) -> int:
    return min(WIDEST, max(len(line) for cell in cells for line in cell.split("\n")))


def plain(title: str, caption: str | None = None) -> Table:
    """An empty table as this package's commands show them: no frame, a line below the headings."""
    return Table(
        title=title,
        caption=caption,
        caption_justify="left",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
