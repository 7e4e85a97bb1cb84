"""The CUDA kernels as functions on tensors.

Gradients are summed by atomic additions, in an order that varies from run to run. Under
``torch.use_deterministic_algorithms(True)`` the reference sums them instead.
"""

import torch
import triton
from torch import Tensor

from interpretable_sgd.layers.kernels import reference
from interpretable_sgd.layers.kernels import triton_kernels as kernels

TILE = {"SAMPLES": 8, "OUTPUTS": 8, "CLASSES": 64}
WARPS = 8
ROWS = 64
BLOCK = 1024


def forward(x: Tensor, weight: Tensor, k: int, at_most: bool) -> tuple[Tensor, Tensor]:
    """As `reference.forward`; the largest contribution comes first."""
    x, weight = x.contiguous(), weight.contiguous()
    samples, units = x.shape
    outputs = weight.shape[0]
    y = x.new_empty(samples, outputs)
    kept = x.new_empty(samples, outputs, k, dtype=reference.index_dtype(weight))
    members = triton.next_power_of_2(triton.cdiv(units, TILE["CLASSES"]))
    grid = (triton.cdiv(samples, TILE["SAMPLES"]), triton.cdiv(outputs, TILE["OUTPUTS"]))
    if y.numel():
        kernels.forward[grid](
            x,
            weight,
            y,
            kept,
            samples,
            outputs,
            units,
            k,
            AT_MOST=at_most,
            MEMBERS=members,
            num_warps=WARPS,
            **TILE,
        )
    return y, kept


def routed_sum(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """As `reference.routed_sum`."""
    x, weight, kept = x.contiguous(), weight.contiguous(), kept.contiguous()
    samples, outputs, slots = kept.shape
    y = x.new_empty(samples, outputs)
    width = triton.next_power_of_2(slots)
    rows = max(1, ROWS // width)
    if y.numel():
        kernels.routed_sum[(triton.cdiv(y.numel(), rows),)](
            x, weight, kept, y, y.numel(), outputs, x.shape[1], slots, ROWS=rows, SLOTS=width
        )
    return y


def input_grad(grad_y: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """As `reference.input_grad`."""
    if torch.are_deterministic_algorithms_enabled():
        return reference.input_grad(grad_y, weight, kept)
    return _scatter(grad_y, weight, kept, grad_y.shape[0], to_input=True)


def weight_grad(grad_y: Tensor, x: Tensor, kept: Tensor) -> Tensor:
    """As `reference.weight_grad`."""
    if torch.are_deterministic_algorithms_enabled():
        return reference.weight_grad(grad_y, x, kept)
    return _scatter(grad_y, x, kept, grad_y.shape[1], to_input=False)


def _scatter(grad_y: Tensor, operand: Tensor, kept: Tensor, rows: int, to_input: bool) -> Tensor:
    grad_y, operand, kept = grad_y.contiguous(), operand.contiguous(), kept.contiguous()
    units = operand.shape[1]
    grad = operand.new_zeros(rows, units, dtype=torch.float32)
    if kept.numel():
        kernels.scatter[(triton.cdiv(kept.numel(), BLOCK),)](
            grad_y,
            operand,
            kept,
            grad,
            kept.numel(),
            grad_y.shape[1],
            units,
            kept.shape[2],
            TO_INPUT=to_input,
            BLOCK=BLOCK,
        )
    return grad.to(grad_y.dtype)
