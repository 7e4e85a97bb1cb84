"""A figure on disk: PNG, SVG for light and for dark pages, and the plotted numbers as CSV."""

import csv
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

DPI = 160


class Scheme(NamedTuple):
    """Colours of one page background."""

    name: str
    ink: str
    quiet: str
    line: str
    panel: str
    ours: str
    theirs: str
    positive: str
    negative: str


SCHEMES = (
    Scheme(
        "light",
        "#22262b",
        "#5f6b7a",
        "#d5dae1",
        "#f4f6f8",
        "#d9480f",
        "#5f6b7a",
        "#d9480f",
        "#1c7ed6",
    ),
    Scheme(
        "dark",
        "#e4e7eb",
        "#a3adb9",
        "#3d444d",
        "#1e2125",
        "#ff8a57",
        "#a3adb9",
        "#ff8a57",
        "#4dabf7",
    ),
)


class PlottedNumbers(NamedTuple):
    """Plotted numbers, a row each."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


def publish(
    out: Path, name: str, title: str, draw: Callable[[Scheme], Figure], table: PlottedNumbers
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


def canvas(width: float, height: float) -> Figure:
    """An empty figure, in inches, that belongs to no window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def clean(axes: Axes) -> Axes:
    """Without the upper right half of the frame, with a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color=rcParams["grid.color"], linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)
    return axes


def diverging(scheme: Scheme) -> LinearSegmentedColormap:
    """From negative over the page to positive."""
    page = rcParams["axes.facecolor"]
    return LinearSegmentedColormap.from_list("weights", [scheme.negative, page, scheme.positive])


def shortened(name: str, most: int = 24) -> str:
    """A name of at most so many characters, with a mark where it was cut.

    >>> shortened("airplane_cabin"), shortened("red disc + blue ring + green bar", 20)
    ('airplane cabin', 'red disc + blue rin…')
    """
    plain = " ".join(name.replace("_", " ").split())
    return plain if len(plain) <= most else plain[: most - 1].rstrip(" +/,-") + "…"


def wrapped(name: str, width: int = 14, lines: int = 2) -> str:
    """A name on a few short lines.

    >>> wrapped("magenta barred triangle").splitlines()
    ['magenta barred', 'triangle']
    """
    plain = name.replace("_", " ")
    return "\n".join(
        textwrap.wrap(plain, width, max_lines=lines, placeholder="…", break_on_hyphens=False)
    )


def data_of(text: str) -> str:
    """A data set with its options, as a title says it.

    >>> data_of("scenes:size=24,classes=10"), data_of("places365")
    ('scenes, size 24, classes 10', 'places365')
    """
    return text.replace(":", ",").replace(",", ", ").replace("=", " ")
