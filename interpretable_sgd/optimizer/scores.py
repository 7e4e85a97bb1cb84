"""Coordinate-wise Lipschitz constants of the gradient (Lemma 2), from activations.

For layer weights, L_cm = mean_i h_ic x_im^2: the curvature h_ic of the loss in the output unit,
times the squared activation. Index legend: `i` sample, `c` output unit, `m` input connection.

A *score* names the constant a mask is drawn from:

| score          | constant                            | what it is                                     |
|----------------|-------------------------------------|------------------------------------------------|
| `gate`         | delta_ic^2 (W_cm x_im)_+^2          | of the routing variable R_cm of Algorithm 2    |
| `weight`       | delta_ic^2 x_im^2                   | of the weight; Fisher estimate, any loss       |
| `softmax`      | p_ic (1 - p_ic) x_im^2              | of the weight; exact for a softmax head        |
| `activation`   | x_im^2                              | the order of `weight` within a row             |
| `contribution` | (W_cm x_im)_+^2                     | the order of `gate` within a row, per sample   |
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Score(NamedTuple):
    """How a constant is put together: which curvature h, and whether the weight enters."""

    curvature: str
    gated: bool


SCORES = {
    "gate": Score("fisher", True),
    "weight": Score("fisher", False),
    "softmax": Score("softmax", False),
    "activation": Score("one", False),
    "contribution": Score("one", True),
}


def curvature(
    kind: str, output: Tensor, output_gradient: Tensor, unit_dim: int, relative: bool = False
) -> Tensor:
    """h: second derivative of a sample's loss in the layer's output units.

    `fisher`: delta^2, whose mean over labels drawn from the model is h exactly (Fisher identity);
    up to the square of the batch size, which cancels in every probability.
    `softmax`: p (1 - p), exact and label-free for softmax cross-entropy. `one`: 1.

    Args:
        kind: "fisher", "softmax" or "one".
        output: the layer's output z.
        output_gradient: delta = d loss / d z, same shape.
        unit_dim: dimension of the output units `c`.
        relative: divide by the largest h of the sample, which masks per sample do not notice;
            so no sample, however sure the network is of it, underflows as a whole.

    Returns:
        h >= 0, same shape, at least float32: half-precision squares underflow.
    """
    dtype = torch.promote_types(output_gradient.dtype, torch.float32)
    if kind == "one":
        return torch.ones_like(output_gradient, dtype=dtype)
    # Units come first only where there is no batch dimension.
    per_sample = tuple(range(int(unit_dim != 0), output_gradient.dim()))
    if kind == "fisher":
        delta = output_gradient.to(dtype)
        if relative and delta.numel():
            largest = delta.abs().amax(per_sample, keepdim=True)
            delta = delta / torch.where(largest > 0, largest, 1)
        return delta.square()
    logs = log_softmax_curvature(output.to(dtype), unit_dim)
    if relative and logs.numel():
        largest = logs.amax(per_sample, keepdim=True)
        logs = logs - torch.where(largest.isfinite(), largest, 0)
    return logs.exp()


def log_softmax_curvature(logits: Tensor, dim: int = -1) -> Tensor:
    """log p (1 - p) of softmax probabilities, without cancellation as p -> 1 (Lemma 2, exact).

    1 - p of the likeliest class is the sum of the others: in float32 `1 - p` would be 0, and would
    freeze exactly the row of a confidently wrong class.

    >>> log_softmax_curvature(torch.tensor([400.0, 0.0]))
    tensor([-400., -400.])
    """
    logs = logits.log_softmax(dim)
    likeliest = logs.argmax(dim, keepdim=True)
    others = logs.scatter(dim, likeliest, -torch.inf).logsumexp(dim, keepdim=True)
    return logs + (-logs.expm1()).log().scatter(dim, likeliest, others)


def softmax_curvature(logits: Tensor, dim: int = -1) -> Tensor:
    """p (1 - p) of softmax probabilities: see `log_softmax_curvature`.

    >>> bool(softmax_curvature(torch.tensor([40.0, 0.0]))[0] > 0)
    True
    """
    return log_softmax_curvature(logits, dim).exp()


def gate(weight: Tensor, positive: Tensor, negative: Tensor | None = None) -> Tensor:
    """Constants of the routing variables: G_cm = (W_cm)_+^2 L+_cm + (W_cm)_-^2 L-_cm.

    d^2 f / d R_cm^2 at R = 1 is h_c (W_cm x_m)^2, so masks drawn from G select what Dynamic-K
    selects. Only positive contributions count, as in Algorithm 2.

    Args:
        weight: W, (O, M).
        positive: L+ = mean_i h_ic (x_im)_+^2, (..., O, M).
        negative: L- = mean_i h_ic (x_im)_-^2; None where activations are never negative.

    Returns:
        G >= 0, shape of `positive`.
    """
    gates = weight.clamp(min=0).square() * positive
    return gates if negative is None else gates + weight.clamp(max=0).square() * negative
