"""The best IoU that chance gives: the same units with the labels of other images.

Index legend: ``u`` unit, ``p`` permutation.

Under the null a unit's maps are independent of the labels, so the observed pairing of maps and
labels is exchangeable with the permuted ones, and the rank of the observed best IoU among them is
uniform up to ties. The best IoU is compared, not one label's, so the search over labels is paid for.
"""

import math

import torch
from torch import Tensor

LEVEL = 0.05


def check_level(level: float, permutations: int) -> None:
    """Raise unless so many permutations can reach the level."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    if not permutations:
        raise ValueError("permutations must be at least 1 for a null, got 0")
    if level * (permutations + 1) < 1:
        least = math.ceil(1 / level) - 1
        raise ValueError(
            f"permutations must be at least {least} to reach level {level}, got {permutations}"
        )


def p_values(best: Tensor, null: Tensor) -> Tensor:
    r"""Chance of a best IoU as large, if labels and maps were unrelated.

    .. math:: p_u = \frac{1 + \#\{p: null_{pu} \ge best_u\}}{1 + P}

    The observed pairing counts among the permutations: then P(p_u <= a) <= a for every a (Phipson
    and Smyth 2010).

    Args:
        best: observed, (u,).
        null: under permuted labels, (p, u).

    Returns:
        (u,), float64.

    >>> p_values(torch.tensor([0.5, 0.1]), torch.tensor([[0.2, 0.2], [0.1, 0.1], [0.3, 0.0]]))
    tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    return (1 + (null >= best).sum(0)).double() / (1 + len(null))


def null_quantile(null: Tensor, level: float = LEVEL) -> Tensor:
    """The value that a unit's best IoU must exceed to count: ``best > it`` is ``p_values <= level``.

    The ceil((1 - level) (P + 1))-th smallest of the P permuted values.

    Args:
        null: (p, u).
        level: share of units that chance may label, in [1 / (P + 1), 1).

    Returns:
        (u,).

    Raises:
        ValueError: too few permutations for the level.

    >>> null_quantile(torch.arange(19.0)[:, None]).tolist()
    [18.0]
    """
    check_level(level, len(null))
    # exact where (1 - level) (P + 1) is an integer that a float misses by a rounding
    rank = len(null) + 1 - math.floor(level * (len(null) + 1) + 1e-9)
    return null.sort(0).values[rank - 1]


def random_basis(units: int, generator: torch.Generator | None = None) -> Tensor:
    """A random rotation of the units, (u, u): the layer's space with no axis preferred.

    Units that mean something lose it under rotation, while the layer computes the same (Bau et al.
    2017, section 3.2). Uniform: the QR decomposition of a normal matrix, signs fixed (Mezzadri 2007).

    >>> basis = random_basis(4)
    >>> bool((basis @ basis.T - torch.eye(4)).abs().max() < 1e-5)
    True
    """
    q, r = torch.linalg.qr(torch.randn(units, units, generator=generator, dtype=torch.float64))
    return (q * r.diagonal().sign()).float()
