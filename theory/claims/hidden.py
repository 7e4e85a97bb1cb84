"""Lemma 2 below the last layer: hidden Linear layers, against autograd Hessians.

Networks have Linear layers without bias and are cut at a hidden one; `c` is its output unit, `m`
its input unit, `k` a logit.
"""

import numpy as np
import torch
from torch import Tensor, nn

from theory.claim import FAILS, Check, claim
from theory.reference.hessians import (
    cross_entropy,
    hessian_diagonal,
    jacobian,
    perceptron,
    variance,
)

C = 4


def _hidden(
    seed: int, activation: type[nn.Module], layer: int
) -> tuple[Tensor, Tensor, Tensor, int, nn.Sequential]:
    """A 5-6-6-4 net cut at hidden layer 0 or 1: W, its input a, s, a label, and the tail."""
    generator = torch.Generator().manual_seed(seed)
    net = perceptron((5, 6, 6, C), activation, generator)
    x = torch.randn(5, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        a: Tensor = nn.Sequential(*net[: 2 * layer])(x)
        W = next(net[2 * layer].parameters()).detach()
    label = int(torch.randint(C, (), generator=generator))
    return W, a, W @ a, label, net[2 * layer + 1 :]


def _count(quick: bool) -> int:
    return 5 if quick else 40


@claim(
    "lemma2-hidden",
    "Lemma 2",
    "a hidden Linear layer's constants are a^2 Var_p(J)",
    condition="piecewise-linear activations above it, off their kinks",
)
def hidden_layer(quick: bool, seed: int) -> Check:
    """Hidden Linear layer, piecewise-linear tail: a_m^2 Var_p(J_kc), exactly, off the kinks."""
    worst, scale, total = 0.0, 0.0, 0
    for draw in range(_count(quick)):
        for layer in (0, 1):
            W, a, s, y, tail = _hidden(1_000 * seed + draw, nn.ReLU, layer)
            exact = hessian_diagonal(lambda w, a=a, y=y, t=tail: cross_entropy(t(w @ a), y), W)  # type: ignore[misc]
            h = variance(tail(s).softmax(0).detach(), jacobian(tail, s))
            worst = max(worst, float((exact - h[:, None] * a**2).abs().max()))
            scale, total = max(scale, float(exact.max())), total + exact.numel()
    note = f"largest difference {worst:.1e}, largest constant {scale:.2f}"
    return Check(worst, 0.0, "=", 1e-10, n=total, note=note)


@claim(
    "lemma2-popoviciu",
    "Lemma 2",
    "a hidden Linear layer's constants are at most a^2 (max J - min J)^2 / 4",
    condition="piecewise-linear activations above it, off their kinks",
)
def popoviciu(quick: bool, seed: int) -> Check:
    """h_c <= (max_k J_kc - min_k J_kc)^2 / 4: a bound without probabilities."""
    ratios: list[float] = []
    for draw in range(_count(quick)):
        for layer in (0, 1):
            _, _, s, _, tail = _hidden(1_000 * seed + draw, nn.ReLU, layer)
            J = jacobian(tail, s)
            h = variance(tail(s).softmax(0).detach(), J)
            bound = (J.amax(0) - J.amin(0)) ** 2 / 4
            ratios += (h[bound > 0] / bound[bound > 0]).tolist()
    note = f"exact over bound: median {np.median(ratios):.3f}, largest {max(ratios):.3f}"
    return Check(max(ratios), 1.0, n=len(ratios), note=note)


@claim(
    "lemma2-fisher",
    "Lemma 2",
    "E_(y~p) g^2 is a hidden layer's constant",
    condition="piecewise-linear activations above it, off their kinks",
)
def fisher(quick: bool, seed: int) -> Check:
    """E_(y~p) g_cm^2 = the exact diagonal: what one backward pass with a drawn label estimates."""
    worst, total = 0.0, 0
    for draw in range(_count(quick)):
        W, a, s, _, tail = _hidden(1_000 * seed + draw, nn.ReLU, 1)
        p = tail(s).softmax(0).detach()
        second = torch.zeros_like(W)
        for y in range(C):
            w = W.clone().requires_grad_()
            (g,) = torch.autograd.grad(cross_entropy(tail(w @ a), y), w)
            second += p[y] * g**2
        exact = hessian_diagonal(lambda w, a=a, t=tail: cross_entropy(t(w @ a), 0), W)  # type: ignore[misc]
        worst, total = max(worst, float((second - exact).abs().max())), total + W.numel()
    return Check(worst, 0.0, "=", 1e-10, n=total, note=f"largest difference {worst:.1e}")


def _smooth(quick: bool, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Exact diagonals of the last hidden tanh layer, its GGN part, and |phi'' df/do| a^2."""
    exacts, ggns, bends = [], [], []
    for draw in range(_count(quick)):
        W, a, s, y, tail = _hidden(1_000 * seed + draw, nn.Tanh, 1)
        exact = hessian_diagonal(lambda w, a=a, y=y, t=tail: cross_entropy(t(w @ a), y), W)  # type: ignore[misc]
        h = variance(tail(s).softmax(0).detach(), jacobian(tail, s))
        o = torch.tanh(s).requires_grad_()
        (slope,) = torch.autograd.grad(cross_entropy(tail[1:](o), y), o)
        second = -2 * torch.tanh(s) * (1 - torch.tanh(s) ** 2)
        exacts.append(exact)
        ggns.append(h[:, None] * a**2)
        bends.append((second * slope)[:, None] * a**2)
    return torch.stack(exacts), torch.stack(ggns), torch.stack(bends)


@claim(
    "lemma2-induction", "Lemma 2, step 2", "the estimate bounds hidden layers by induction", FAILS
)
def induction(quick: bool, seed: int) -> Check:
    """The inductive step of the paper's proof, read as: the same estimate bounds hidden layers.

    tanh: the estimate (the Gauss-Newton part) against the second derivative's absolute value.
    """
    exact, ggn, _ = _smooth(quick, seed)
    below = float((exact.abs() > ggn + 1e-12).double().mean())
    negative = float((exact < 0).double().mean())
    note = f"too small on {below:.0%} of entries; second derivative negative on {negative:.0%}"
    return Check(below, 0.0, n=exact.numel(), note=note, numbers={"negative": negative})


@claim(
    "lemma2-smooth",
    "Lemma 2, step 2",
    "a hidden constant is a^2 (Var_p(J) + phi'' df/do), bounded by absolute values",
    condition="smooth activation, nothing but a Linear layer above it",
)
def smooth_formula(quick: bool, seed: int) -> Check:
    """Smooth activation, linear tail above it: h_c = Var_p(J_kc) + phi''(s_c) df/do_c, exactly."""
    exact, ggn, bend = _smooth(quick, seed)
    worst = float((exact - ggn - bend).abs().max())
    within = float((exact.abs() / (ggn + bend.abs())).max())
    note = f"largest difference {worst:.1e}; |exact| over Var + |phi'' df/do| at most {within:.3f}"
    valid = Check(within, 1.0, tolerance=1e-9)
    return Check(worst, 0.0, "=", 1e-10, n=exact.numel(), note=note, also=(valid,))


@claim("lemma2-kink", "Lemma 2", "hidden layers below a ReLU have finite constants", FAILS)
def kink(quick: bool, seed: int) -> Check:
    """A hidden ReLU weight's gradient jumps: its difference quotient over 2 eps grows as 1 / eps."""
    quotients = []
    for eps in (1e-2, 1e-4, 1e-6):
        slopes = []
        for value in (-eps, eps):
            w = torch.tensor(value, dtype=torch.float64, requires_grad=True)
            z = torch.stack([torch.relu(w), torch.zeros((), dtype=torch.float64)])
            (g,) = torch.autograd.grad(cross_entropy(z, 0), w)
            slopes.append(float(g))
        quotients.append(abs(slopes[1] - slopes[0]) / (2 * eps))
    note = "quotients at eps = 1e-2, 1e-4, 1e-6: " + ", ".join(f"{q:.3g}" for q in quotients)
    return Check(quotients[-1], 2 * quotients[0], n=3, note=note)
