"""Dynamic-K (Algorithm 2) and Algorithm 3: what is identical, and where "exactly equivalent" ends.

Y_c is the sum of the K largest positive W_cm x_m; R_cm = 1 for those, else 0. Index legend: `i`
sample, `c` class, `m` unit. Everything is written out in float64; gradients come from autograd.
"""

import numpy as np
import torch
from torch import Tensor, nn

from theory.claim import FAILS, Check, claim
from theory.reference.hessians import cross_entropy, hessian_diagonal

N, CLASSES, UNITS, K = 32, 6, 40, 5


def _draw(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _data(seed: int) -> tuple[Tensor, Tensor, Tensor, torch.Generator]:
    """Weights, post-ReLU activations, labels."""
    generator = torch.Generator().manual_seed(seed)
    W, x = _draw(CLASSES, UNITS, generator=generator), _draw(N, UNITS, generator=generator).relu()
    return W / UNITS**0.5, x, torch.randint(CLASSES, (N,), generator=generator), generator


def contributions(W: Tensor, x: Tensor) -> Tensor:
    """W_cm x_im, (N, C, M)."""
    return W * x[:, None, :]


def routed(W: Tensor, x: Tensor, kept: int = K) -> Tensor:
    """Y_ic by sorting, (N, C)."""
    return contributions(W, x).clamp(min=0).topk(kept, dim=-1).values.sum(-1)


def routing(W: Tensor, x: Tensor, kept: int = K) -> Tensor:
    """R_icm, by comparison with the K-th largest."""
    parts = contributions(W, x)
    edge = parts.topk(kept, dim=-1).values[..., -1:]
    return ((parts >= edge) & (parts > 0)).double()


def _gradient(W: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Of the Dynamic-K network's mean loss in W, by autograd."""
    w = W.clone().requires_grad_()
    return torch.autograd.grad(nn.functional.cross_entropy(routed(w, x), y), w)[0]


def _masked(z: Tensor, W: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """mean_i R_i * (delta_i x_i'), delta at the logits z."""
    delta = z.softmax(1) - nn.functional.one_hot(y, CLASSES)
    return (routing(W, x) * delta[:, :, None] * x[:, None, :]).mean(0)


@claim("dynamic-k-gradient", "section 3", "Dynamic-K's gradient is masked, delta at routed logits")
def gradient_identity(quick: bool, seed: int) -> Check:
    """I1: autograd through Y equals mean_i R_i * (delta_i x_i'), delta at the routed logits."""
    W, x, y, _ = _data(seed)
    gap = float((_gradient(W, x, y) - _masked(routed(W, x), W, x, y)).abs().max())
    return Check(gap, 0.0, "=", 1e-12, n=W.numel(), note=f"largest difference {gap:.1e}")


@claim("dynamic-k-dense", "section 3", "Dynamic-K is exactly Algorithm 3 for large s", FAILS)
def dense_forward(quick: bool, seed: int) -> Check:
    """I2: with delta at the dense logits, as Algorithm 3 has it, the step is another one."""
    W, x, y, _ = _data(seed)
    dynamic, algorithm3 = _gradient(W, x, y), _masked(x @ W.T, W, x, y)
    relative = float((dynamic - algorithm3).norm() / dynamic.norm())
    cosine = float((dynamic * algorithm3).sum() / (dynamic.norm() * algorithm3.norm()))
    note = f"relative difference of the two steps {relative:.2f}, cosine {cosine:.3f}"
    return Check(relative, 0.0, "=", 1e-6, n=W.numel(), note=note, numbers={"cosine": cosine})


@claim(
    "dynamic-k-trajectory",
    "section 3",
    "a run of Dynamic-K is a run of masked SGD",
    condition="score (W x)_+^2, s = 1 with a block size, and a routed forward",
)
def same_trajectory(quick: bool, seed: int) -> Check:
    """I6: masked SGD with a routed forward is SGD on the Dynamic-K network, 200 steps."""
    W, x, y, _ = _data(seed)
    V = W.clone()
    for _ in range(200):
        W, V = W - 0.5 * _gradient(W, x, y), V - 0.5 * _masked(routed(V, x), V, x, y)
    gap = float((W - V).abs().max())
    return Check(gap, 0.0, "=", 1e-9, n=200, note=f"largest difference {gap:.1e}")


@claim("dynamic-k-gate", "section 3", "(W x)^2 p (1 - p) is the constant of the routing variable")
def gate_constant(quick: bool, seed: int) -> Check:
    """I3: d^2 f / d R_cm^2 = p_c (1 - p_c) (W_cm x_m)^2 at R = 1: the gate's Lipschitz constant."""
    W, x, y, _ = _data(seed)
    label, first = int(y[0]), x[0]
    exact = hessian_diagonal(lambda R: cross_entropy((R * W) @ first, label), torch.ones_like(W))
    p = (W @ first).softmax(0)
    gap = float((exact - (p * (1 - p))[:, None] * (W * first) ** 2).abs().max())
    return Check(gap, 0.0, "=", 1e-12, n=W.numel(), note=f"largest difference {gap:.1e}")


def _overlap(W: Tensor, x: Tensor, kept: int) -> float:
    """Share of Dynamic-K's units among the top K of Lemma 2's constants x_m^2."""
    chosen = contributions(W, x).topk(kept, dim=-1).indices
    ranked = x.square().topk(kept, dim=-1).indices
    return float((chosen[..., None] == ranked[:, None, None, :]).any(-1).double().mean())


@claim(
    "dynamic-k-selection",
    "section 3",
    "Dynamic-K's units are the top K of Lemma 2's constants",
    FAILS,
)
def selection(quick: bool, seed: int) -> Check:
    """The units that Dynamic-K selects are the top K of Lemma 2's constants? M = 512, K = 25."""
    generator = torch.Generator().manual_seed(seed)
    x = _draw(20 if quick else 200, 512, generator=generator).relu()
    W = _draw(10, 512, generator=generator)
    signed, positive, constant = (_overlap(V, x, 25) for V in (W, W.abs(), torch.ones_like(W)))
    note = f"overlap {signed:.2f}; W = |W|: {positive:.2f}; constant positive W: {constant:.2f}"
    return Check(signed, 1.0, ">=", 1e-9, n=10 * len(x), note=note)


@claim(
    "dynamic-k-classes",
    "section 3",
    "Lemma 2's constants tell classes apart as Dynamic-K does",
    FAILS,
)
def class_alike(quick: bool, seed: int) -> Check:
    """Top K of Lemma 2's constants per row is the same for every class; Dynamic-K's differs."""
    W, x, _, _ = _data(seed)
    p = (x[:1] @ W.T).softmax(1)
    L = (p * (1 - p))[:, :, None] * x[:1, None, :] ** 2
    rows = L.topk(K, dim=-1).indices.sort(-1).values[0]
    chosen = contributions(W, x[:1]).topk(K, dim=-1).indices.sort(-1).values[0]
    lipschitz, dynamic = (len(torch.unique(r, dim=0)) for r in (rows, chosen))
    note = f"{lipschitz} distinct row of {CLASSES} by constants, {dynamic} by contributions"
    return Check(float(lipschitz), float(dynamic), "=", n=CLASSES, note=note)


@claim(
    "dynamic-k-trivial",
    "section 3",
    "Dynamic-K, Algorithm 3 and plain SGD agree",
    condition="at most K active units and W x >= 0",
)
def trivial_case(quick: bool, seed: int) -> Check:
    """I5: where at most K units are active and all W x >= 0, both are plain SGD."""
    W, x, y, _ = _data(seed)
    W, x = W.abs(), x * (x >= x.topk(K, dim=1).values[:, -1:])
    delta = (x @ W.T).softmax(1) - nn.functional.one_hot(y, CLASSES)
    plain = delta.T @ x / N
    gaps = [
        float((step - plain).abs().max())
        for step in (_gradient(W, x, y), _masked(x @ W.T, W, x, y))
    ]
    return Check(
        max(gaps), 0.0, "=", 1e-12, n=W.numel(), note=f"largest difference {max(gaps):.1e}"
    )


@claim("dynamic-k-objective", "section 3", "training Dynamic-K's loss trains the dense one", FAILS)
def same_objective(quick: bool, seed: int) -> Check:
    """Training the Dynamic-K network trains the dense one? Loss of either after 500 steps."""
    W, x, y, _ = _data(seed)
    for _ in range(100 if quick else 500):
        W = W - 0.5 * _gradient(W, x, y)
    own = float(nn.functional.cross_entropy(routed(W, x), y))
    dense = float(nn.functional.cross_entropy(x @ W.T, y))
    note = f"its own loss {own:.3f}, dense loss {dense:.3f}, log C = {np.log(CLASSES):.3f}"
    return Check(dense, own, tolerance=1e-6, n=N, note=note)
