"""Second derivatives of cross-entropy in a layer's weights: by autograd, and in closed form.

The judge of Lemma 2. A network is cut at a layer: `a` its input, s = W a its output, `tail` what
maps s to the logits z; p = softmax(z), J = dz/ds.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

Tail = Callable[[Tensor], Tensor]


def cross_entropy(z: Tensor, label: int) -> Tensor:
    """-log p_y of logits, (C,)."""
    return -z.log_softmax(-1)[label]


def hessian_diagonal(loss: Callable[[Tensor], Tensor], weight: Tensor) -> Tensor:
    """d^2 loss / d W_cm^2 by autograd, the shape of the weight."""
    flat = weight.detach().flatten()
    H = torch.autograd.functional.hessian(lambda w: loss(w.view(weight.shape)), flat)
    return torch.diagonal(H).reshape(weight.shape)


def jacobian(tail: Tail, s: Tensor) -> Tensor:
    """J = dz/ds, (C, *s.shape)."""
    return torch.autograd.functional.jacobian(tail, s.detach())


def variance(p: Tensor, J: Tensor) -> Tensor:
    """Var_(k~p)(J_k.), over the first dimension."""
    p = p.reshape(-1, *[1] * (J.dim() - 1))
    return (p * (J - (p * J).sum(0)) ** 2).sum(0)


def perceptron(
    widths: tuple[int, ...], activation: type[nn.Module], generator: torch.Generator
) -> nn.Sequential:
    """Linear layers without bias in float64, with the activation between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        linear = nn.Linear(inputs, outputs, bias=False, dtype=torch.float64)
        with torch.no_grad():
            drawn = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64)
            linear.weight.copy_(drawn / inputs**0.5)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])
