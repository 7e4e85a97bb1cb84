"""From constants to masks: the order in which a routed layer's mask is made.

Shared masks act in the optimizer's step, on lagged statistics. Per-sample masks (Algorithm 3)
cannot be had from a batch's gradient, so they act in backward.

Index legend: `i` sample, `c` output unit, `m` input connection.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interpretable_sgd.optimizer.layer_gradients import (
    Layer,
    per_sample,
    positions,
    weight_gradient,
)
from interpretable_sgd.optimizer.probabilities import explore, literal, waterfill
from interpretable_sgd.optimizer.sampling import bernoulli, fold, systematic
from interpretable_sgd.optimizer.scores import SCORES, curvature, gate

_CHUNK = 1 << 22
"""Most coordinates, over samples, that per-sample masks hold at a time."""


@dataclass(frozen=True)
class Rule:
    """How coordinates are selected; the mask options of a param group at one step.

    Args:
        block_size: K > 0, the mean number of connections selected per output unit, now.
        sparsity: s <= 1.
        lipschitz: a key of `lipschitz.SCORES`.
        probabilities: "waterfill" or "paper".
        draw: "independent", "systematic" (shared masks) or "unit" (per-sample masks).
        floor: eps in [0, 1).
        unbiased: divide what is selected by its probability.
    """

    block_size: float
    sparsity: float
    lipschitz: str
    probabilities: str
    draw: str
    floor: float
    unbiased: bool

    def is_whole(self, fan_in: int) -> bool:
        """Whether the block is a whole row, so that nothing is masked."""
        return self.probabilities == "waterfill" and self.block_size >= fan_in

    def responsibility(self, constants: Tensor) -> Tensor:
        """pi of constants G before the floor, (..., O, M); rows without information are uniform."""
        if self.probabilities == "paper":
            return literal(constants, self.sparsity)
        pi = waterfill(constants, self.block_size, self.sparsity)
        known = (constants > 0).any(-1, keepdim=True)
        return torch.where(known, pi, min(1.0, self.block_size / pi.shape[-1]))

    def probability(self, responsibility: Tensor) -> Tensor:
        """pi with the floor, (..., O, M)."""
        return (
            explore(responsibility, self.floor, self.block_size) if self.floor else responsibility
        )

    def select(self, probability: Tensor, key: int) -> Tensor:
        """One mask for the whole batch, boolean, (O, M)."""
        return (systematic if self.draw == "systematic" else bernoulli)(probability, key)


def statistic(
    lipschitz: str, signed: bool, layer: Layer, input: Tensor, output: Tensor, gradient: Tensor
) -> Tensor:
    """sum_i h_ic x_im^2 over a batch, by the layer's weight-gradient operation.

    Args:
        lipschitz: a key of `lipschitz.SCORES`.
        signed: keep positive and negative inputs apart, which gates on signed inputs need.

    Returns:
        (1, O, M), or (2, O, M) if signed: of (x)_+ and of (x)_-.
    """
    h = curvature(SCORES[lipschitz].curvature, output, gradient, unit_dim(layer, gradient))
    parts = [input.clamp(min=0), input.clamp(max=0)] if signed else [input]
    moments = [weight_gradient(layer, x.to(h.dtype).square(), h) for x in parts]
    return torch.stack(moments).flatten(2)


def constants(lipschitz: str, weight: Tensor, moments: Tensor) -> Tensor:
    """Constants of a score from its statistic.

    Args:
        lipschitz: a key of `lipschitz.SCORES`.
        weight: W, (O, M).
        moments: (1 or 2, ..., O, M) of `statistic`.

    Returns:
        (..., O, M).
    """
    if not SCORES[lipschitz].gated:
        return moments.sum(0)
    return gate(weight, moments[0], moments[1] if len(moments) > 1 else None)


def unit_dim(layer: nn.Module, output: Tensor) -> int:
    """The dimension of a layer's output that runs over its units."""
    if isinstance(layer, nn.Linear):
        return output.dim() - 1
    return output.dim() - 1 - len(layer.kernel_size)  # type: ignore[arg-type]


