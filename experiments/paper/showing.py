"""Tables are printed and written as CSV, figures named, and what is missing is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.paper.catalog import TABLES, Entry, Missing, make
from experiments.paper.planned import Planned
from experiments.paper.store import Stored
from experiments.paper.tables.sheet import Sheet


def show(
    console: Console,
    entry: Entry,
    runs: Sequence[Stored],
    planned: Sequence[Planned],
    out: Path,
) -> bool:
    """Make an entry and say what came of it; whether nothing was missing."""
    whole = True
    for made in make(entry, runs, planned, out):
        path = made
        if isinstance(made, Missing):
            whole = False
            console.print(made.message, highlight=False, markup=False, soft_wrap=True)
            continue
        if isinstance(made, Sheet):
            console.print(made.drawn())
            path = made.write(out / TABLES)
        console.print(f"wrote {path}", style="dim", highlight=False, soft_wrap=True)
    return whole
