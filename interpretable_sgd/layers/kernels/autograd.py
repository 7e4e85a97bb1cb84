"""Derivatives of the routed sum, of every order.

Index legend: ``n`` sample, ``o`` output unit, ``m`` input unit; R the kept units.

Given R, the sum and its two gradients are bilinear, and the derivative of each is made of the
others:

- RoutedSum(x, w)   = sum_m R x w   -> InputGrad, WeightGrad
- InputGrad(g, w)   = sum_o R g w   -> RoutedSum, WeightGrad
- WeightGrad(g, x)  = sum_n R g x   -> RoutedSum, InputGrad

R itself has derivative zero wherever the selection does not jump, which is almost everywhere.

The rules stand in autograd functions, which work under ``torch.func`` and without graph breaks
under ``torch.compile``; the registered operators take theirs from here.
"""

from typing import Any

import torch
from torch import Tensor

from interpretable_sgd.layers.kernels import operators


class _Bilinear(torch.autograd.Function):
    """Saves its three operands; kept units, always the third, carry no gradient."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep the operands."""
        ctx.save_for_backward(*inputs)


class RoutedLinear(torch.autograd.Function):
    """Select and sum: (x, weight, k, at_most) -> (y, kept)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, k: int, at_most: bool) -> tuple[Tensor, Tensor]:
        """See `operators.routed_linear`."""
        y, kept = operators.routed_linear(x, weight, k, at_most)
        return y, kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep the operands and the kept units, which have no gradient."""
        ctx.save_for_backward(*inputs[:2], output[1])
        ctx.mark_non_differentiable(output[1])
        # or a tensor of zeros as large as the kept units would be made for their gradient
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor | None, _: Any) -> tuple[Any, ...]:
        """Gradients of x and weight: those of the sum over the kept units."""
        return (None,) * 4 if grad_y is None else (*_of_operands(ctx, grad_y), None, None)


class RoutedSum(_Bilinear):
    """(x, weight, kept) -> y."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
        """See `operators.routed_sum`."""
        result: Tensor = operators.routed_sum(x, weight, kept)
        return result

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
        """Gradients of x and weight."""
        return (*_of_operands(ctx, grad_y), None)


def _of_operands(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the sum over the kept units; one `backward` may not call another in a graph."""
    x, weight, kept = ctx.saved_tensors
    return (
        InputGrad.apply(grad_y, weight, kept) if ctx.needs_input_grad[0] else None,
        WeightGrad.apply(grad_y, x, kept) if ctx.needs_input_grad[1] else None,
    )


class InputGrad(_Bilinear):
    """(grad_y, weight, kept) -> grad_x."""

    @staticmethod
    def forward(grad_y: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
        """See `operators.input_grad`."""
        result: Tensor = operators.input_grad(grad_y, weight, kept)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        """Gradients of grad_y and weight."""
        grad_y, weight, kept = ctx.saved_tensors
        return (
            RoutedSum.apply(grad, weight, kept) if ctx.needs_input_grad[0] else None,
            WeightGrad.apply(grad_y, grad, kept) if ctx.needs_input_grad[1] else None,
            None,
        )


class WeightGrad(_Bilinear):
    """(grad_y, x, kept) -> grad_weight."""

    @staticmethod
    def forward(grad_y: Tensor, x: Tensor, kept: Tensor) -> Tensor:
        """See `operators.weight_grad`."""
        result: Tensor = operators.weight_grad(grad_y, x, kept)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        """Gradients of grad_y and x."""
        grad_y, x, kept = ctx.saved_tensors
        return (
            RoutedSum.apply(x, grad, kept) if ctx.needs_input_grad[0] else None,
            InputGrad.apply(grad_y, grad, kept) if ctx.needs_input_grad[1] else None,
            None,
        )


for _operator, _rule in (
    (operators.routed_linear, RoutedLinear),
    (operators.routed_sum, RoutedSum),
    (operators.input_grad, InputGrad),
    (operators.weight_grad, WeightGrad),
):
    _operator.register_autograd(_rule.backward, setup_context=_rule.setup_context)
