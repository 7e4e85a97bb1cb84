"""Figure 6 for a page: the composition graph, cut so that its lines can be followed."""

from typing import Any

from interpretable_sgd.analysis.composition import Composition, Edge
from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.report.graph import graph

CLASSES_A_GRAPH = {1: 4, 2: 1}  # by levels below the class
GRAPHS = 6
READ_BELOW = 3  # units that a unit's node shows


def view(study: Study) -> dict[str, Any]:
    """Graphs of a few classes each, and what to say of them."""
    found = study.composition
    depth = max((node.level for node in found.nodes), default=0)
    classes = [i for i, node in enumerate(found.nodes) if node.level == 0]
    size = CLASSES_A_GRAPH.get(depth, 1)
    groups = [classes[i : i + size] for i in range(0, len(classes), size)][:GRAPHS]
    graphs = []
    for group in groups:
        title = ", ".join(found.nodes[i].label for i in group)
        part = excerpt(found, group, READ_BELOW)
        graphs.append((title, graph(part, title=f"What these classes read: {title}")))
    shown = sum(len(group) for group in groups)
    note = "" if shown == len(classes) else f"The first {shown} of {len(classes)} classes."
    return {
        "graphs": graphs if found.edges else [],
        "has_below": depth == 2,
        "graph_note": note,
    }


def excerpt(found: Composition, roots: list[int], read_below: int) -> Composition:
    """The part of a graph that the roots read, and the strongest of what those units read."""
    kept, edges = list(roots), list[Edge]()
    for node in kept:
        own = [edge for edge in found.edges if edge.target == node]
        own = own if found.nodes[node].level == 0 else own[:read_below]
        edges += own
        kept += [edge.source for edge in own if edge.source not in kept]
    place = {node: i for i, node in enumerate(kept)}
    moved = tuple(Edge(place[e.source], place[e.target], e.weight) for e in edges)
    return Composition(tuple(found.nodes[node] for node in kept), moved)
