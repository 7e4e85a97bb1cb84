"""Numbers as named tables, so that every picture's are a file beside it."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interpretable_sgd.analysis.provenance import plain

Cell = str | int | float | bool | None
# a spreadsheet runs a text cell that begins with one of these
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Attributes:
        title: what the rows are.
        columns: names.
        rows: one cell for each column; None where there is no number.
        definitions: what a column's numbers are, where the name does not say it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    definitions: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> list[Any]:
        """Cells of one column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def where(self, **values: Cell) -> "Table":
        """Rows that have these values.

        >>> curve = table("curve", ["k", "of"], [(1, "right"), (1, "wrong")])
        >>> curve.where(of="right").rows
        ((1, 'right'),)
        """
        places = {self.columns.index(name): value for name, value in values.items()}
        rows = [row for row in self.rows if all(row[p] == v for p, v in places.items())]
        return Table(self.title, self.columns, tuple(rows), self.definitions)

    def to_csv(self, source: Mapping[str, Any] | None = None) -> str:
        """Comma-separated text; title, definitions and provenance are lines that begin with "#".

        A text cell that a spreadsheet would take for a formula gets an apostrophe in front.

        >>> print(table("areas", ["name", "area"], [("=cmd", 2.0)]).to_csv())
        # areas
        name,area
        '=cmd,2.0
        <BLANKLINE>
        """
        text = io.StringIO()
        head = {**self.definitions, **(source or {})}
        for line in [self.title, *(f"{key}: {value}" for key, value in head.items())]:
            text.write("# " + " ".join(line.split()) + "\n")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([_safe(name) for name in self.columns])
        writer.writerows([["" if v is None else _safe(v) for v in row] for row in self.rows])
        return text.getvalue()

    def to_plain(self) -> dict[str, Any]:
        """As what JSON knows."""
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "definitions": dict(self.definitions),
        }


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    definitions: Mapping[str, str] | None = None,
) -> Table:
    """A table of tensors' or plain numbers; what is not finite becomes None.

    Raises:
        ValueError: a row has another length than the columns.
    """
    cells = [tuple(plain(cell) for cell in row) for row in rows]
    for row in cells:
        if len(row) != len(columns):
            raise ValueError(f"rows must have {len(columns)} cells, got {len(row)}")
    return Table(title, tuple(columns), tuple(cells), definitions or {})


def _safe(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
