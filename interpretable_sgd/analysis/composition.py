"""Composition of classes: class <- units <- units of the layer below, as a graph and as formulas.

Index legend: `c` class, `m` unit, `b` unit of the layer below, `l` concept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from interpretable_sgd.analysis.sparsity import THRESHOLD


@dataclass(frozen=True)
class Node:
    """A class (level 0), a unit of the head (level 1), or a unit of the layer below (level 2)."""

    level: int
    index: int
    label: str


@dataclass(frozen=True)
class Edge:
    """What `target` reads from `source`, as positions in the graph's nodes."""

    source: int
    target: int
    weight: float


@dataclass(frozen=True)
class Composition:
    """A graph whose edges run from units to what reads them; strongest edges of a target first."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def sources(self, target: int) -> list[tuple[Node, float]]:
        """What a node reads, strongest first."""
        return [(self.nodes[e.source], e.weight) for e in self.edges if e.target == target]


def connections(layer: nn.Module) -> Tensor:
    r"""Weights between the units of two layers, (out, in).

    .. math:: C_{mb} = \sum_p W_{mbp}

    For a convolution the sum over the kernel: its response to a constant map, exact for 1x1.

    Args:
        layer: nn.Linear, nn.Conv2d, or a routed layer; groups read their own channels alone.

    Raises:
        TypeError: the layer is of another kind.

    >>> connections(nn.Conv2d(4, 6, 3, groups=2)).shape
    torch.Size([6, 4])
    """
    if isinstance(layer, nn.Linear):
        return layer.weight.detach()
    if not isinstance(layer, nn.Conv2d):
        raise TypeError(f"layer must be a Linear or Conv2d layer, got {type(layer).__name__}")
    sums = layer.weight.detach().sum((2, 3))
    found = sums.new_zeros(layer.out_channels, layer.in_channels)
    outputs, inputs = sums.shape[0] // layer.groups, sums.shape[1]
    for g in range(layer.groups):
        rows = slice(g * outputs, (g + 1) * outputs)
        found[rows, g * inputs : (g + 1) * inputs] = sums[rows]
    return found


def compose(
    weight: Tensor,
    below: Tensor | None = None,
    *,
    class_names: Sequence[str],
    labels: Sequence[str] | None = None,
    labels_below: Sequence[str] | None = None,
    classes: Sequence[int] | None = None,
    top: int = 5,
    threshold: float = THRESHOLD,
) -> Composition:
    """The strongest connections of each class, and of each unit that it reads: the paper's Figure 6.

    Args:
        weight: of the head, or any strength of unit m in class c, (C, M).
        below: strength of unit b in unit m, (M, B), as `connections` gives it.
        class_names: of all C classes.
        labels: concept of each unit; its number if None.
        labels_below: concept of each unit below.
        classes: which classes, in this order; all by default.
        top: connections kept of each node, >= 1, by size, signs kept.
        threshold: smaller connections are left out.

    Raises:
        ValueError: shapes or names do not fit; top is below 1.

    >>> import torch
    >>> graph = compose(torch.tensor([[0.0, 2.0, -1.0]]), class_names=["cinema"], top=1)
    >>> [(node.label, weight) for node, weight in graph.sources(0)]
    [('unit 1', 2.0)]
    """
    classes = range(len(weight)) if classes is None else classes
    labels = unit_names(weight.shape[1]) if labels is None else labels
    _check(weight, below, class_names, labels, top)
    nodes = [Node(0, c, class_names[c]) for c in classes]
    edges: list[Edge] = []
    place: dict[int, int] = {}
    for target, c in enumerate(classes):
        for m, strength in strongest(weight[c], top, threshold):
            if m not in place:
                place[m] = len(nodes)
                nodes.append(Node(1, m, labels[m]))
            edges.append(Edge(place[m], target, strength))
    if below is not None:
        names = unit_names(below.shape[1]) if labels_below is None else labels_below
        place_below: dict[int, int] = {}
        for m, target in place.items():
            for b, strength in strongest(below[m], top, threshold):
                if b not in place_below:
                    place_below[b] = len(nodes)
                    nodes.append(Node(2, b, names[b]))
                edges.append(Edge(place_below[b], target, strength))
    return Composition(tuple(nodes), tuple(edges))


def strongest(row: Tensor, top: int, threshold: float = THRESHOLD) -> list[tuple[int, float]]:
    """The entries of largest size, largest first, those below the threshold left out.

    >>> import torch
    >>> strongest(torch.tensor([0.5, -2.0, 0.0]), top=2)
    [(1, -2.0), (0, 0.5)]
    """
    found = row.abs().topk(min(top, len(row))).indices.tolist()
    return [(m, float(row[m])) for m in found if abs(float(row[m])) >= threshold]


def unit_names(count: int) -> list[str]:
    """Names of units that have no label, counted from 0."""
    return [f"unit {m}" for m in range(count)]


def formula(name: str, terms: Sequence[tuple[str, float]], bias: float, others: int = 0) -> str:
    """A class as a sum, in text.

    Args:
        name: of the class.
        terms: concept or unit, and weight.
        bias: of the class.
        others: connections that are not shown.

    >>> formula("cinema", [("screen", 2.0), ("sky", -0.5)], bias=-0.25, others=3)
    'cinema = 2.00 screen - 0.50 sky + 3 others - 0.25'
    """
    parts = [f"{'-' if weight < 0 else '+'} {abs(weight):.2f} {label}" for label, weight in terms]
    parts += [f"+ {others} {'other' if others == 1 else 'others'}"] * (others > 0)
    parts += [f"{'-' if bias < 0 else '+'} {abs(bias):.2f}"] * (bias != 0 or not parts)
    return f"{name} = {' '.join(parts).removeprefix('+ ')}"


def class_concepts(
    weight: Tensor, label: Tensor, labelled: Tensor, concepts: int, threshold: float = THRESHOLD
) -> Tensor:
    """Which concepts each class reads with positive weight, through units that have a label.

    Args:
        weight: (C, M).
        label: concept of each unit, (M,).
        labelled: whether to believe it, (M,), bool.
        concepts: L.
        threshold: smaller weights read nothing.

    Returns:
        (C, L), bool.

    >>> import torch
    >>> weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> class_concepts(weight, torch.tensor([1, 0]), torch.tensor([True, False]), 2)
    tensor([[False,  True],
            [False, False]])
    """
    reads = ((weight >= threshold) & labelled).double()
    return reads @ nn.functional.one_hot(label, concepts).double() > 0


@dataclass(frozen=True)
class Agreement:
    """How well the concepts that a class reads are those it is made of; each (C,), in [0, 1]."""

    precision: Tensor
    recall: Tensor
    f1: Tensor


def agreement(found: Tensor, truth: Tensor) -> Agreement:
    r"""Precision, recall and F1 of class -> concept against a known composition.

    .. math:: P_c = |F_c \cap T_c| / |F_c|, \quad R_c = |F_c \cap T_c| / |T_c|, \quad
              F_1 = 2 |F_c \cap T_c| / (|F_c| + |T_c|)

    A quotient of an empty set is 0.

    Args:
        found: (C, L), bool, as `class_concepts` gives it.
        truth: (C, L), bool.

    Raises:
        ValueError: the shapes differ.

    >>> import torch
    >>> agreement(torch.tensor([[True, True]]), torch.tensor([[True, False]])).precision
    tensor([0.5000], dtype=torch.float64)
    """
    if found.shape != truth.shape:
        raise ValueError(
            f"truth must have the shape {tuple(found.shape)}, got {tuple(truth.shape)}"
        )
    both = (found & truth).sum(1).double()
    named, true = found.sum(1).double(), truth.sum(1).double()
    return Agreement(
        both / named.clamp(min=1), both / true.clamp(min=1), 2 * both / (named + true).clamp(min=1)
    )


def _check(
    weight: Tensor,
    below: Tensor | None,
    class_names: Sequence[str],
    labels: Sequence[str],
    top: int,
) -> None:
    if len(class_names) != len(weight):
        raise ValueError(f"class_names must be {len(weight)} names, got {len(class_names)}")
    if len(labels) != weight.shape[1]:
        raise ValueError(f"labels must be {weight.shape[1]} names, got {len(labels)}")
    if below is not None and len(below) != weight.shape[1]:
        raise ValueError(
            f"below must have {weight.shape[1]} rows, one for each unit, got {len(below)}"
        )
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
