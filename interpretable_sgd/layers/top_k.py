"""Algorithm 2 on tensors: which units an output listens to, and what they contribute.

Index legend: ``o`` output unit, ``m`` input unit, ``j`` kept slot; ``...`` any leading shape.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Selection = Literal["at_most_k", "exactly_k"]


class Routes(NamedTuple):
    """The units an output listened to, largest contribution first.

    Attributes:
        units: input units, shape of the output + (k,), int64; -1 in a slot that stayed empty.
        contributions: their products w x, same shape; 0 in an empty slot.
    """

    units: Tensor
    contributions: Tensor


def select(products: Tensor, k: int, *, at_most: bool) -> Tensor:
    r"""Units of the k largest products, in ascending order of unit.

    .. math:: R = \arg\max_{R \in \{0, 1\}^M} \sum_m R_m p_m
              \quad \text{s.t.} \quad \|R\|_1 \le K

    A maximiser takes no product below zero, and one of zero changes nothing, so ``at_most``
    keeps positive products only; without it exactly k are kept, negative ones too.
    Of equal products the unit with the lowest index is kept. NaN ranks above every number, as in
    ``torch.topk``, so that it reaches the output rather than disappear.

    Args:
        products: [..., m].
        k: 1 <= k <= m.
        at_most: keep positive products only.

    Returns:
        Kept units, then -1 in empty slots, [..., k], int64.

    >>> votes = torch.tensor([1.0, 0.5, -1.0, -2.0, -0.1, -0.2])
    >>> select(votes, 5, at_most=True)
    tensor([ 0,  1, -1, -1, -1])
    >>> select(votes, 5, at_most=False)
    tensor([0, 1, 2, 4, 5])
    """
    width = products.shape[-1]
    values, units = products.topk(min(k + 1, width), dim=-1)
    # torch.topk breaks ties as it likes: a stable sort decides where a tie straddles the cut
    if k < width and not (values[..., k - 1] > values[..., k]).all():
        values, units = products.sort(stable=True, dim=-1, descending=True)
    values, units = values[..., :k], units[..., :k]
    if at_most:
        units = units.masked_fill(values <= 0, width)
    units = units.sort(dim=-1).values
    return units.masked_fill(units == width, -1)


def rank(x: Tensor, weight: Tensor, kept: Tensor) -> Routes:
    """Order the kept units of each output by what they contribute.

    Args:
        x: inputs, [n, m].
        weight: weights, [o, m].
        kept: kept units, -1 in empty slots, [n, o, j].

    Returns:
        Units and contributions, [n, o, j].
    """
    units = kept.long()
    at = units.clamp(min=0)
    outputs = torch.arange(weight.shape[0], device=at.device)[:, None]
    samples = torch.arange(x.shape[0], device=at.device)[:, None, None]
    contributions = (x[samples, at] * weight[outputs, at]).masked_fill(units < 0, 0)
    # empty slots go last, behind the negative contributions of exactly_k
    order = contributions.masked_fill(units < 0, -torch.inf).sort(
        stable=True, dim=-1, descending=True
    )
    return Routes(units.gather(-1, order.indices), contributions.gather(-1, order.indices))


def check_k(k: int, in_features: int) -> None:
    """Raise unless k units can be kept out of in_features."""
    if isinstance(k, bool) or not isinstance(k, int):
        raise TypeError(f"k must be an int, got {k!r}")
    if not 1 <= k <= in_features:
        raise ValueError(f"k must be in 1 .. {in_features}, the number of input units, got {k}")


def check_selection(selection: str) -> None:
    """Raise unless selection names a rule."""
    if selection not in get_args(Selection):
        raise ValueError(f"selection must be one of {get_args(Selection)}, got {selection!r}")
