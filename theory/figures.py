"""Convergence plots of a finished run, read from its theory.json: log-log, both starts, bands.

A panel is one optimizer on one problem. M_T is the mean over a run of |grad F|^2; every point is a
run length with a step size of its own, bands are 95 % of the mean over seeds. Dotted and dashed
lines have slopes -1/2 and -1.
"""

import json
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from theory.reference.problems import Array

COLOURS = {"far": "C0", "near": "C1"}
REFERENCES = ((-0.5, ":", "slope -1/2"), (-1.0, "--", "slope -1"))
_POINT = re.compile(r"(?:(.+) )?(far|near) (\d+)")


class Curve(NamedTuple):
    """Run lengths, means, and half-widths of the bands."""

    T: Array
    mean: Array
    margin: Array


def curves(numbers: dict[str, float]) -> dict[str, dict[str, Curve]]:
    """Curves among a claim's numbers, by problem ("" if only one) and start."""
    points: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for key, value in numbers.items():
        found = _POINT.fullmatch(key)
        if found:
            place = (found[1] or "", found[2])
            point = (float(found[3]), float(value), float(numbers.get(f"{key} +-", 0.0)))
            points.setdefault(place, []).append(point)
    panels: dict[str, dict[str, Curve]] = {}
    for (problem, start), rows in points.items():
        panels.setdefault(problem, {})[start] = Curve(*np.array(sorted(rows)).T)
    return panels


def draw(folder: Path, quick: bool, seed: int) -> list[Path]:
    """Draw the figures of `folder / theory.json` beside it; none without matplotlib.

    Args:
        folder: of the run.
        quick, seed: of the run, for the captions.

    Returns:
        The files written.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return []
    verdicts = json.loads((folder / "theory.json").read_text())["verdicts"]
    caption = f"{'quick run, ' if quick else ''}seed {seed}"
    groups = {
        "rates": [v for v in verdicts if v["name"].startswith("rate-")],
        "controls": [v for v in verdicts if re.match("control-(?!decaying)", v["name"])],
        "decaying": [v for v in verdicts if re.match("(control-)?decaying-", v["name"])],
    }
    written = []
    for name, members in groups.items():
        panels = [
            (verdict, problem, of)
            for verdict in members
            for problem, of in curves(verdict["numbers"]).items()
        ]
        if panels:
            measured = "$F - F^*$" if name == "decaying" else "$M_T$"
            written.append(_figure(panels, folder / f"{name}.png", measured, caption))
    return written


def _figure(
    panels: list[tuple[dict[str, Any], str, dict[str, Curve]]],
    path: Path,
    measured: str,
    caption: str,
) -> Path:
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3 * columns, 2.6 * rows + 0.3), layout="constrained")
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes, (verdict, problem, starts) in zip(grid, panels, strict=False):
        for start, curve in starts.items():
            axes.plot(curve.T, curve.mean, ".-", color=COLOURS[start], label=start)
            low = np.maximum(curve.mean - curve.margin, curve.mean / 100)
            axes.fill_between(
                curve.T, low, curve.mean + curve.margin, color=COLOURS[start], alpha=0.25, lw=0
            )
            for slope, style, label in REFERENCES:
                axes.plot(
                    curve.T,
                    curve.mean[0] * (curve.T / curve.T[0]) ** slope,
                    style,
                    color="0.6",
                    lw=0.8,
                    zorder=0,
                    label=label,
                )
        axes.set_xscale("log")
        axes.set_yscale("log")
        shown = curve.T[:: -(-len(curve.T) // 5)]
        axes.set_xticks(shown, [f"{T:.0f}" for T in shown])
        axes.xaxis.set_minor_locator(NullLocator())
        title = verdict["statement"].split(": mean")[0].split("rate: ")[-1].split(": F")[0]
        title = f"{textwrap.fill(title, 32)}\n{problem}: {verdict['verdict']}".replace("\n: ", "\n")
        axes.set_title(title, fontsize=7)
        axes.tick_params(which="both", labelsize=6)
    handles = dict(zip(*reversed(grid[0].get_legend_handles_labels()), strict=True))
    figure.legend(
        list(handles.values()),
        list(handles),
        fontsize=7,
        frameon=False,
        ncols=len(handles),
        loc="outside upper center",
    )
    figure.supxlabel(f"T ({caption})", fontsize=8)
    figure.supylabel(measured, fontsize=8)
    figure.savefig(path, dpi=120)
    return path
