"""The routed sum as registered operators: the single nodes that torch.compile and torch.export see.

Index legend: ``n`` sample, ``o`` output unit, ``m`` input unit, ``j`` kept slot.

The operators only compute; `interpretable_sgd.layers.kernels.autograd` gives them their derivatives.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from interpretable_sgd.layers.kernels.dispatch import implementation
from interpretable_sgd.layers.kernels.reference import index_dtype

BatchingRule = Callable[..., tuple[Any, Any]]


@custom_op("interpretable_sgd::routed_linear", mutates_args=())
def routed_linear(x: Tensor, weight: Tensor, k: int, at_most: bool) -> tuple[Tensor, Tensor]:
    """y [n, o] and the kept units [n, o, k]; see `reference.forward`."""
    return implementation(x.device.type, x.dtype).forward(x, weight, k, at_most)


@custom_op("interpretable_sgd::routed_sum", mutates_args=())
def routed_sum(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """[n, o]; see `reference.routed_sum`."""
    return implementation(x.device.type, x.dtype).routed_sum(x, weight, kept)


@custom_op("interpretable_sgd::routed_input_grad", mutates_args=())
def input_grad(grad_y: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """[n, m]; see `reference.input_grad`."""
    return implementation(weight.device.type, weight.dtype).input_grad(grad_y, weight, kept)


@custom_op("interpretable_sgd::routed_weight_grad", mutates_args=())
def weight_grad(grad_y: Tensor, x: Tensor, kept: Tensor) -> Tensor:
    """[o, m]; see `reference.weight_grad`."""
    return implementation(x.device.type, x.dtype).weight_grad(grad_y, x, kept)


@routed_linear.register_fake
def _(x: Tensor, weight: Tensor, k: int, at_most: bool) -> tuple[Tensor, Tensor]:
    y = x.new_empty(x.shape[0], weight.shape[0])
    return y, x.new_empty(x.shape[0], weight.shape[0], k, dtype=index_dtype(weight))


@routed_sum.register_fake
def _(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


@input_grad.register_fake
def _(grad_y: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    return grad_y.new_empty(grad_y.shape[0], weight.shape[1])


@weight_grad.register_fake
def _(grad_y: Tensor, x: Tensor, kept: Tensor) -> Tensor:
    return grad_y.new_empty(grad_y.shape[1], x.shape[1])


def _over_samples(op: Callable[..., Any]) -> BatchingRule:
    """Batching rule: a batch dimension beside a shared weight is only more samples."""
    one_by_one = _one_by_one(op)

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        if in_dims[1] is not None:
            return one_by_one(info, in_dims, *args)
        size = info.batch_size
        args = tuple(
            _batch_first(a, d, size).flatten(0, 1) if isinstance(a, Tensor) and i != 1 else a
            for i, (a, d) in enumerate(zip(args, in_dims, strict=True))
        )
        out: Tensor | tuple[Tensor, ...] = op(*args)
        if isinstance(out, Tensor):
            return out.unflatten(0, (size, -1)), 0
        return tuple(t.unflatten(0, (size, -1)) for t in out), (0,) * len(out)

    return rule


def _one_by_one(op: Callable[..., Any]) -> BatchingRule:
    """Batching rule for a batch of weights, which share nothing."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        size = info.batch_size
        columns = [
            _batch_first(a, d, size) if isinstance(a, Tensor) else [a] * size
            for a, d in zip(args, in_dims, strict=True)
        ]
        outs = [op(*column) for column in zip(*columns, strict=True)]
        if isinstance(outs[0], Tensor):
            return torch.stack(outs), 0
        return tuple(torch.stack(column) for column in zip(*outs, strict=True)), (0,) * len(outs[0])

    return rule


def _batch_first(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


RULES = {
    routed_linear: _over_samples(routed_linear),
    routed_sum: _over_samples(routed_sum),
    input_grad: _over_samples(input_grad),
    weight_grad: _one_by_one(weight_grad),
}
# torch 2.4 has no batching rules for operators of others, and refuses `vmap` over them.
if hasattr(routed_linear, "register_vmap"):
    for _operator, _rule in RULES.items():
        _operator.register_vmap(_rule)
