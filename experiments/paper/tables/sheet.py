"""A table of text: drawn in a terminal, or written as CSV."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

NONE = "—"


@dataclass(frozen=True)
class Sheet:
    """Rows of cells under headings.

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

    def drawn(self) -> Table:
        """For a terminal."""
        table = plain(self.title, "\n".join(self.notes) or None)
        for place, column in enumerate(self.columns):
            table.add_column(column, justify="right" if place else "left", no_wrap=not place)
        for row in self.rows:
            table.add_row(*row)
        return table

    def write(self, folder: Path) -> Path:
        """NAME.csv in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([[c.replace("\n", " ") for c in self.columns], *self.rows])
        return path


def plain(title: str, caption: str | None) -> Table:
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


def spread(values: Sequence[float | None], digits: int = 1, factor: float = 1.0) -> str:
    """Mean ± standard deviation over seeds; those that are None were not measured.

    >>> spread([0.5, 0.7], factor=100), spread([3.0]), spread([])
    ('60.0 ± 14.1', '3.0', '—')
    """
    known = [factor * value for value in values if value is not None]
    if not known:
        return NONE
    mean = f"{statistics.mean(known):.{digits}f}"
    error = f" ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else ""
    return f"{mean}{error}"