def masked_gradient(
    rule: Rule, key: int, layer: Layer, input: Tensor, output: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """Algorithm 3: sum_i q_i * g_i with a mask for every sample, and what its bias needs.

    Args:
        rule: how to select.
        key: of the draws.
        layer, input, output, gradient: of the layer's backward.

    Returns:
        The masked gradient, shape of the weight, and the sums over samples of
        (pi g, pi, g, q, 1), shape (5, O, M), see `bias_ratio`.
    """
    kind, dim = SCORES[rule.lipschitz].curvature, unit_dim(layer, gradient)
    h = curvature(kind, output, gradient, dim, relative=True)
    x, delta = positions(layer, input.to(h.dtype), gradient.to(h.dtype))
    _, h = positions(layer, input, h)
    weight = layer.weight.detach().flatten(1).to(h.dtype)
    if rule.draw == "unit":
        total, sums = _unit(rule, fold(key, 0), x, delta, h)
    else:
        total, sums = torch.zeros_like(weight), weight.new_zeros(5, *weight.shape)
        rows = max(1, _CHUNK // weight.numel())
        chunks = zip(x.split(rows), delta.split(rows), h.split(rows), strict=True)
        for number, chunk in enumerate(chunks):
            kept, observed = _independent(rule, fold(key, number), weight, *chunk)
            total, sums = total + kept, sums + observed
    return total.view_as(layer.weight).to(layer.weight.dtype), sums


def _independent(
    rule: Rule, key: int, weight: Tensor, x: Tensor, delta: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """sum_i q_i * g_i and the sums, with independent q_icm of a few samples at a time."""
    if SCORES[rule.lipschitz].gated:
        signs = (x.clamp(min=0), x.clamp(max=0))
        moments = torch.stack([per_sample(part.square(), h) for part in signs])
    else:
        moments = per_sample(x.square(), h)[None]
    G = constants(rule.lipschitz, weight, moments)
    pi = rule.probability(rule.responsibility(G))
    q, g = bernoulli(pi, key), per_sample(x, delta)
    # What is not finite must reach `.grad`, where gradient scaling looks for it.
    kept = torch.where(q | ~g.isfinite(), g / pi if rule.unbiased else g, 0)
    of_samples = (pi * g, pi, g, q.to(g), torch.ones_like(g))
    return kept.sum(0), torch.stack([part.sum(0) for part in of_samples])


def _unit(rule: Rule, key: int, x: Tensor, delta: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The same with rank-one draws q_icm = u_ic v_im, of the same marginals: matrix products.

    h x^2 is a product, so its literal probabilities are too; water-filling a row cancels h_ic.
    """
    if x.shape[1] > 1 or x.shape[-1] > 1:
        raise ValueError(
            "draw='unit' needs Linear layers on (batch, features): h x^2 is summed over positions"
        )
    x, delta, h = x.flatten(1), delta.flatten(1), h.flatten(1)
    squares = x.square()[:, None]
    if rule.probabilities == "paper":
        pi_u, pi_v = literal(h[:, None], rule.sparsity)[:, 0], literal(squares, rule.sparsity)[:, 0]
    else:
        pi_u, pi_v = torch.ones_like(h), rule.probability(rule.responsibility(squares))[:, 0]
    u, v = bernoulli(pi_u, fold(key, 0)), bernoulli(pi_v, fold(key, 1))
    # What is not finite must reach `.grad`, where gradient scaling looks for it.
    kept_u = torch.where(u | ~delta.isfinite(), delta / pi_u if rule.unbiased else delta, 0)
    kept_v = torch.where(v | ~x.isfinite(), x / pi_v if rule.unbiased else x, 0)
    pairs = ((pi_u * delta, pi_v * x), (pi_u, pi_v), (delta, x), (u.to(x), v.to(x)))
    products = [left.T @ right for left, right in pairs]
    return kept_u.T @ kept_v, torch.stack([*products, torch.full_like(products[0], len(x))])


def bias_ratio(sums: Tensor) -> Tensor:
    """theta_j = C_j^2 / (pibar_j d_j F)^2, C_j = Cov_i(pi_ij, g_ij): the bias of per-sample masks.

    The mean step is pibar_j d_j F + C_j; where theta >= 1 the bias can turn it around (theory,
    Theorem C).

    Args:
        sums: (5, ...) sums over samples of (pi g, pi, g, q, 1), g divided by the batch size.

    Returns:
        theta >= 0, shape (...); inf where only the bias is left.
    """
    step, pi, gradient, _, count = sums
    unbiased = pi / count.clamp(min=1) * gradient
    ratio: Tensor = (step - unbiased) / unbiased
    return ratio.square().nan_to_num(nan=0.0, posinf=torch.inf)
