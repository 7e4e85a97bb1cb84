"""Figure 6 for a page: the composition graph, cut so that its lines can be followed."""

from typing import Any

from interpretable_sgd.analysis.composition import Composition, Edge
from interpretable_sgd.analysis.studies import Study
from interpretable_sgd.report.graph import graph

CLASSES_A_GRAPH = 4
GRAPHS = 6


def view(study: Study) -> dict[str, Any]:
    """Graphs of a few classes each, and what to say of them."""
    found = study.composition
    classes = [i for i, node in enumerate(found.nodes) if node.level == 0]
    groups = [classes[i : i + CLASSES_A_GRAPH] for i in range(0, len(classes), CLASSES_A_GRAPH)]
    graphs = []
    for group in groups[:GRAPHS]:
        part = excerpt(found, group)
        title = ", ".join(found.nodes[i].label for i in group)
        graphs.append((title, graph(part, title=f"What these classes read: {title}")))
    shown = sum(len(group) for group in groups[:GRAPHS])
    note = "" if shown == len(classes) else f"The first {shown} of {len(classes)} classes."
    return {
        "graphs": graphs if found.edges else [],
        "has_below": any(node.level == 2 for node in found.nodes),
        "graph_note": note,
    }


def excerpt(found: Composition, roots: list[int]) -> Composition:
    """The part of a graph that the roots read, directly or through what they read."""
    kept = list(roots)
    for node in kept:
        for edge in found.edges:
            if edge.target == node and edge.source not in kept:
                kept.append(edge.source)
    place = {node: i for i, node in enumerate(kept)}
    edges = tuple(
        Edge(place[e.source], place[e.target], e.weight)
        for e in found.edges
        if e.source in place and e.target in place
    )
    return Composition(tuple(found.nodes[node] for node in kept), edges)
