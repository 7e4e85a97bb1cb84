"""Coordinate-wise Lipschitz constants of the gradient (Lemma 2), from activations.

L_icm = h_ic x_im^2: the curvature h_ic of a sample's loss in an output unit, times the squared
activation. Index legend: `i` sample, `c` output unit, `m` input connection.

| curvature                 | h_ic                | what it is                                           |
|---------------------------|---------------------|------------------------------------------------------|
| `log_softmax_curvature`   | p_ic (1 - p_ic)     | exact for a softmax head, label-free                 |
| `log_logistic_curvature`  | p_i (1 - p_i)       | the same for a head of one logit                     |
| `fisher_curvature`        | delta_ic^2          | its mean under the model's own labels, for any loss  |
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def fisher_curvature(output_gradient: Tensor) -> Tensor:
    """delta^2, whose mean over labels drawn from the model is the curvature (Fisher identity).

    Up to the square of the batch size, which cancels in every probability.

    Args:
        output_gradient: delta = d loss / d z, any shape.

    Returns:
        h >= 0, same shape, at least float32: half-precision squares underflow.
    """
    dtype = torch.promote_types(output_gradient.dtype, torch.float32)
    return output_gradient.to(dtype).square()


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


def log_logistic_curvature(logits: Tensor) -> Tensor:
    """log p (1 - p) of the logistic probability of one logit.

    >>> log_logistic_curvature(torch.tensor([400.0]))
    tensor([-400.])
    """
    return logsigmoid(logits) + logsigmoid(-logits)


def gate(weight: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Constants of the routing variables: G_cm = (W_cm)_+^2 L+_cm + (W_cm)_-^2 L-_cm.

    d^2 f / d R_cm^2 at R = 1 is h_c (W_cm x_m)^2, so masks drawn from G select what Dynamic-K
    selects. Only positive contributions count, as in Algorithm 2.

    Args:
        weight: W, (O, M).
        positive: L+ = mean_i h_ic (x_im)_+^2, (O, M).
        negative: L- = mean_i h_ic (x_im)_-^2, (O, M).

    Returns:
        G >= 0, (O, M).
    """
    return weight.clamp(min=0).square() * positive + weight.clamp(max=0).square() * negative
