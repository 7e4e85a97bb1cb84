"""Shares of a score that its units explain, in the three ways that the literature divides by.

Index legend: `n` image, `m` unit, `k` units counted, largest share first.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

Denominator = Literal["faithful", "signed", "absolute"]


def shares(
    parts: Tensor, biases: Tensor | None = None, denominator: Denominator = "faithful"
) -> Tensor:
    r"""Share of each unit in a score: its signed contribution by a denominator.

    - ``"faithful"``: the logit, :math:`P_m / (b + \sum_m P_m)`. Give the terms that the head sums
      (`Head.terms`); what the shares lack to 1 is the bias.
    - ``"signed"``: the paper's, :math:`W_m x_m / \sum_m W_m x_m` (caption of Figure 7). Give all
      products (`Head.products`), also where a routed head does not sum them.
    - ``"absolute"``: the authors' published code's (sunyiyou/dynamic-k-activation, ``demo.py``),
      :math:`W_m x_m / \sum_m |W_m x_m|`, of all products.

    Only the faithful shares of a routed head belong to what it computes. Of a score at or below 0
    there are no shares: they are NaN.

    Args:
        parts: contributions to one class per image, (n, M).
        biases: what the bias adds to it, (n,); needed for "faithful", ignored otherwise.
        denominator: which.

    Returns:
        (n, M).

    Raises:
        ValueError: the denominator is unknown, or "faithful" without biases.

    >>> parts, biases = torch.tensor([[3.0, -1.0, 2.0]]), torch.tensor([1.0])
    >>> shares(parts, biases, "faithful")
    tensor([[ 0.6000, -0.2000,  0.4000]])
    >>> shares(parts, denominator="signed")
    tensor([[ 0.7500, -0.2500,  0.5000]])
    >>> shares(parts, denominator="absolute")
    tensor([[ 0.5000, -0.1667,  0.3333]])
    """
    if denominator == "absolute":
        total = parts.abs().sum(1)
    elif denominator == "signed":
        total = parts.sum(1)
    elif denominator == "faithful":
        if biases is None:
            raise ValueError("biases must be given for faithful shares: they are part of the logit")
        total = parts.sum(1) + biases
    else:
        raise ValueError(f"denominator must be one of {get_args(Denominator)}, got {denominator!r}")
    # a share of a score at or below 0 would turn its sign
    return parts / torch.where(total > 0, total, torch.nan)[:, None]


def top_units(parts: Tensor, k: int) -> Tensor:
    """Units of the largest |contribution|, largest first; -1 where fewer are not 0.

    Args:
        parts: contributions to one class per image, (n, M).
        k: at least 1; cut to M.

    Returns:
        (n, min(k, M)), int64.

    Raises:
        ValueError: k is below 1.

    >>> top_units(torch.tensor([[0.0, -2.0, 1.0], [0.0, 3.0, 0.0]]), 2)
    tensor([[ 1,  2],
            [ 1, -1]])
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    sizes, units = parts.abs().topk(min(k, parts.shape[1]), dim=1)
    return units.masked_fill(sizes == 0, -1)


def residuals(shares: Tensor, count: int) -> Tensor:
    r"""What the k units of the largest shares leave unexplained, for k = 1 .. count.

    .. math:: r_k = 1 - \sum_{j \le k} s_{(j)}

    Below 0 where the largest shares exceed the score, which negative ones then bring down.

    Args:
        shares: (n, M).
        count: at least 1; beyond M, r_k stays at r_M.

    Returns:
        (n, count).

    Raises:
        ValueError: the count is below 1.

    >>> residuals(torch.tensor([[0.125, 0.5, 0.25]]), 4)
    tensor([[0.5000, 0.2500, 0.1250, 0.1250]])
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    largest = shares.topk(min(count, shares.shape[1]), dim=1).values
    left = 1 - largest.cumsum(1)
    return torch.cat([left, left[:, -1:].expand(-1, count - left.shape[1])], 1)


def residual(shares: Tensor, k: int = 5) -> Tensor:
    """r_k of `residuals`, (n,).

    >>> residual(torch.tensor([[0.125, 0.5, 0.25]]), k=2)
    tensor([0.2500])
    """
    return residuals(shares, k)[:, -1]


def units_to_reach(shares: Tensor, level: float) -> Tensor:
    r"""The fewest units whose shares add up to a level: min {k : 1 - r_k >= level}.

    Args:
        shares: (n, M).
        level: above 0, as 0.95.

    Returns:
        (n,), floating point: inf where all units together do not reach it, because of a bias or of
        negative shares; NaN where there are no shares.

    Raises:
        ValueError: the level is not above 0.

    >>> units_to_reach(torch.tensor([[0.125, 0.5, 0.375], [0.5, 0.25, 0.0]]), 0.8)
    tensor([2., inf])
    """
    if not level > 0:
        raise ValueError(f"level must be above 0, got {level}")
    reached = shares.sort(1, descending=True).values.double().cumsum(1)
    # 1e-6 of slack: five shares of 0.2 reach 1.
    there = reached >= level - 1e-6
    # argmax gives the first of equal values
    first = there.to(torch.uint8).argmax(1).to(shares.dtype) + 1
    count = torch.where(there.any(1), first, torch.inf)
    return torch.where(shares.isnan().any(1), torch.nan, count)
