"""A figure on disk: PNG, SVG for light and for dark pages, and the plotted numbers as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from experiments.figures import style
from experiments.figures.svg import SCHEMES, Scheme

DPI = 160


class Table(NamedTuple):
    """Plotted numbers, a row each."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


def publish(
    out: Path, name: str, title: str, draw: Callable[[Scheme], Figure], table: Table
) -> list[Path]:
    """Draw once for each colour scheme and write all files of a figure.

    Args:
        out: folder.
        name: of the files.
        title: what it shows, for readers that cannot see it.
        draw: makes the figure under a scheme's colours.
        table: the numbers in it.

    Returns:
        NAME.png, NAME-light.svg, NAME-dark.svg, NAME.csv.
    """
    out.mkdir(parents=True, exist_ok=True)
    picture, paths = out / f"{name}.png", []
    for scheme in SCHEMES:
        with rc_context(rc={**_colours(scheme), "svg.hashsalt": name}):
            figure = draw(scheme)
            if scheme.name == "light":
                figure.savefig(picture, dpi=DPI, metadata={"Title": title})
            paths.append(out / f"{name}-{scheme.name}.svg")
            about = {"Title": title, "Date": None}
            figure.savefig(paths[-1], dpi=DPI, facecolor="none", metadata=about)
    numbers = out / f"{name}.csv"
    with numbers.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        writer.writerows(table.rows)
    return [picture, *paths, numbers]


def _colours(scheme: Scheme) -> dict[Any, Any]:
    page = "white" if scheme.name == "light" else scheme.panel
    inked = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    return dict.fromkeys(inked, scheme.ink) | {
        "axes.edgecolor": scheme.quiet,
        "grid.color": scheme.line,
        "figure.facecolor": page,
        "axes.facecolor": page,
        "legend.facecolor": page,
        "figure.constrained_layout.h_pad": 0.07,
        "figure.constrained_layout.w_pad": 0.07,
        "font.size": 9,
    }


def clean(axes: Axes) -> Axes:
    """As all figures, with the grid of the scheme."""
    style.clean(axes).grid(True, color=rcParams["grid.color"])
    return axes


def diverging(scheme: Scheme) -> LinearSegmentedColormap:
    """From negative over the page to positive."""
    page = rcParams["axes.facecolor"]
    return LinearSegmentedColormap.from_list("weights", [scheme.negative, page, scheme.positive])
