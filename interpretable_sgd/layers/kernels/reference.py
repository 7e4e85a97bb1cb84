"""The routed sum in plain torch: any device and dtype, no compiler, the oracle of the other
kernels.

Index legend: ``n`` sample, ``o`` output unit, ``m`` input unit, ``j`` kept slot.

Works in chunks of samples and outputs, so that no tensor of n x o x m entries ever exists. Inputs
of 16 bits are multiplied and summed in float32, where their products are exact; results return to
16.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from interpretable_sgd.layers.top_k import select

CHUNK = 2**20  # products held at once


def forward(x: Tensor, weight: Tensor, k: int, at_most: bool) -> tuple[Tensor, Tensor]:
    """Routed sum and the units kept.

    Args:
        x: inputs, [n, m].
        weight: weights, [o, m].
        k: units kept for each output, 1 <= k <= m.
        at_most: keep positive products only.

    Returns:
        y: sums of the kept products, [n, o].
        kept: kept units, in whatever order, then -1 in empty slots, [n, o, k], int16 or int32.
    """
    y = x.new_empty(x.shape[0], weight.shape[0])
    x, weight = widen(x), widen(weight)
    kept = torch.empty(*y.shape, k, dtype=index_dtype(weight), device=x.device)
    for rows, outputs in _chunks(y, x.shape[1]):
        products = x[rows, None] * weight[outputs]
        units = select(products, k, at_most=at_most)
        y[rows, outputs] = _gather(products, units).sum(-1)
        kept[rows, outputs] = units.to(kept.dtype)
    return y, kept


def routed_sum(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """y[n, o] = sum over the kept units m of x[n, m] w[o, m], [n, o]."""
    y = x.new_empty(x.shape[0], weight.shape[0])
    x, weight = widen(x), widen(weight)
    for rows, outputs in _chunks(y, kept.shape[2]):
        units = kept[rows, outputs].long()
        inputs = _gather(x[rows, None].expand(-1, units.shape[1], -1), units)
        weights = _gather(weight[outputs].expand(units.shape[0], -1, -1), units)
        y[rows, outputs] = (inputs * weights).sum(-1)
    return y


def input_grad(grad_y: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """gx[n, m] = sum over the outputs o that kept m of grad_y[n, o] w[o, m], [n, m]."""
    units_in, dtype = weight.shape[1], grad_y.dtype
    grad_y, weight = widen(grad_y), widen(weight)
    grad_x = grad_y.new_zeros(grad_y.shape[0] * units_in)
    for rows, outputs in _chunks(grad_y, kept.shape[2]):
        units = kept[rows, outputs].long()
        weights = _gather(weight[outputs].expand(units.shape[0], -1, -1), units)
        first = torch.arange(grad_y.shape[0], device=units.device)[rows, None, None] * units_in
        at = first + units.clamp(min=0)
        grad_x.scatter_add_(0, at.flatten(), (grad_y[rows, outputs, None] * weights).flatten())
    return grad_x.view(-1, units_in).to(dtype)


def weight_grad(grad_y: Tensor, x: Tensor, kept: Tensor) -> Tensor:
    """gw[o, m] = sum over the samples n where o kept m of grad_y[n, o] x[n, m], [o, m]."""
    units_in, dtype = x.shape[1], grad_y.dtype
    grad_y, x = widen(grad_y), widen(x)
    grad_weight = grad_y.new_zeros(grad_y.shape[1] * units_in)
    for rows, outputs in _chunks(grad_y, kept.shape[2]):
        units = kept[rows, outputs].long()
        inputs = _gather(x[rows, None].expand(-1, units.shape[1], -1), units)
        first = torch.arange(grad_y.shape[1], device=units.device)[outputs, None] * units_in
        at = first + units.clamp(min=0)
        grad_weight.scatter_add_(0, at.flatten(), (grad_y[rows, outputs, None] * inputs).flatten())
    return grad_weight.view(-1, units_in).to(dtype)


def index_dtype(weight: Tensor) -> torch.dtype:
    """int16 while it can name every input unit, int32 beyond."""
    return torch.int16 if weight.shape[1] <= torch.iinfo(torch.int16).max else torch.int32


def widen(tensor: Tensor) -> Tensor:
    """In float32 where the dtype has 16 bits."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _gather(values: Tensor, units: Tensor) -> Tensor:
    """values[..., units] with 0 where the unit is -1."""
    return values.gather(-1, units.clamp(min=0)).masked_fill(units < 0, 0)


def _chunks(table: Tensor, width: int) -> Iterator[tuple[slice, slice]]:
    """Slices of the rows and columns of table that hold at most CHUNK entries of that width."""
    rows, outputs = table.shape
    wide = max(1, min(outputs, CHUNK // max(width, 1)))
    tall = max(1, CHUNK // max(wide * width, 1))
    for row in range(0, rows, tall):
        for output in range(0, outputs, wide):
            yield slice(row, row + tall), slice(output, output + wide)
