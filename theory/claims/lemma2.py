"""Lemma 2 for the last layer: the Lipschitz constants of coordinates, against autograd Hessians.

Index legend: `c` output unit, `m` input unit. All in float64.
"""

import numpy as np
import torch
from torch import Tensor, nn

from theory.claim import FAILS, Check, claim
from theory.reference.hessians import cross_entropy, hessian_diagonal

C, M = 4, 5


def _last_layer(seed: int) -> tuple[Tensor, Tensor, int, torch.Generator]:
    """W, x, a label, and the generator."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(C, M, generator=generator, dtype=torch.float64)
    x = 2 * torch.randn(M, generator=generator, dtype=torch.float64)
    return W, x, int(torch.randint(C, (), generator=generator)), generator


@claim("lemma2-last-layer", "Lemma 2", "the last layer's local constants are p (1 - p) x^2")
def last_layer(quick: bool, seed: int) -> Check:
    """(i) d^2 f / d W_cm^2 = p_c (1 - p_c) x_m^2 at W, whatever the label."""
    worst = 0.0
    count = 5 if quick else 50
    for draw in range(count):
        W, x, label, _ = _last_layer(1_000 * seed + draw)
        exact = hessian_diagonal(lambda w, x=x, y=label: cross_entropy(w @ x, y), W)  # type: ignore[misc]
        p = (W @ x).softmax(0)
        worst = max(worst, float((exact - (p * (1 - p))[:, None] * x**2).abs().max()))
    return Check(worst, 0.0, "=", 1e-10, n=count * C * M, note=f"largest difference {worst:.1e}")


def _sweep(W: Tensor, x: Tensor, c: int, m: int, tau: Tensor) -> Tensor:
    """p_c (1 - p_c) x_m^2 along W + tau E_cm."""
    z = (W @ x).expand(len(tau), C).clone()
    z[:, c] += tau * x[m]
    p = z.softmax(1)[:, c]
    return p * (1 - p) * x[m] ** 2


@claim(
    "lemma2-activations",
    "Lemma 2",
    "the last layer's constants are bounded by activations: x^2 / 4, attained",
)
def activation_bound(quick: bool, seed: int) -> Check:
    """(iii) for all weights the constant is exactly x_m^2 / 4: never above, and attained."""
    W, x, _, _ = _last_layer(seed)
    tau = torch.linspace(-60, 60, 20_001 if quick else 200_001, dtype=torch.float64)
    ratios = [
        float(_sweep(W, x, c, m, tau / abs(float(x[m]))).max() / (x[m] ** 2 / 4))
        for c in range(C)
        for m in range(M)
    ]
    note = f"largest second derivative over x^2 / 4: {min(ratios):.7f} to {max(ratios):.7f}"
    attained = Check(min(ratios), 1 - 1e-5, ">=", note=note)
    return Check(max(ratios), 1.0, n=C * M, note=note, also=(attained,))


@claim(
    "lemma2-neighbourhood",
    "Lemma 2",
    "the last layer's constants within radius rho, in closed form",
)
def neighbourhood(quick: bool, seed: int) -> Check:
    """(ii) on |tau| <= rho: x^2 s'(max(0, |a| - rho |x|)), a = log(p / (1 - p)), s = sigmoid."""
    W, x, _, _ = _last_layer(seed)
    rho, gaps, looser = 0.5, [], []
    p = (W @ x).softmax(0)
    for c in range(C):
        a = abs(float(torch.logit(p[c])))
        for m in range(M):
            tau = torch.linspace(-rho, rho, 20_001, dtype=torch.float64)
            numeric = float(_sweep(W, x, c, m, tau).max())
            nearest = torch.tensor(max(0.0, a - rho * abs(float(x[m]))), dtype=torch.float64)
            formula = float(x[m] ** 2 * torch.sigmoid(nearest) * torch.sigmoid(-nearest))
            local = float(p[c] * (1 - p[c]) * x[m] ** 2)
            gaps.append(abs(numeric / formula - 1))
            looser.append(formula / (local * np.exp(rho * abs(float(x[m])))))
    note = f"formula against a numeric supremum: relative difference {max(gaps):.1e}"
    crude = Check(max(looser), 1.0, note="and at most exp(rho |x|) times the constant at W")
    return Check(max(gaps), 0.0, "=", 1e-6, n=C * M, note=note, also=(crude,))


@claim("lemma2-float32", "Lemma 2", "p (1 - p) may be computed as it is written, in float32", FAILS)
def underflow(quick: bool, seed: int) -> Check:
    """Computed as p (1 - p) in float32, the constant of a surely wrong class is 0: it freezes."""
    z = torch.tensor([0.0, 20.0])
    p = z.softmax(0)
    naive = float(p[1] * (1 - p[1]))
    exact = float(nn.functional.logsigmoid(z[1]).exp() * nn.functional.logsigmoid(-z[1]).exp())
    note = f"logits (0, 20): p (1 - p) = {naive:g}, sigmoid(20) sigmoid(-20) = {exact:.3g}"
    return Check(naive, 0.5 * exact, ">=", n=1, note=note)
