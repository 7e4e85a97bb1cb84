"""The routed method: each sample teaches, per output unit, the K connections responsible for its score.

Index legend: `n` sample (at a position, for convolutions and sequences), `c` output unit, `m` input
connection; W' weights at the look-ahead, R the selection.

| equation                                             | function            |
|------------------------------------------------------|---------------------|
| W' = W - tau eta gbar                                | `lookahead`         |
| R_nc = the K largest W'_cm x_nm > 0                  | kernels             |
| u_cm = sum_n R_ncm delta_nc x_nm                     | `select_gradient`   |
| G_cm = W'_cm^2 sum_n R_ncm delta_nc^2 x_nm^2         | `select_gradient`   |
| row c is dense while <ubar_c, gbar_c> < 0            | `dense_rows`        |
| S_c = the K largest Gbar_cm                          | `support`           |
"""

from typing import NamedTuple

import torch
from torch import Tensor

from interpretable_sgd.layers.kernels import operators
from interpretable_sgd.optimizer.layer_gradients import Layer, positions

CHUNK = 1 << 22
"""Most inputs of a convolution, over samples and positions, that are unfolded at a time."""


class Statistics(NamedTuple):
    """Sums over the samples since the last step, or their running means, each (O, M).

    Attributes:
        dense: g, the gradient of the layer's outputs in its weight.
        routed: u, the same through selected connections alone.
        gates: G, the Lipschitz constants of the selected gates.
    """

    dense: Tensor
    routed: Tensor
    gates: Tensor


PLANES = len(Statistics._fields)


def lookahead(gradient: Tensor, reach: Tensor | float) -> Tensor:
    """-tau eta gbar: how far the mean dense gradient would take every connection, (O, M).

    A connection that was emptied has no contribution to be selected by; one that its class has come to
    need is seen by what its weight would be.

    Args:
        gradient: gbar, running mean of the dense gradient, (O, M).
        reach: tau eta, steps of the look-ahead times the learning rate.
    """
    return -reach * gradient


def select_gradient(
    x: Tensor, delta: Tensor, weight: Tensor, k: int, by_magnitude: bool
) -> Statistics:
    """The gradient through the k connections of each sample and output unit, beside the dense one.

    Args:
        x: inputs, (N, M).
        delta: output gradients, (N, O).
        weight: W' at which contributions are compared, (O, M).
        k: 1 <= k <= M.
        by_magnitude: select the largest |W' x| rather than the largest W' x > 0.

    Returns:
        Sums over samples; in the dtype of `weight`.

    >>> x, delta = torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0]])
    >>> select_gradient(x, delta, torch.tensor([[1.0, 1.0]]), k=1, by_magnitude=False).routed
    tensor([[ 0., -2.]])
    """
    x, delta = x.to(weight), delta.to(weight)
    if by_magnitude:
        _, kept = operators.routed_linear(x.abs(), weight.abs(), k, True)
    else:
        _, kept = operators.routed_linear(x, weight, k, True)
    gates = operators.weight_grad(delta.square(), x.square(), kept) * weight.square()
    return Statistics(delta.T @ x, operators.weight_grad(delta, x, kept), gates)


