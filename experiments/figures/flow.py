"""How data flows: from a batch through a training step, and from a trained model to a report."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from experiments.figures.svg import MONO, SCHEMES, Scheme, path, rectangle, text, write

WIDTH, BOX, STEP, TALL, ROW, TOP = 760, 166, 197, 80, 132, 30
EDGE = 1  # of the picture: room for half a line
LIBRARY = "interpretable_sgd"


class Box(NamedTuple):
    """What happens, in two lines, and the module where; `module` is empty for what is the user's."""

    title: str
    lines: tuple[str, str]
    module: str


class Row(NamedTuple):
    """Boxes from left to right; `step` is 1, or -1 where data flows to the left."""

    heading: str
    step: int
    boxes: tuple[Box, Box, Box, Box]


ROWS = (
    Row(
        "Backward leaves a gradient and a statistic",
        1,
        (
            Box("batch", ("images x, labels", ""), ""),
            Box("forward", ("a tap on each routed", "layer keeps its x"), "activations.py"),
            Box("loss", ("any", ""), ""),
            Box("backward", ("gradient g, statistic", "Σ h x²: one product"), "masks.py"),
        ),
    ),
    Row(
        "The mask is drawn from the past",
        -1,
        (
            Box("mask", ("q, one for the batch,", "by seed and step"), "sampling.py"),
            Box(
                "probabilities",
                ("π: a row sums to the", "block size K, with a floor"),
                "probabilities.py",
            ),
            Box("gate constants", ("G = Ŵ₊² L, a step", "ahead of the weights"), "lipschitz.py"),
            Box("running means", ("of statistic, L, and", "of gradient"), "updates.py"),
        ),
    ),
    Row(
        "Only what is selected learns",
        1,
        (
            Box("update", ("SGD on q ⊙ g, with", "momentum and decay"), "optimizer.py"),
            Box("shrink", ("what is not selected", "moves towards 0"), "narrowing.py"),
            Box("weights", ("about K a class", "in the end"), ""),
            Box("routed_units()", ("support, probabilities,", "shares"), "units.py"),
        ),
    ),
    Row(
        "Reading it: any trained classifier, whatever the optimizer",
        1,
        (
            Box("decide", ("each logit as the sum", "of its units"), "analysis/decisions.py"),
            Box(
                "dissect", ("which concept a unit", "shows, against chance"), "analysis/dissection/"
            ),
            Box("study", ("every number with", "its definition"), "analysis/conduct.py"),
            Box("report", ("one HTML page,", "JSON, CSV"), "report/write.py"),
        ),
    ),
)


def modules() -> list[str]:
    """Modules that the picture names, from the root of the repository."""
    return [f"{LIBRARY}/{box.module}" for row in ROWS for box in row.boxes if box.module]


def flow(out: Path) -> list[Path]:
    """Draw flow-light.svg and its dark twin."""
    title = "; ".join(f"{row.heading}: {', '.join(b.title for b in row.boxes)}" for row in ROWS)
    height = TOP + ROW * (len(ROWS) - 1) + TALL + 34
    paths = []
    for scheme in SCHEMES:
        parts = [part for number, row in enumerate(ROWS) for part in drawn(row, number, scheme)]
        left, third, right = (EDGE + column * STEP + BOX / 2 for column in (0, 2, 3))
        parts += [
            arrow(right, bottom(0), right, top(1) - 4, scheme),
            arrow(left, bottom(1), left, top(2) - 4, scheme),
            text(right - 12, bottom(0) + 20, "after the step", scheme.quiet, 11.5, "end"),
            text(third, height - 6, "filled: yours · outlined: the library", scheme.quiet, 11.5),
        ]
        paths.append(write(out / f"flow-{scheme.name}.svg", WIDTH, height, title, parts))
    return paths


def top(row: int) -> float:
    """The upper edge of a row's boxes."""
    return TOP + ROW * row


def bottom(row: int) -> float:
    """Their lower edge."""
    return top(row) + TALL


def drawn(row: Row, number: int, scheme: Scheme) -> list[str]:
    """A heading, four boxes, and the arrows between them."""
    y = top(number)
    start = EDGE if number != 2 else EDGE + BOX / 2 + 14  # beside the arrow from above
    parts = [text(start, y - 12, row.heading, scheme.ink, 14, font_weight="600")]
    for column, box in enumerate(row.boxes):
        x = EDGE + column * STEP
        fill, edge = ("none", scheme.ours) if box.module else (scheme.panel, scheme.line)
        parts += [
            rectangle(x, y, BOX, TALL, rx="9", fill=fill, stroke=edge, stroke_width="1.4"),
            text(x + 12, y + 21, box.title, scheme.ink, 14, font_weight="600"),
            *(
                text(x + 12, y + 40 + 16 * n, line, scheme.quiet, 12)
                for n, line in enumerate(box.lines)
            ),
            text(x + 12, y + 72, box.module, scheme.ours, 10.5, font_family=MONO),
        ]
        if column:
            middle = y + TALL / 2
            ends = (x - STEP + BOX + 3, x - 4) if row.step > 0 else (x - 3, x - STEP + BOX + 4)
            parts.append(arrow(ends[0], middle, ends[1], middle, scheme))
    return parts


def arrow(x: float, y: float, to_x: float, to_y: float, scheme: Scheme) -> str:
    """A straight arrow along an axis."""
    across, down = (to_x > x) - (to_x < x), (to_y > y) - (to_y < y)
    back_x, back_y = to_x - 6 * across, to_y - 6 * down
    one, other = (
        f"{back_x + 4 * side * down:g} {back_y + 4 * side * across:g}" for side in (-1, 1)
    )
    line = f"M{x:g} {y:g}L{to_x:g} {to_y:g}M{one}L{to_x:g} {to_y:g}L{other}"
    return path(line, fill="none", stroke=scheme.quiet, stroke_width="1.6")
