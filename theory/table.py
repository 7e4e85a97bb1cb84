"""The table of verdicts: in the terminal, and in the documentation."""

import math
from typing import Any

from rich.markup import escape
from rich.table import Table

COLOURS = {"HOLDS": "green", "HOLDS UNDER": "green", "FAILS": "red", "INCONCLUSIVE": "yellow"}


def number(value: float | str) -> str:
    """Four digits; the sign of infinity."""
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    return f"{value:.4g}"


def measured(entry: dict[str, Any]) -> str:
    """The measured value with its standard error, if it is random."""
    error = float(entry["error"])
    return number(entry["measured"]) + (f" ± {error:.1g}" if error else "")


def bound(entry: dict[str, Any]) -> str:
    """The relation and the bound."""
    return f"{entry['relation']} {number(entry['bound'])}"


def verdict(entry: dict[str, Any]) -> str:
    """The verdict with its condition."""
    return entry["verdict"] + (f" ({entry['condition']})" if entry["condition"] else "")


def terminal(entries: list[dict[str, Any]]) -> Table:
    """Of entries of theory.json; what differs from the documentation is marked."""
    table = Table(title="Claims of the paper, and theorems in their place", show_lines=False)
    for heading in ("claim", "source", "verdict", "measured", "bound", "n", "seeds"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        colour = COLOURS.get(entry["verdict"], "dim")
        differs = entry["verdict"] not in (entry["expected"], "SKIPPED")
        said = f" [bold](documented: {entry['expected']})[/bold]" if differs else ""
        table.add_row(
            escape(f"{entry['name']}: {entry['statement']}"),
            escape(entry["source"]),
            f"[{colour}]{escape(verdict(entry))}[/{colour}]{said}",
            measured(entry),
            bound(entry),
            str(entry["n"]),
            str(entry["seeds"]),
        )
        if entry["note"] and (differs or entry["verdict"] in ("FAILS", "INCONCLUSIVE", "SKIPPED")):
            table.add_row(f"[dim]  {escape(entry['note'])}[/dim]")
    return table


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def markdown(entries: list[dict[str, Any]]) -> str:
    """The table of docs/theory.md: everything the terminal shows, and the notes of all claims."""
    lines = [
        "| claim | source | verdict | measured | bound | n | seeds | numbers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        cells = (
            f"`{entry['name']}` {entry['statement']}",
            entry["source"],
            f"**{entry['verdict']}**" + (f" {entry['condition']}" if entry["condition"] else ""),
            measured(entry),
            bound(entry),
            str(entry["n"]),
            str(entry["seeds"]),
            entry["note"],
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)
