"""Steps of a layer in coordinates in which its inputs are centred.

The inputs of a classifier's head are not centred: after a ReLU their mean mu is large. A step along
`delta x'` then moves every class's logit on *all* samples by the noise of the class's count in the batch,
times |mu|^2, and the features of a wide head learn to shrink that noise: they collapse. The bias could
carry it. So a step is taken on z = W (x - mu) + b' instead, and written in W and b = b' - W mu:

    gW <- gW - gb mu',    gb <- gb - gW mu

a preconditioner P = T T', positive definite and a function of the past, so descent in the mean and Theorem
A hold in its metric. (LeCun, Bottou, Orr and Mueller 1998, "Efficient BackProp"; Schraudolph 1998,
"Centering neural network gradient factors".)

Index legend: `n` sample (at a position), `c` output unit, `m` input connection.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from interpretable_sgd.optimizer.layer_gradients import Layer


def centred_gradients(weight: Tensor, bias: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients in W and b of a step on centred inputs.

    Args:
        weight: gradient in W, (O, M).
        bias: gradient in b, (O,).
        mean: mu, (M,).

    >>> centred_gradients(torch.tensor([[3.0]]), torch.tensor([1.0]), torch.tensor([2.0]))
    (tensor([[1.]]), tensor([-1.]))
    """
    weight = weight - bias.outer(mean)
    return weight, bias - weight @ mean


def can_centre(layer: Layer) -> bool:
    """Whether a layer has a bias, and one mean for each connection: Linear, or a 1x1 convolution."""
    if layer.bias is None or not layer.bias.requires_grad:
        return False
    return isinstance(layer, nn.Linear) or (
        layer.weight[0, 0].numel() == 1 and layer.groups == 1 and not any(layer.padding)
    )


def input_sums(
    layer: Layer,
    input: Tensor,
    output: Tensor,
    gradient: Tensor,
    constants: Sequence[Tensor],
) -> tuple[Tensor, None]:
    """sum_n x_nm and the number of samples, (M + 1,); a `Reduce` of the probe."""
    dtype = torch.promote_types(input.dtype, torch.float32)
    if isinstance(layer, nn.Linear):
        x = input.reshape(-1, input.shape[-1]).to(dtype)
    else:
        x = input.movedim(-1 - len(layer.kernel_size), -1).flatten(0, -2).to(dtype)
    return torch.cat([x.sum(0), x.new_tensor([len(x)])]), None
