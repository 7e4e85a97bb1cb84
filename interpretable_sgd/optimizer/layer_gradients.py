"""Weight gradients of Linear and convolution layers from their input and output gradient.

Index legend: `i` sample, `c` output unit, `m` input connection of a unit (for a convolution: input
channel and kernel offset), `u` position (for a convolution: output pixel).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def weight_gradient(layer: Layer, input: Tensor, output_gradient: Tensor) -> Tensor:
    """sum_iu delta_icu x_imu: the layer's weight gradient, whatever the two tensors mean.

    With squared tensors it is the second moment behind the Lipschitz constants, at the same cost.

    Args:
        layer: gives the geometry only; its weight's values are not read.
        input: the layer's input, (B, ..., M) for Linear, (B, C, *spatial) for a convolution;
            or without B.
        output_gradient: shape of the layer's output.

    Returns:
        Shape of `layer.weight`.
    """
    if isinstance(layer, nn.Linear):
        return (
            output_gradient.flatten(0, -2).T @ input.flatten(0, -2)
            if input.dim() > 1
            else (output_gradient.outer(input))
        )
    input, output_gradient = _batched(layer, input), _batched(layer, output_gradient)
    input, padding = _padded(layer, input)
    spatial = len(layer.kernel_size)
    _, gradient, _ = torch.ops.aten.convolution_backward(
        output_gradient,
        input,
        layer.weight.detach().to(input.dtype),
        None,
        layer.stride,
        padding,
        layer.dilation,
        False,
        [0] * spatial,
        layer.groups,
        [False, True, False],
    )
    return gradient


def positions(layer: Layer, input: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """Any layer as a grouped Linear applied at U positions.

    Args:
        layer: Linear, or a convolution with G groups.
        input: the layer's input.
        output: anything shaped as the layer's output.

    Returns:
        Input (B, G, M, U) and output (B, G, O / G, U); for a convolution the unfolded input.
    """
    if isinstance(layer, nn.Linear):
        if input.dim() == 1:
            input, output = input[None], output[None]
        inputs = input.flatten(1, -2) if input.dim() > 2 else input[:, None]
        outputs = output.flatten(1, -2) if output.dim() > 2 else output[:, None]
        return inputs.mT[:, None], outputs.mT[:, None]
    input, output = _batched(layer, input), _batched(layer, output)
    unfolded = _unfold(layer, input)
    count = output.shape[2:].numel()
    return (
        unfolded.reshape(len(input), layer.groups, layer.weight[0].numel(), count),
        output.reshape(len(input), layer.groups, layer.out_channels // layer.groups, count),
    )


def per_sample(inputs: Tensor, outputs: Tensor) -> Tensor:
    """g_icm = sum_u delta_icu x_imu for every sample.

    Args:
        inputs: (B, G, M, U) of `positions`.
        outputs: (B, G, O / G, U) of `positions`.

    Returns:
        (B, O, M).
    """
    return (outputs @ inputs.mT).flatten(1, 2)


def _batched(layer: nn.Module, tensor: Tensor) -> Tensor:
    spatial = len(layer.kernel_size)  # type: ignore[arg-type]
    return tensor if tensor.dim() == spatial + 2 else tensor[None]


def _padded(
    layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, input: Tensor
) -> tuple[Tensor, Sequence[int]]:
    """Input and the zero padding left to do: other paddings, and 'same', are done here."""
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        return input, layer.padding
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    amounts = layer._reversed_padding_repeated_twice
    return nn.functional.pad(input, amounts, mode=mode), [0] * len(layer.kernel_size)


def _unfold(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, input: Tensor) -> Tensor:
    """(B, C, *spatial) -> (B, C, *kernel, *output): the patch that each output position sees."""
    input, padding = _padded(layer, input)
    input = nn.functional.pad(input, [side for p in reversed(padding) for side in (p, p)])
    spatial = len(layer.kernel_size)
    geometry = zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
    for axis, (kernel, stride, dilation) in enumerate(geometry):
        # Earlier axes have each become two: (kernel offset, output position).
        size = input.shape[2 + 2 * axis]
        count = (size - dilation * (kernel - 1) - 1) // stride + 1
        offsets = torch.arange(kernel, device=input.device) * dilation
        starts = torch.arange(count, device=input.device) * stride
        index = (offsets[:, None] + starts).flatten()
        input = input.index_select(2 + 2 * axis, index).unflatten(2 + 2 * axis, (kernel, count))
    kernels = range(2, 2 + 2 * spatial, 2)
    outputs = range(3, 3 + 2 * spatial, 2)
    return input.permute(0, 1, *kernels, *outputs)
