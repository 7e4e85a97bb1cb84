"""Sparsity of the head: units that a class reads, and classes that share a unit.

Index legend: `m` unit, `c` class.

"At most 5 concepts a class" has three readings: weights of the class (`weights_per_class`),
distinct labels of their units (`labels_per_class`), and units whose mean contributions make up the
mean score (`units_per_class`). `at_most` gives the share of classes for each.
"""

import torch
from torch import Tensor

from interpretable_sgd.analysis.contributions import shares, units_to_reach

THRESHOLD = 1e-3  # below it a weight counts as 0: Figure 5b of the paper


def sparsity(weight: Tensor, threshold: float = THRESHOLD) -> float:
    """Share of the weights with |W_cm| < threshold, in [0, 1] (the paper, Figure 5b).

    >>> sparsity(torch.tensor([[2.0, 0.0, 1e-4, -1e-3]]))
    0.5
    """
    return (weight.abs() < threshold).double().mean().item()


def weights_per_class(weight: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """#{m : |W_cm| >= threshold}, (C,), int64.

    Its mean is NEC, the number of effective concepts (Srivastava, Yan and Weng, VLG-CBM, NeurIPS
    2024), whose code counts from 1e-5.

    Args:
        weight: of the head, (C, M).
        threshold: above 0.

    >>> weights_per_class(torch.tensor([[2.0, 0.0], [1.0, -1.0]]))
    tensor([1, 2])
    """
    return (weight.abs() >= threshold).sum(1)


def labels_per_class(weight: Tensor, labels: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Distinct labels among the units that a class reads, (C,), int64.

    A unit without a label is nothing that another one could repeat: it counts by itself.

    Args:
        weight: of the head, (C, M).
        labels: index of each unit's label, -1 for none, (M,).
        threshold: of the weights, above 0.

    Raises:
        ValueError: there is not one label per unit.

    >>> weight = torch.ones(1, 5)
    >>> labels_per_class(weight, torch.tensor([7, 7, 3, -1, -1]))
    tensor([4])
    """
    if labels.shape != weight.shape[1:]:
        raise ValueError(
            f"labels must be one per unit, ({weight.shape[1]},), got {tuple(labels.shape)}"
        )
    read = weight.abs() >= threshold
    alone = read[:, labels < 0].sum(1)
    for label in labels[labels >= 0].unique():
        alone = alone + read[:, labels == label].any(1)
    return alone


def units_per_class(mean_parts: Tensor, bias: Tensor, level: float = 0.95) -> Tensor:
    r"""The fewest units whose mean contributions reach a level of the mean score, (C,).

    .. math:: \min \{k : \sum_{j \le k} \bar{P}_{c(j)} \ge \text{level} \cdot
              (\bar{b}_c + \sum_m \bar{P}_{cm})\}

    A ratio of means rather than a mean of ratios: scores near 0 do not blow it up.

    Args:
        mean_parts: contributions to class c, means over its images, (C, M).
        bias: of the head, (C,).
        level: of the mean logit, above 0.

    Returns:
        Floating point: inf where all units together do not reach it, NaN for a class without images
        or with a mean logit at or below 0.

    >>> units_per_class(torch.tensor([[6.0, 3.0, 1.0]]), torch.zeros(1), 0.9)
    tensor([2.])
    """
    return units_to_reach(shares(mean_parts, bias), level)


def at_most(counts: Tensor, k: int = 5) -> float:
    """Share of the classes with at most k; NaN, a class without images, is left out.

    >>> at_most(torch.tensor([3.0, 5.0, 6.0, torch.inf, torch.nan]), 5)
    0.5
    """
    return (counts[~counts.isnan()] <= k).double().mean().item()


def readers(weight: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """#{c : |W_cm| >= threshold}, how many classes read a unit, (M,), int64.

    >>> readers(torch.tensor([[2.0, 0.0], [1.0, -1.0]]))
    tensor([2, 1])
    """
    return (weight.abs() >= threshold).sum(0)


def dead_units(weight: Tensor, activity: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Units that decide nothing: never above 0, or read by no class, (M,), bool.

    Args:
        weight: of the head, (C, M).
        activity: share of the images where a unit is above 0, (M,).
        threshold: of the weights, above 0.

    >>> dead_units(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([0.5, 0.0, 0.5]))
    tensor([False,  True,  True])
    """
    return (activity == 0) | (readers(weight, threshold) == 0)


def shared_units(weight: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Units that two classes or more read, (M,), bool.

    >>> shared_units(torch.tensor([[2.0, 0.0], [1.0, -1.0]]))
    tensor([ True, False])
    """
    return readers(weight, threshold) > 1


def usage_entropy(usage: Tensor) -> float:
    r"""How evenly the units are used: 1 if all alike, 0 if one does everything.

    .. math:: H = -\frac{1}{\log M} \sum_m u_m \log u_m, \qquad u_m = U_m / \sum_{m'} U_{m'}

    Args:
        usage: U, not negative, as `Decisions.mass`, or `readers`; (M,).

    Returns:
        In [0, 1]; NaN where nothing is used.

    Raises:
        ValueError: a usage is negative.

    >>> usage_entropy(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    0.5
    """
    if (usage < 0).any():
        raise ValueError(f"usage must not be negative, got {float(usage.min())}")
    shared = usage.double() / usage.double().sum()
    if len(usage) < 2:
        return 1.0
    most = torch.tensor(float(len(usage)), dtype=torch.float64).log()
    return (torch.special.entr(shared).sum() / most).item()
