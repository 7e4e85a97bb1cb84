"""Algorithm 3 as printed: a Bernoulli mask for every sample, from Lemma 2's Lipschitz constants.

A reference, not a method to train with: it may diverge (counterexample CE3).

Index legend: `i` sample, `c` output unit, `m` input connection.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from interpretable_sgd.optimizer.layer_gradients import Layer, per_sample, positions
from interpretable_sgd.optimizer.probabilities import paper_probabilities
from interpretable_sgd.optimizer.sampling import bernoulli, hash_key
from interpretable_sgd.optimizer.scores import (
    fisher_curvature,
    log_logistic_curvature,
    log_softmax_curvature,
)
from interpretable_sgd.optimizer.selector import (
    MOMENTS,
    Selector,
    State,
    blank_moments,
    update_relative_mean,
)

CHUNK = 1 << 22
"""Most coordinates, over samples, that masks hold at a time."""


class Sums(NamedTuple):
    """Sums over samples, each (O, M), or running means of them; g is divided by the batch size.

    Attributes:
        expected: pi g.
        probability: pi.
        gradient: g.
        selected: q.
        samples: 1.
    """

    expected: Tensor
    probability: Tensor
    gradient: Tensor
    selected: Tensor
    samples: Tensor


PLANES = len(Sums._fields)


def masked_gradient(
    sparsity: float,
    key: int,
    is_head: bool,
    layer: Layer,
    input: Tensor,
    output: Tensor,
    gradient: Tensor,
) -> tuple[Tensor, Sums]:
    """sum_i q_i * g_i, q_icm ~ Bernoulli((L_icm / L_i)^(1 / (1 - s))), L_i the sum over the layer.

    Args:
        sparsity: s < 1.
        key: of the draws.
        is_head: whether outputs are logits, whose curvature is p (1 - p).
        layer, input, output, gradient: of the layer's backward.

    Returns:
        The masked gradient, (O, M), and the sums that its bias needs.
    """
    h = curvature(is_head, output, gradient, unit_dim(layer, gradient))
    x, delta = positions(layer, input.to(h.dtype), gradient.to(h.dtype))
    _, h = positions(layer, input, h)
    shape = len(layer.weight), layer.weight[0].numel()
    total, sums = x.new_zeros(shape), x.new_zeros(PLANES, *shape)
    samples = max(1, CHUNK // layer.weight.numel())
    chunks = zip(x.split(samples), delta.split(samples), h.split(samples), strict=True)
    for number, (x_i, delta_i, h_i) in enumerate(chunks):
        g = per_sample(x_i, delta_i)
        pi = paper_probabilities(per_sample(x_i.square(), h_i), sparsity)
        q = bernoulli(pi, hash_key(key, number))
        # What is not finite must reach `.grad`, where gradient scaling looks for it.
        total = total + torch.where(q | ~g.isfinite(), g, 0).sum(0)
        parts = (pi * g, pi, g, q.to(g), torch.ones_like(g))
        sums = sums + torch.stack([part.sum(0) for part in parts])
    return total, Sums(*sums)


def curvature(is_head: bool, output: Tensor, gradient: Tensor, dim: int) -> Tensor:
    """h_ic of Lemma 2, relative to the largest of its sample, which no probability notices.

    So no sample, however sure the network is of it, underflows as a whole.

    Args:
        is_head: whether outputs are logits.
        output, gradient: z and d loss / d z of a layer.
        dim: of the output units.
    """
    dtype = torch.promote_types(gradient.dtype, torch.float32)
    # Units come first only where there is no batch dimension.
    others = tuple(range(int(dim != 0), gradient.dim()))
    if not is_head:
        delta = gradient.to(dtype).abs()
        if not delta.numel():
            return delta
        largest = delta.amax(others, keepdim=True)
        return fisher_curvature(delta / torch.where(largest > 0, largest, 1))
    z = output.to(dtype)
    logs = log_logistic_curvature(z) if z.shape[dim] == 1 else log_softmax_curvature(z, dim)
    if logs.numel():
        largest = logs.amax(others, keepdim=True)
        logs = logs - torch.where(largest.isfinite(), largest, 0)
    return logs.exp()


def unit_dim(layer: nn.Module, output: Tensor) -> int:
    """The dimension of a layer's output that runs over its units."""
    if isinstance(layer, nn.Linear):
        return output.dim() - 1
    return output.dim() - 1 - len(layer.kernel_size)  # type: ignore[arg-type]


def bias_ratio(sums: Sums) -> Tensor:
    """theta_j = C_j^2 / (pibar_j d_j F)^2, C_j = Cov_i(pi_ij, g_ij): the bias of masks per sample.

    The mean step is pibar_j d_j F + C_j; where theta >= 1 the bias can turn it around (Theorem C).

    Returns:
        theta >= 0, (O, M); inf where only the bias is left.
    """
    unbiased = sums.probability / sums.samples.clamp(min=1) * sums.gradient
    ratio: Tensor = (sums.expected - unbiased) / unbiased
    return ratio.square().nan_to_num(nan=0.0, posinf=torch.inf)


class Algorithm3(Selector):
    """Masks act in backward, so `.grad` is sum_i q_i * g_i, and the update is the base optimizer's.

    State: the moments, which are `Sums`, and `steps`.
    """

    @classmethod
    def blank(cls, weight: Tensor, block_size: float) -> State:
        """See `Selector.blank`."""
        return {MOMENTS: blank_moments(PLANES, weight), "steps": 0}

    @property
    def gates(self) -> Tensor:
        """See `Selector.gates`: the mean probabilities."""
        return self.probabilities

    @property
    def probabilities(self) -> Tensor:
        """See `Selector.probabilities`: means over samples."""
        sums = Sums(*self.state[MOMENTS])
        return sums.probability / torch.where(sums.samples > 0, sums.samples, 1)

    def observe(self) -> None:
        """See `Selector.observe`."""
        key = hash_key(self.options.seed, self.state["steps"], self.position, _rank())
        # Every call of the layer in a step draws masks of its own.
        calls = _Counter()
        self.probe.observe(
            self.state[MOMENTS].shape,
            functools.partial(_reduce, self.options.sparsity, key, calls, self.is_head),
            replaces_gradient=True,
            keeps_output=self.is_head,
            compiles=False,
        )

    def directions(self, gradient: Tensor, sums: Tensor | None) -> dict[Tensor, Tensor]:
        """See `Selector.directions`: the gradient is masked already."""
        if sums is not None:
            update_relative_mean(self.state[MOMENTS], sums, Sums(*sums).samples.mean())
        return {}

    def finish(self) -> None:
        """See `Selector.finish`."""
        self.state["steps"] += 1


class _Counter:
    """Counts the backward passes of a step."""

    def __init__(self) -> None:
        self.count = 0

    def next(self) -> int:
        self.count += 1
        return self.count


def _reduce(
    sparsity: float,
    key: int,
    calls: _Counter,
    is_head: bool,
    layer: Layer,
    input: Tensor,
    output: Tensor,
    gradient: Tensor,
    constants: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    masked, sums = masked_gradient(
        sparsity, hash_key(key, calls.next()), is_head, layer, input, output, gradient
    )
    return torch.stack(sums), masked.view_as(layer.weight).to(layer.weight.dtype)


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
