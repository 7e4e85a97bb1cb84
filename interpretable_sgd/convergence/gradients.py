"""Squared gradients of an objective without bias, whole or weighted as a theorem weighs them.

Gradients are of a copy in evaluation mode: `.grad`, batch statistics and the optimizer's own
statistics are left alone, and masks do not touch them.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Loss = Callable[[nn.Module], Tensor]
Gradient = dict[str, Tensor]


class Routing(Protocol):
    """What reads back the routing of its layers, as `InterpretableSGD` does."""

    def routed_units(self) -> Mapping[str, Any]:
        """Routed units by layer, each with a boolean `support` and `probabilities`, (O, M)."""
        ...


def gradient_product(
    model: nn.Module,
    first: Loss,
    second: Loss | None = None,
    *,
    weights: Mapping[str, Tensor] | None = None,
) -> float:
    r"""<grad f_1, grad f_2>, an unbiased estimate of |grad F|^2 from two disjoint half batches.

    The squared norm of one batch's gradient is |grad F|^2 plus the variance, so it stays up when
    F has converged; the product of two independent gradients has no such term. It may be negative.

    Args:
        model: f_1 and f_2 are functions of a model like this.
        first: the loss on one half batch, or on all data.
        second: the loss on the other half; None for |grad f_1|^2, right if f_1 is on all data.
        weights: by name of a parameter, of its shape or broadcasting to it, factors of the products
            of its coordinates; parameters without one count in full. `supports` gives |grad_S F|^2,
            `probabilities` gives |grad F|^2_Pi.

    Raises:
        ValueError: a weight is of no parameter that is trained.

    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> round(gradient_product(model, lambda m: 3 * m.weight.sum()), 3)
    18.0
    >>> one_of_two = {"weight": torch.tensor([[1.0, 0.0]])}
    >>> round(gradient_product(model, lambda m: 3 * m.weight.sum(), weights=one_of_two), 3)
    9.0
    """
    plain = evaluation_copy(model)
    one = gradient(plain, first)
    two = one if second is None else gradient(plain, second)
    weights = {} if weights is None else weights
    for name in weights:
        if name not in one:
            raise ValueError(f"weights must be of trained parameters, got {name!r}")
    return inner({name: g * weights.get(name, 1) for name, g in one.items()}, two)


def supports(model: nn.Module, optimizer: Routing) -> Gradient:
    """Weights of |grad_S F|^2: 1 on the support of every routed layer, 0 in its other connections.

    Theorem H bounds this measure on the run's own support, once settled.

    Raises:
        ValueError: a routed layer is not in the model.
    """
    return _weights(model, optimizer, "support")


def probabilities(model: nn.Module, optimizer: Routing) -> Gradient:
    """Weights of |grad F|^2_Pi: the selection probability of every connection of a routed layer.

    Theorems A and F bound this measure. It cannot see a connection that is never selected, so
    rates are judged by the plain norm.

    Raises:
        ValueError: a routed layer is not in the model, or its masks are not drawn.
    """
    return _weights(model, optimizer, "probabilities")


def _weights(model: nn.Module, optimizer: Routing, what: str) -> Gradient:
    parameters, found = dict(model.named_parameters()), {}
    for layer, units in optimizer.routed_units().items():
        alone = layer in ("", type(model).__name__)
        names = ("weight",) if alone else (f"{layer}.weight", layer)
        name = next((n for n in names if n in parameters), None)
        if name is None:
            raise ValueError(f"the routed layer {layer!r} is not in the model")
        of = getattr(units, what, None)
        if of is None:
            raise ValueError(f"the routed layer {layer!r} has no {what}: its masks are not drawn")
        found[name] = of.to(parameters[name]).reshape(parameters[name].shape)
    return found


def evaluation_copy(model: nn.Module) -> nn.Module:
    """A twin whose gradients can be taken without leaving a trace on the model."""
    return copy.deepcopy(model).eval()


def gradient(plain: nn.Module, loss: Loss, *, create_graph: bool = False) -> Gradient:
    """Gradient of a loss in the trained parameters of a copy, by name; 0 where it is not used."""
    parameters = {name: p for name, p in plain.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        found = torch.autograd.grad(
            loss(plain),
            list(parameters.values()),
            create_graph=create_graph,
            allow_unused=True,
            materialize_grads=True,
        )
    return dict(zip(parameters, found, strict=True))


def inner(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> float:
    """Inner product of two gradients, summed in float64."""
    products = [(g.double() * two[name].double()).sum() for name, g in one.items()]
    return float(torch.stack(products).sum())
