"""Accuracy against weights per class, for a reader in a hurry."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import numpy as np

from experiments.figures.svg import SCHEMES, Scheme, path, text, write

WIDTH, HEIGHT = 760, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 742, 58, 312
TICKS = (1, 2, 3, 5, 8, 16, 32, 64)


def frontier(out: Path, measured: dict[str, Any]) -> list[Path]:
    """Draw frontier-light.svg and its dark twin.

    A line keeps the k largest weights of every class and sets the others to 0, without refitting: mean
    over seeds, band from lowest to highest. A dot is a net as trained.
    """
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in measured["runs"]:
        runs.setdefault(run["optimizer"], []).append(run)
    seeds = len({run["seed"] for run in measured["runs"]})
    counts = measured["runs"][0]["accuracy_at_weights"]["weights"]
    widest = counts[-1]

    def x(count: float) -> float:
        return LEFT + (RIGHT - LEFT) * log(count) / log(widest)

    def y(share: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * share

    paths = []
    for scheme in SCHEMES:
        heading = f"Test accuracy when a class keeps its k largest weights ({seeds} seed{'s' * (seeds > 1)})"
        parts = [
            text(0, 20, heading, scheme.ink, 17, font_weight="600"),
            *axes(x, y, widest, scheme),
        ]
        for name, some in runs.items():
            colour = scheme.ours if name == "InterpretableSGD" else scheme.theirs
            kept = np.array([run["accuracy_at_weights"]["accuracy"] for run in some])
            low, mean, high = kept.min(0), kept.mean(0), kept.max(0)
            line = [f"{x(k):.1f} {y(a):.1f}" for k, a in zip(counts, mean, strict=True)]
            band = [f"{x(k):.1f} {y(a):.1f}" for k, a in zip(counts, high, strict=True)]
            band += [f"{x(k):.1f} {y(a):.1f}" for k, a in zip(counts[::-1], low[::-1], strict=True)]
            parts.append(path(f"M{'L'.join(band)}z", fill=colour, fill_opacity="0.18"))
            parts.append(path(f"M{'L'.join(line)}", fill="none", stroke=colour, stroke_width="2.5"))
            for run in some:
                centre = f"{x(run['weights_per_class']):.1f} {y(run['test_accuracy']):.1f}"
                parts.append(
                    path(f"M{centre}h0", stroke=colour, stroke_width="11", stroke_linecap="round")
                )
        parts += legend(list(runs), scheme)
        title = f"{heading}, of networks trained with {' and with '.join(runs)}"
        place = out / f"frontier-{scheme.name}.svg"
        paths.append(write(place, WIDTH, HEIGHT, title, parts))
    return paths


def axes(x: Any, y: Any, widest: int, scheme: Scheme) -> list[str]:
    """Grid and labels."""
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(path(f"M{LEFT} {y(share):g}H{RIGHT}", stroke=scheme.line, stroke_width="1"))
        parts.append(text(LEFT - 8, y(share) + 4, f"{share:.0%}", scheme.quiet, 12.5, "end"))
    for count in (tick for tick in TICKS if tick <= widest):
        parts.append(text(x(count), BOTTOM + 20, str(count), scheme.quiet, 12.5, "middle"))
    middle = (LEFT + RIGHT) / 2
    parts.append(text(middle, BOTTOM + 42, "weights per class", scheme.quiet, 12.5, "middle"))
    return parts


def legend(names: list[str], scheme: Scheme) -> list[str]:
    """What the colours and the dots are."""
    parts, left = [], LEFT
    for name in names:
        colour = scheme.ours if name == "InterpretableSGD" else scheme.theirs
        parts.append(path(f"M{left} 40h18", stroke=colour, stroke_width="3"))
        parts.append(text(left + 24, 44, name, colour, 13.5, font_weight="600"))
        left += 52 + 8 * len(name)
    parts.append(text(left, 44, "● as trained", scheme.quiet, 13.5))
    return parts
