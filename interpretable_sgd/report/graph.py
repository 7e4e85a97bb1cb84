"""Figure 6: classes, the units that they read, and the units below, with lines as wide as weights."""

from textwrap import wrap

from markupsafe import Markup

from interpretable_sgd.analysis.composition import Composition, Node
from interpretable_sgd.report.markup import svg, tag
from interpretable_sgd.report.words import signed

WIDTH, ROW = 400.0, 24.0
WIDEST = 7.0


def graph(found: Composition, *, title: str) -> Markup:
    """Classes on the left, what they read to the right of them, level by level.

    Nodes of a level stand in the order of their readers, so that lines cross little.
    """
    levels = [[i for i, n in enumerate(found.nodes) if n.level == k] for k in range(3)]
    levels = [members for members in levels if members]
    places: dict[int, tuple[float, float]] = {}
    height = ROW * max((len(members) for members in levels), default=1) + 6
    columns = len(levels)
    for k, members in enumerate(levels):
        if k:
            members.sort(key=lambda i: _reader(found, i, places))
        gap = height / max(1, len(members))
        x = WIDTH * (k + 0.5) / columns if columns > 2 else (WIDTH * (0.36, 0.60)[k])
        for j, i in enumerate(members):
            places[i] = (x, (j + 0.5) * gap)
    most = max((abs(edge.weight) for edge in found.edges), default=1.0)
    drawn = []
    for edge in found.edges:
        (x1, y1), (x2, y2) = places[edge.target], places[edge.source]
        pad = 0.0 if columns == 2 else 52.0
        x1, x2 = x1 + 6 + pad, x2 - 6 - pad
        middle = (x1 + x2) / 2
        hint = f"{found.nodes[edge.source].label}: {signed(edge.weight)}"
        drawn.append(
            tag(
                "path",
                tag("title", hint),
                d=f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}",
                stroke_width=max(0.6, WIDEST * abs(edge.weight) / most),
                class_=f"edge {'minus' if edge.weight < 0 else 'plus'}",
            )
        )
    for i, node in enumerate(found.nodes):
        drawn.append(_node(node, *places[i], columns))
    return svg(WIDTH, height, *drawn, title=title, class_="graph")


def _node(node: Node, x: float, y: float, columns: int) -> Markup:
    """A name, in as many lines as it needs."""
    anchor = "middle" if columns > 2 else "start" if node.level else "end"
    rows = wrap(node.label, 17 if columns > 2 else 20 if node.level == 0 else 26)
    rows = rows[:3] if node.level == 0 else rows[:1]
    top = y + 4 - 7 * (len(rows) - 1)
    spans = [tag("tspan", row, x=x, y=top + 14 * k) for k, row in enumerate(rows)]
    name = node.label if node.level == 0 else f"{node.label} (unit {node.index})"
    return tag(
        "text", tag("title", name), *spans, text_anchor=anchor, class_=f"node level{node.level}"
    )


def _reader(found: Composition, node: int, places: dict[int, tuple[float, float]]) -> float:
    """Mean height of those who read a node, weighted by how much they do."""
    edges = [edge for edge in found.edges if edge.source == node and edge.target in places]
    total = sum(abs(edge.weight) for edge in edges)
    return sum(places[e.target][1] * abs(e.weight) for e in edges) / total if total else 0.0