def layer_statistics(
    k: int, by_magnitude: bool, layer: Layer, input: Tensor, gradient: Tensor, weight: Tensor
) -> Tensor:
    """`select_gradient` of a Linear layer on any leading shape, or of a convolution per position.

    Args:
        layer: gives the geometry.
        input, gradient: of the layer's backward.
        weight: W', (O, M).

    Returns:
        (3, O, M), planes as in `Statistics`.
    """
    if isinstance(layer, torch.nn.Linear):
        sums = select_gradient(
            input.reshape(-1, input.shape[-1]),
            gradient.reshape(-1, gradient.shape[-1]),
            weight,
            k,
            by_magnitude,
        )
        return torch.stack(sums)
    if input.dim() == gradient.dim() == len(layer.kernel_size) + 1:
        input, gradient = input[None], gradient[None]
    total = weight.new_zeros(PLANES, *weight.shape)
    unfolded = weight.shape[1] * layer.groups * gradient[0, 0].numel()
    samples = max(1, CHUNK // max(1, unfolded))
    for chunk in zip(input.split(samples), gradient.split(samples), strict=True):
        x, delta = positions(layer, *chunk)
        groups = [
            torch.stack(
                select_gradient(
                    x[:, g].mT.flatten(0, 1), delta[:, g].mT.flatten(0, 1), rows, k, by_magnitude
                )
            )
            for g, rows in enumerate(weight.chunk(layer.groups))
        ]
        total = total + torch.cat(groups, 1)
    return total


def dense_rows(weight: Tensor, means: Statistics) -> Tensor:
    """Rows whose selection would lead uphill or nowhere, (O,): these are trained densely.

    Where <ubar_c, gbar_c> < 0 the selected mean step ascends; where ubar_c = 0 although some connection
    should grow, the row is dead; a row of zeros has nothing to be selected by. In terms of running means,
    which are of the past.

    Args:
        weight: W' at which contributions are compared, (O, M).
        means: running means.
    """
    along = (means.routed * means.dense).sum(1)
    dead = (means.routed == 0).all(1) & (means.dense < 0).any(1)
    return (along < 0) | dead | (weight == 0).all(1)


def support(weight: Tensor, means: Statistics, k: int, cover: float = 1.0) -> Tensor:
    """The connections of each row that it cannot do without, at most k, boolean, (O, M).

    The cut of a connection costs, to second order, its gate constant G: kept are the largest, as many as
    cover the given share of the row's sum. Ties go to the larger |W|, then to the lower index. A row without
    any statistic keeps its largest weights; one without weights is given the connections of the most
    negative mean gradient, at W = 0, which changes no output.

    Args:
        weight: W, (O, M).
        means: running means.
        k: connections to keep at most.
        cover: in (0, 1], share of a row's constants beyond which what is kept would say little.

    >>> G = torch.tensor([[3.0, 1.0, 2.0]])
    >>> support(torch.ones(1, 3), Statistics(0 * G, 0 * G, G), k=2)
    tensor([[ True, False,  True]])
    >>> support(torch.ones(1, 3), Statistics(0 * G, 0 * G, G), k=2, cover=0.5)
    tensor([[ True, False, False]])
    """
    candidate = (means.gates > 0) & (weight != 0)
    known = candidate.any(1, keepdim=True)
    size = weight.abs().to(means.gates)
    worth = torch.where(candidate, means.gates, 0) + torch.where(known, 0, size)
    # Ranked by |W|, then by worth: a stable sort keeps the order of ties.
    order = size.sort(dim=1, descending=True, stable=True).indices
    by_worth = worth.gather(1, order).sort(dim=1, descending=True, stable=True)
    before = by_worth.values.cumsum(1) - by_worth.values
    total = by_worth.values.sum(1, keepdim=True)
    kept = (by_worth.values > 0) & (before < torch.where(known, cover, 1) * total)
    kept[:, k:] = False
    kept = torch.zeros_like(kept).scatter_(1, order.gather(1, by_worth.indices), kept)
    empty = ~kept.any(1, keepdim=True)
    wanted = means.dense.sort(dim=1, stable=True).indices[:, :k]
    opened = torch.zeros_like(kept).scatter_(1, wanted, True) & (means.dense < 0)
    return kept | (empty & opened)


def matching_scale(gradient: Tensor, routed: Tensor) -> Tensor:
    """f with gradient = f routed: what loss scaling, averaging over processes and clipping made of it.

    Args:
        gradient: `.grad` of the weight, (O, M).
        routed: the sum u that it was made of, (O, M).

    Returns:
        0 where there is no u.
    """
    norm = routed.square().sum()
    return torch.where(norm > 0, (gradient * routed).sum() / norm, 0)
