"""Tables printed and written as CSV; figures were drawn, and their files are named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.paper.catalog import Made
from experiments.paper.tables.sheet import Sheet


def show(console: Console, made: Sequence[Made], tables: Path) -> None:
    """Print what an entry made.

    Args:
        console: to print on.
        made: sheets, and paths of figures.
        tables: folder of the CSV files.
    """
    for thing in made:
        path = thing
        if isinstance(thing, Sheet):
            console.print(thing.drawn())
            path = thing.write(tables)
        console.print(f"wrote {path}", style="dim", highlight=False, soft_wrap=True)
