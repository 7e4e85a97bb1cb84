"""The largest curvature along which an optimizer moves: Lanczos on Hessian-vector products."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from interpretable_sgd.convergence.gradients import Loss, evaluation_copy, gradient


def top_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Tensor, steps: int = 10
) -> tuple[float, Tensor]:
    """Largest eigenvalue of a symmetric matrix A and its Ritz vector, from products with A.

    The Lanczos process with full reorthogonalisation; its Ritz value is never above the largest
    eigenvalue, and exact after as many steps as there are distinct eigenvalues.

    Args:
        product: v -> A v, (d,) -> (d,).
        start: not 0, (d,); the vector found last time, where A changes slowly.
        steps: >= 1, products with A at most.

    Raises:
        ValueError: `start` is 0, or `steps` below 1.

    >>> A = torch.diag(torch.tensor([3.0, 1.0, -5.0]))
    >>> value, vector = top_eigenvalue(lambda v: A @ v, torch.ones(3))
    >>> round(value, 4), round(abs(vector[0].item()), 4)
    (3.0, 1.0)
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    norm = start.norm()
    if not norm > 0:
        raise ValueError("start must not be 0")
    basis, diagonal, off = [start / norm], list[Tensor](), list[Tensor]()
    for _ in range(min(steps, start.numel())):
        v = product(basis[-1])
        diagonal.append(v @ basis[-1])
        Q = torch.stack(basis)
        # Twice is enough: rounding otherwise brings back directions that are already there.
        v = v - Q.T @ (Q @ v)
        v = v - Q.T @ (Q @ v)
        beta = v.norm()
        # The rest is rounding: the vectors span all that `start` has a share in.
        if not beta > 1e-6 * torch.stack(diagonal).abs().max():
            break
        off.append(beta)
        basis.append(v / beta)
    size = len(diagonal)
    T = torch.diag(torch.stack(diagonal).double())
    if size > 1:
        beta_row = torch.stack(off[: size - 1]).double()
        T = T + torch.diag(beta_row, 1) + torch.diag(beta_row, -1)
    if not torch.isfinite(T).all():
        return float("nan"), start
    values, vectors = torch.linalg.eigh(T)
    ritz = torch.stack(basis[:size]).T @ vectors[:, -1].to(start)
    return float(values[-1]), ritz


def largest_curvature(
    model: nn.Module,
    loss: Loss,
    *,
    scales: Mapping[str, float] | None = None,
    start: Tensor | None = None,
    steps: int = 10,
    seed: int = 0,
) -> tuple[float, Tensor]:
    """lambda_max of the Hessian of a loss, or of E^1/2 H E^1/2 for scales E, and its vector.

    With the learning rates as scales it is eta * lambda_max, also where param groups differ. It is
    taken of a copy in evaluation mode; ReLU counts with the curvature it has almost everywhere.

    Args:
        model: the loss is a function of a model like this.
        loss: F, on all data or on a sample that is large enough.
        scales: >= 0, of the trained parameters by name; those without one count as 0. None is 1
            for all.
        start: of the Lanczos process, (d,), such as the vector of the reading before.
        steps: Hessian-vector products at most, each as costly as about two gradients.
        seed: of the first vector, where there is no `start`.

    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> bowl = lambda m: (torch.tensor([1.0, 4.0]) * m.weight**2).sum() / 2
    >>> round(largest_curvature(model, bowl)[0], 4)
    4.0
    >>> round(largest_curvature(model, bowl, scales={"weight": 0.1})[0], 4)
    0.4
    """
    plain = evaluation_copy(model)
    first = gradient(plain, loss, create_graph=True)
    parameters = dict(plain.named_parameters())
    names = [name for name in first if scales is None or scales.get(name, 0) > 0]
    if not names or not any(first[name].requires_grad for name in names):
        # Nothing moves, or the loss is linear in what does.
        return 0.0, torch.ones(1) if start is None else start
    roots = {name: 1.0 if scales is None else scales[name] ** 0.5 for name in names}
    sizes = [first[name].numel() for name in names]
    flat = torch.cat([roots[name] * first[name].flatten() for name in names])

    def product(v: Tensor) -> Tensor:
        columns = torch.autograd.grad(
            flat @ v,
            [parameters[name] for name in names],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        scaled = [roots[name] * c.flatten() for name, c in zip(names, columns, strict=True)]
        return torch.cat(scaled)

    if start is None or start.numel() != sum(sizes):
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(sum(sizes), generator=generator).to(flat)
    return top_eigenvalue(product, start.to(flat), steps)
