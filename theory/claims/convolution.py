"""Lemma 2 for Conv2d: positions of one weight interact, so sums over positions need care.

`u` runs over output positions, `r` over a patch, `c`, `m` over output and input channels.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from theory.claim import FAILS, Check, claim
from theory.reference.hessians import Tail, cross_entropy, hessian_diagonal, jacobian, variance
from theory.reference.problems import Array

CLASSES, CHANNELS = 4, 3


def _draw(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


class _Net(NamedTuple):
    """Exact diagonal (c, M r), patches a (M r, U), J = dz/ds (C, c, U), h = Var_p(J) (c, U), p."""

    exact: Tensor
    a: Tensor
    J: Tensor
    h: Tensor
    p: Tensor


def _nets(quick: bool, seed: int) -> Iterator[_Net]:
    """3x3 convolution, ReLU, global pooling, Linear, on inputs >= 0."""
    for draw in range(3 if quick else 30):
        generator = torch.Generator().manual_seed(1_000 * seed + draw)
        x = _draw((1, 2, 5, 5), generator).relu()
        W, V = _draw((CHANNELS, 2, 3, 3), generator) / 4, _draw((CLASSES, CHANNELS), generator)

        def tail(s: Tensor, V: Tensor = V) -> Tensor:
            return V @ s.relu().mean((-2, -1))

        def loss(w: Tensor, x: Tensor = x, tail: Tail = tail) -> Tensor:
            return cross_entropy(tail(nn.functional.conv2d(x, w)[0]), 0)

        s = nn.functional.conv2d(x, W)[0]
        J, p = jacobian(tail, s).flatten(2), tail(s).softmax(0)
        a = nn.functional.unfold(x, 3)[0]
        yield _Net(hessian_diagonal(loss, W).flatten(1), a, J, variance(p, J), p)


@claim(
    "conv-exact",
    "Lemma 2",
    "Conv2d constants are Var_p(sum_u J_u a_u)",
    condition="piecewise-linear activations above it, off their kinks",
)
def exact_sum(quick: bool, seed: int) -> Check:
    """d^2 f / d W^2 = Var_p(sum_u J_cu a_u) for a piecewise-linear tail."""
    worst, total = 0.0, 0
    for net in _nets(quick, seed):
        formula = variance(net.p, torch.einsum("kcu,ru->kcr", net.J, net.a))
        worst = max(worst, float((net.exact - formula).abs().max()))
        total += formula.numel()
    return Check(worst, 0.0, "=", 1e-10, n=total, note=f"largest difference {worst:.1e}")


def _over_exact(quick: bool, seed: int, what: str) -> Array:
    """sum_u a^2 h, (sum_u |a| sqrt h)^2 or U sum_u a^2 h over the exact constant, where it is > 0."""
    ratios: list[float] = []
    for net in _nets(quick, seed):
        plain = torch.einsum("cu,ru->cr", net.h, net.a**2)
        if what == "rooted":
            plain = torch.einsum("cu,ru->cr", net.h.sqrt(), net.a.abs()) ** 2
        elif what == "counted":
            plain = net.h.shape[1] * plain
        used = net.exact > 1e-9
        ratios += (plain[used] / net.exact[used]).tolist()
    return np.array(ratios)


@claim("conv-plain-sum", "Lemma 2", "Conv2d constants are at most sum_u a_u^2 h_u", FAILS)
def plain_sum(quick: bool, seed: int) -> Check:
    """sum_u a_u^2 h_u, the Linear formula summed over positions, as a bound."""
    ratios = _over_exact(quick, seed, "plain")
    note = f"sum over exact: median {np.median(ratios):.3f}, smallest {ratios.min():.3f}"
    return Check(float(ratios.min()), 1.0, ">=", n=len(ratios), note=note)


@claim(
    "conv-bound",
    "Lemma 2",
    "Conv2d constants are at most U sum_u a_u^2 h_u, U positions",
    condition="piecewise-linear activations above it, off their kinks",
)
def position_bound(quick: bool, seed: int) -> Check:
    """exact <= (sum_u |a_u| sqrt h_u)^2 <= U sum_u a_u^2 h_u: Cauchy-Schwarz over positions."""
    rooted, counted = (_over_exact(quick, seed, what) for what in ("rooted", "counted"))
    note = f"bound over exact: median {np.median(rooted):.2f}, smallest {rooted.min():.3f}"
    outer = Check(float((counted / rooted).min()), 1.0, ">=", 1e-9)
    return Check(float(rooted.min()), 1.0, ">=", 1e-9, n=len(rooted), note=note, also=(outer,))


@claim(
    "conv-pooled-head", "Lemma 2", "constants of a 1x1 head with pooling are p (1 - p) (mean_u a)^2"
)
def pooled_head(quick: bool, seed: int) -> Check:
    """1x1 convolution and global pooling as the head: p (1 - p) (mean_u a)^2, not mean_u a^2."""
    generator = torch.Generator().manual_seed(seed)
    x, W = _draw((6, 4, 4), generator).relu(), _draw((CLASSES, 6), generator)
    exact = hessian_diagonal(
        lambda w: cross_entropy(torch.einsum("cm,mij->cij", w, x).mean((1, 2)), 1), W
    )
    a = x.flatten(1)
    p = (W @ a.mean(1)).softmax(0)
    gap = float((exact - (p * (1 - p))[:, None] * a.mean(1) ** 2).abs().max())
    over = (a**2).mean(1) / a.mean(1) ** 2
    note = f"difference {gap:.1e}; mean a^2 is {over.min():.2f} to {over.max():.2f} times too large"
    return Check(gap, 0.0, "=", 1e-10, n=W.numel(), note=note)


@claim(
    "conv-per-position", "Lemma 2", "constants with a loss per position are sum_u p (1 - p) a_u^2"
)
def dense_prediction(quick: bool, seed: int) -> Check:
    """A label for every position: there the plain sum over positions is exact."""
    generator = torch.Generator().manual_seed(seed)
    a, W = _draw((6, 10), generator), _draw((CLASSES, 6), generator)
    labels = torch.randint(CLASSES, (10,), generator=generator)
    exact = hessian_diagonal(
        lambda w: nn.functional.cross_entropy((w @ a).T, labels, reduction="sum"), W
    )
    p = (W @ a).softmax(0)
    gap = float((exact - (p * (1 - p)) @ (a**2).T).abs().max())
    return Check(gap, 0.0, "=", 1e-10, n=W.numel(), note=f"largest difference {gap:.1e}")
