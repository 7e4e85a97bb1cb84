"""The weights of a dense and of a readable head side by side, as heat maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.figures.heads import THRESHOLD, staircase
from experiments.figures.svg import SCHEMES, Scheme, path, rectangle, text, write

WIDTH, MAP, TOP, ROW = 760, 364, 66, 9
LEVELS = 8


def head_maps(out: Path, measured: dict[str, Any]) -> list[Path]:
    """Draw head-maps-light.svg and its dark twin; a cell is a weight, an empty one |w| < 1e-3."""
    weights = {name: np.array(rows) for name, rows in measured["weights"].items()}
    most = max(abs(weight).max() for weight in weights.values())
    runs = {run["optimizer"]: run for run in measured["runs"] if run["seed"] == measured["seed"]}
    classes, units = next(iter(weights.values())).shape
    bottom = TOP + ROW * classes
    title = f"Weights of {classes} classes over {units} units, trained with " + " and with ".join(
        f"{name}: {runs[name]['weights_per_class']:.1f} weights per class" for name in weights
    )
    paths = []
    for scheme in SCHEMES:
        parts = []
        for number, (name, weight) in enumerate(weights.items()):
            left = number * (WIDTH - MAP)
            run, colour = runs[name], scheme.ours if number else scheme.theirs
            said = f"{run['weights_per_class']:.1f} weights per class · {run['test_accuracy']:.1%} right"
            parts += [
                text(left, 20, name, colour, 17, font_weight="600"),
                text(left, 43, said, scheme.ink, 14),
                rectangle(left, TOP, MAP, ROW * classes, fill=scheme.panel),
                *cells(weight[:, staircase(weight)], left, most, scheme),
            ]
        axis = f"{classes} classes (rows), {units} units (columns), sorted by the class they weigh most in"
        parts.append(text(0, bottom + 22, axis, scheme.quiet, 12.5))
        for word, colour, x in (("for", scheme.positive, 640), ("against", scheme.negative, 690)):
            parts.append(rectangle(x, bottom + 12, 11, 11, fill=colour))
            parts.append(text(x + 16, bottom + 22, word, scheme.quiet, 12.5))
        place = out / f"head-maps-{scheme.name}.svg"
        paths.append(write(place, WIDTH, bottom + 34, title, parts))
    return paths


def cells(weight: np.ndarray, left: float, most: float, scheme: Scheme) -> list[str]:
    """One path for each sign and strength; opacity grows with the square root of |w|."""
    width = MAP / weight.shape[1]
    strength = np.ceil(LEVELS * np.sqrt(abs(weight) / most)).clip(1, LEVELS).astype(int)
    strength[abs(weight) < THRESHOLD] = 0
    paths = []
    for sign, colour in ((1, scheme.positive), (-1, scheme.negative)):
        for level in range(1, LEVELS + 1):
            rows, columns = ((np.sign(weight) == sign) & (strength == level)).nonzero()
            steps = "".join(
                f"M{left + column * width:.1f} {TOP + row * ROW}h{width:.1f}v{ROW}h-{width:.1f}z"
                for row, column in zip(rows, columns, strict=True)
            )
            if steps:
                paths.append(path(steps, fill=colour, fill_opacity=f"{level / LEVELS:g}"))
    return paths
