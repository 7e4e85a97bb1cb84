"""Diagrams of the report: a logit as a sum, and what classes are made of (the paper's Figure 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from textwrap import wrap

from markupsafe import Markup

from interpretable_sgd.analysis.composition import Composition, Edge, Node
from interpretable_sgd.report.formatting import signed
from interpretable_sgd.report.svg import Scale, svg, tag

ROW = 24.0
WIDTH = 400.0  # of a sum
NAMES, VALUES = 140.0, 56.0
WIDEST = 7.0  # line of a graph
NAME, GAP = 150.0, 74.0  # widths of the names of classes, and between levels
LETTER, LONGEST = 6.6, 26  # of a unit's name


@dataclass(frozen=True)
class Part:
    """A term of the sum.

    Attributes:
        name: of the unit or concept, "bias", or "other units".
        value: signed.
        kind: "unit", "rest", or "bias"; decides how it is drawn.
    """

    name: str
    value: float
    kind: str = "unit"


def waterfall(parts: Sequence[Part], total_name: str, *, title: str) -> Markup:
    """Rows of parts and a last row with their sum, from 0.

    >>> drawn = waterfall([Part("red disc", 2.0), Part("bias", -0.5, "bias")], "logit", title="sum")
    >>> "+1.50" in drawn
    True
    """
    ends = list(accumulate(part.value for part in parts))
    starts = [0.0, *ends[:-1]]
    total = ends[-1] if ends else 0.0
    reach = [0.0, *ends]
    scale = Scale(min(reach), max(reach), NAMES + 4, WIDTH - VALUES - 4)
    rows = [*parts, Part(total_name, total, "total")]
    drawn = [tag("line", x1=scale(0), x2=scale(0), y1=0, y2=ROW * len(rows), class_="zero")]
    for i, (part, start) in enumerate(zip(rows, [*starts, 0.0], strict=True)):
        y = i * ROW
        left, right = sorted((scale(start), scale(start + part.value)))
        sign = "minus" if part.value < 0 else "plus"
        class_ = f"part {part.kind} {sign}"
        name = part.name if len(part.name) <= 22 else part.name[:21] + "\N{HORIZONTAL ELLIPSIS}"
        drawn += [
            tag("text", name, x=NAMES - 8, y=y + 16, text_anchor="end", class_=f"name {part.kind}"),
            tag(
                "rect", x=left, y=y + 4, width=max(right - left, 1.0), height=ROW - 8, class_=class_
            ),
            tag(
                "text",
                signed(part.value),
                x=WIDTH,
                y=y + 16,
                text_anchor="end",
                class_=f"value {part.kind}",
            ),
        ]
        if i < len(parts):
            x = scale(start + part.value)
            drawn.append(tag("line", x1=x, x2=x, y1=y + ROW - 4, y2=y + ROW + 4, class_="joint"))
    return svg(WIDTH, ROW * len(rows), *drawn, title=title, class_="waterfall")


def graph(found: Composition, *, title: str) -> Markup:
    """Classes on the left, what they read to the right of them, level by level.

    Nodes of a level stand in the order of their readers, so that lines cross little.
    """
    levels = [[i for i, n in enumerate(found.nodes) if n.level == k] for k in range(3)]
    levels = [members for members in levels if members]
    height = ROW * max((len(members) for members in levels), default=1) + 6
    places: dict[int, float] = {}
    for k, members in enumerate(levels):
        if k:
            members.sort(key=lambda i: _reader(found, i, places))
        gap = height / max(1, len(members))
        places |= {i: (j + 0.5) * gap for j, i in enumerate(members)}
    most = max((abs(edge.weight) for edge in found.edges), default=1.0)
    longest = max((len(n.label) for n in found.nodes if n.level), default=0)
    unit = 14 + LETTER * min(LONGEST, longest)
    drawn = [_line(found, edge, places, most, unit) for edge in found.edges]
    drawn += [_name(found.nodes[i], y, unit) for i, y in places.items()]
    width = NAME + (GAP + unit) * max(1, len(levels) - 1)
    return svg(
        width, height, *drawn, title=title, class_="graph" if len(levels) < 3 else "graph wide"
    )


def _left(level: int, unit: float) -> float:
    """Where the names of a level begin, if those of units are so wide; those of classes end at `NAME`."""
    return 0.0 if level == 0 else NAME + GAP + (level - 1) * (unit + GAP)


def _line(
    found: Composition, edge: Edge, places: dict[int, float], most: float, unit: float
) -> Markup:
    reader, read = found.nodes[edge.target], found.nodes[edge.source]
    x1 = NAME + 7 if reader.level == 0 else _left(reader.level, unit) + unit - 6
    x2, y1, y2 = _left(read.level, unit) - 7, places[edge.target], places[edge.source]
    middle = (x1 + x2) / 2
    return tag(
        "path",
        tag("title", f"{read.label}: {signed(edge.weight)}"),
        d=f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}",
        stroke_width=max(0.6, WIDEST * abs(edge.weight) / most),
        class_=f"edge {'minus' if edge.weight < 0 else 'plus'}",
    )


def _name(node: Node, y: float, unit: float) -> Markup:
    """A name; that of a class in as many lines as it needs, up to three."""
    is_class = node.level == 0
    rows = wrap(node.label, 22 if is_class else LONGEST)[: 3 if is_class else 1] or [""]
    x, top = NAME if is_class else _left(node.level, unit), y + 4 - 7 * (len(rows) - 1)
    spans = [tag("tspan", row, x=x, y=top + 14 * k) for k, row in enumerate(rows)]
    whole = node.label if is_class else f"{node.label} (unit {node.index})"
    anchor = "end" if is_class else "start"
    return tag(
        "text", tag("title", whole), *spans, text_anchor=anchor, class_=f"node level{node.level}"
    )


def _reader(found: Composition, node: int, places: dict[int, float]) -> float:
    """Mean height of those who read a node, weighted by how much they do."""
    edges = [edge for edge in found.edges if edge.source == node and edge.target in places]
    total = sum(abs(edge.weight) for edge in edges)
    return sum(places[e.target] * abs(e.weight) for e in edges) / total if total else 0.0
