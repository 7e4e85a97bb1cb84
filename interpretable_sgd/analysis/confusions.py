"""Confusions: classes that are taken for one another, and the units that tell them apart."""

from dataclasses import dataclass

import torch
from torch import Tensor

from interpretable_sgd.analysis.composition import strongest

PAIRS = 6  # of classes, in a study


@dataclass(frozen=True)
class Contrast:
    """What tells two classes apart.

    Attributes:
        first: class.
        second: class.
        confused: images of one that are taken for the other.
        shared: (unit, weight in first, weight in second), units that both read.
        only_first: (unit, weight), units that the first class alone reads.
        only_second: (unit, weight).
    """

    first: int
    second: int
    confused: int
    shared: tuple[tuple[int, float, float], ...]
    only_first: tuple[tuple[int, float], ...]
    only_second: tuple[tuple[int, float], ...]


def contrast(
    weight: Tensor, first: int, second: int, *, confused: int = 0, top: int = 5
) -> Contrast:
    """Units that two classes share, and those that one of them reads alone.

    A class reads the `top` units of largest |weight| among those of at least 1e-3.

    Args:
        weight: (C, M).
        first: class.
        second: another class.
        confused: images of one that are taken for the other.
        top: units of a class, >= 1.

    Raises:
        ValueError: the classes are the same.

    >>> found = contrast(torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]]), 0, 1)
    >>> found.shared, found.only_first, found.only_second
    (((1, 2.0, 1.0),), ((0, 1.0),), ((2, 3.0),))
    """
    if first == second:
        raise ValueError(f"first and second must be two classes, got {first} twice")
    one = dict(strongest(weight[first], top))
    two = dict(strongest(weight[second], top))
    return Contrast(
        first,
        second,
        confused,
        tuple((m, w, two[m]) for m, w in one.items() if m in two),
        tuple((m, w) for m, w in one.items() if m not in two),
        tuple((m, w) for m, w in two.items() if m not in one),
    )


def confused_pairs(labels: Tensor, predicted: Tensor, count: int) -> list[tuple[int, int, int]]:
    """Pairs of classes most often taken for one another: (first, second, images).

    >>> confused_pairs(torch.tensor([0, 1, 2]), torch.tensor([1, 0, 2]), 3)
    [(0, 1, 2)]
    """
    wrong = labels != predicted
    pairs = torch.stack((labels[wrong], predicted[wrong]), 1).sort(1).values
    if not len(pairs):
        return []
    found, times = pairs.unique(dim=0, return_counts=True)
    order = times.argsort(descending=True, stable=True)[:count].tolist()
    return [(int(found[i, 0]), int(found[i, 1]), int(times[i])) for i in order]


def better_order(labels: Tensor, predicted: Tensor, gain: float = 0.2) -> float | None:
    """Accuracy if classes were in another order, where that is much more; None where it is not.

    Outputs of a model whose classes are read in a wrong order agree with other labels: most images
    of a class are then given one other class, and another one for each class.

    Args:
        labels: true classes, (n,).
        predicted: (n,).
        gain: of accuracy, from which the other order is told.

    >>> labels = torch.tensor([0, 0, 1, 1, 2, 2])
    >>> better_order(labels, (labels + 1) % 3), better_order(labels, labels)
    (1.0, None)
    """
    pairs, times = torch.stack([labels, predicted], 1).unique(dim=0, return_counts=True)
    most: dict[int, tuple[int, int]] = {}
    for (label, given), count in zip(pairs.tolist(), times.tolist(), strict=True):
        if count > most.get(label, (0, 0))[0]:
            most[label] = count, given
    if len({given for _, given in most.values()}) < len(most):
        return None
    other = sum(count for count, _ in most.values()) / len(labels)
    accuracy = float((labels == predicted).double().mean())
    return other if other >= accuracy + gain else None


def contrasts(
    weight: Tensor, labels: Tensor, predicted: Tensor, top: int, count: int = PAIRS
) -> tuple[Contrast, ...]:
    """Of the classes most often confused.

    Args:
        weight: (C, M).
        labels: true classes, (n,).
        predicted: (n,).
        top: units of a class, >= 1.
        count: pairs, at most.
    """
    pairs = confused_pairs(labels, predicted, count)
    return tuple(contrast(weight, a, b, confused=n, top=top) for a, b, n in pairs)
