"""Interpretability of units and classes, by the metrics of peer papers.

Index legend: `n` image, `m` unit, `c` class, `p` position of a map.

Definitions are those of the papers' published code, which was read for them: Q-SENN and QPM
(github.com/ThomasNorr/QPM, ``evaluation``), VLG-CBM (github.com/Trustworthy-ML-Lab/VLG-CBM,
``evaluations/sparse_utils.py``). Q-SENN: Norrenbrock, Rudolph and Rosenhahn, Q-SENN: Quantized
Self-Explaining Neural Networks, AAAI 2024. QPM: Norrenbrock, Kaiser, Biswas, Manuvinakurike and
Rosenhahn, QPM: Discrete Optimization for Globally Interpretable Image Classification, ICLR 2025.
VLG-CBM: Srivastava, Yan and Weng, VLG-CBM: Training Concept Bottleneck Models with Vision-Language
Guidance, NeurIPS 2024. The peers measure Class-Independence and Contrastiveness on training images.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from interpretable_sgd.analysis.mixtures import overlaps

Scale = Literal["softmax", "sum"]


def dependence(parts: Tensor) -> Tensor:
    r"""How much of a decision hangs on its largest contribution (Q-SENN).

    .. math:: d_n = \max_m |P_{nm}| / \sum_m |P_{nm}|

    The figure of the paper is the mean over images, of the predicted class.

    Args:
        parts: contributions to one class per image, (n, M).

    Returns:
        In [1 / M, 1], (n,); NaN for an image without any contribution.

    >>> dependence(torch.tensor([[3.0, -1.0, 0.0]]))
    tensor([0.7500])
    """
    sizes = parts.abs()
    total = sizes.sum(1)
    return sizes.amax(1) / torch.where(total > 0, total, torch.nan)


def class_independence(class_means: Tensor, counts: Tensor, minimum: Tensor) -> float:
    r"""How little of a unit's activity one class makes (QPM): 1 - 1/C at best, 0 for class detectors.

    .. math:: \tau = 1 - \frac{1}{M} \sum_m \max_c
              \frac{\sum_{n \in c} (x_{nm} - \min_{n'} x_{n'm})}{\sum_n (x_{nm} - \min_{n'} x_{n'm})}

    A unit that never changes has no share and is left out, where the published code counts it as
    fully independent.

    Args:
        class_means: mean units over the images of each class, (C, M); rows without images unused.
        counts: images of each class, (C,).
        minimum: the smallest value of each unit, (M,).

    Returns:
        In [0, 1]; NaN if no unit ever changes.

    >>> means, counts = torch.tensor([[1.0, 1.0], [0.0, 3.0]]), torch.tensor([10, 10])
    >>> class_independence(means, counts, torch.zeros(2))  # shares 1 and 3/4
    0.125
    """
    seen = counts > 0
    # above the unit's minimum, so that shares are of something that is not negative
    raised = (class_means[seen].double() - minimum.double()).clamp(min=0)
    sums = raised * counts[seen, None]
    total = sums.sum(0)
    changing = total > 0
    return 1 - (sums.amax(0) / total)[changing].mean().item()


def contrastiveness(units: Tensor) -> float:
    r"""How clearly units are either on or off (QPM).

    .. math:: 1 - \frac{1}{M} \sum_m \int \min(N(x; \mu_{m1}, \sigma_{m1}^2),
              N(x; \mu_{m2}, \sigma_{m2}^2)) dx

    with the two Gaussians of a mixture fitted to the values of the unit. A unit that never changes
    counts 0.

    Args:
        units: of all images or a uniform draw, (n, M), at least two images.

    Returns:
        In [0, 1].

    Raises:
        ValueError: there are fewer than two images.

    >>> on = torch.randn(200, 1) / 10 + torch.arange(200)[:, None] % 2
    >>> contrastiveness(on) > 0.99
    True
    """
    if units.dim() != 2 or len(units) < 2:
        raise ValueError(f"units must be (n, m) of at least 2 images, got {tuple(units.shape)}")
    return 1 - overlaps(units).mean().item()


def diversity(
    maps: Tensor, weight: Tensor, classes: Tensor, k: int = 5, scale: Scale = "sum"
) -> Tensor:
    r"""How far apart in the image the k units of the largest weights of a class look.

    .. math:: D_n = \frac{1}{k} \sum_p \max_{m \in \text{top}_k(W_c)} \hat{A}_{nmp}, \qquad
              \sum_p \hat{A}_{nmp} = 1

    1 if the maps do not overlap, 1/k if they are the same. With ``scale="softmax"``,
    :math:`\hat{A} = \text{softmax}_p A`, this is Diversity@k of Q-SENN, which grows with the scale
    of the activations. ``"sum"`` divides each map, above its minimum, by its sum: like QPM's SID@k
    it does not see the scale, but the exact normalisation of SID could not be verified, so the two
    are not to be compared in the third digit.

    Args:
        maps: of the units, (n, M, h, w).
        weight: of the head, (C, M).
        classes: one per image, the predicted ones in the papers, (n,).
        k: units, from 1 to M.
        scale: how a map becomes a distribution.

    Returns:
        (n,); NaN where a class has fewer than k weights above 0, as the papers leave those out.

    Raises:
        ValueError: maps, k or scale are no such thing.

    >>> maps = torch.eye(2).view(1, 2, 1, 2)  # one unit looks left, one right
    >>> diversity(maps, torch.ones(1, 2), torch.tensor([0]), k=2)
    tensor([1.])
    """
    if maps.dim() != 4 or maps.shape[1] != weight.shape[1]:
        raise ValueError(
            f"maps must be (n, {weight.shape[1]}, h, w), one per unit, got {tuple(maps.shape)}"
        )
    if not 1 <= k <= weight.shape[1]:
        raise ValueError(f"k must be in 1 .. {weight.shape[1]}, the number of units, got {k}")
    if scale not in get_args(Scale):
        raise ValueError(f"scale must be one of {get_args(Scale)}, got {scale!r}")
    largest, chosen = weight[classes].topk(k, dim=1)
    flat = maps.flatten(2)
    flat = flat.gather(1, chosen[..., None].expand(-1, -1, flat.shape[2]))
    if scale == "softmax":
        spread = flat.softmax(2)
    else:
        raised = flat - flat.amin(2, keepdim=True)
        total = raised.sum(2, keepdim=True)
        # A flat map looks everywhere alike.
        spread = torch.where(total > 0, raised / total.clamp(min=1e-30), 1 / flat.shape[2])
    found = spread.amax(1).sum(1) / k
    return found.masked_fill((largest <= 0).any(1), torch.nan)


def pruned(weight: Tensor, count: int, per_class: bool = False) -> Tensor:
    """The weights of the largest size alone, the others 0.

    Args:
        weight: (C, M).
        count: weights per class, on average over the classes, in 0 .. M.
        per_class: keep so many in every row, not on average.

    Returns:
        (C, M).

    Raises:
        ValueError: the count is out of range.

    >>> pruned(torch.tensor([[3.0, 2.0], [0.5, -1.0]]), 1)
    tensor([[3., 2.],
            [0., 0.]])
    >>> pruned(torch.tensor([[3.0, 2.0], [0.5, -1.0]]), 1, per_class=True)
    tensor([[ 3.,  0.],
            [ 0., -1.]])
    """
    classes, width = weight.shape
    if not 0 <= count <= width:
        raise ValueError(f"count must be in 0 .. {width}, the number of units, got {count}")
    rows = weight if per_class else weight.reshape(1, -1)
    largest = rows.abs().argsort(1, descending=True)[:, : count if per_class else count * classes]
    kept = torch.zeros_like(rows).scatter(1, largest, rows.gather(1, largest))
    return kept.view(classes, width)


def snapped(weight: Tensor) -> Tensor:
    """Every row's weights made equal in size: with five of them, a class is decided by five votes.

    Args:
        weight: (C, M).

    Returns:
        (C, M): 0 where a weight is 0, and its sign times the mean |w| of the row's others.

    >>> snapped(torch.tensor([[3.0, -1.0, 0.0], [0.0, 0.0, 0.0]]))
    tensor([[ 2., -2.,  0.],
            [ 0.,  0.,  0.]])
    """
    count = (weight != 0).sum(1, keepdim=True).clamp(min=1)
    return weight.sign() * weight.abs().sum(1, keepdim=True) / count


def accuracy_at(
    weight: Tensor,
    bias: Tensor,
    units: Tensor,
    labels: Tensor,
    counts: Sequence[int] = (5,),
    per_class: bool = False,
) -> list[float]:
    """Accuracy of a dense head at so many weights per class; at 5 it is ANEC-5 (VLG-CBM).

    VLG-CBM averages 5, 10, .. 30 for ANEC-avg, and refits the head before it cuts it: this cuts
    the head as it was trained.

    Args:
        weight: (C, M).
        bias: (C,).
        units: (n, M).
        labels: (n,).
        counts: of weights per class.
        per_class: as for `pruned`.

    Returns:
        One accuracy in [0, 1] for each count.

    >>> weight, bias = torch.eye(2), torch.zeros(2)
    >>> accuracy_at(weight, bias, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), [1])
    [1.0]
    """
    accuracies = []
    for count in counts:
        logits = units @ pruned(weight, count, per_class).T + bias
        accuracies.append((logits.argmax(1) == labels).double().mean().item())
    return accuracies
