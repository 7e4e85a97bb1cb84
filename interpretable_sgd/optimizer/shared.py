"""Masks shared by the batch: drawn from the past alone, with Theorem A's rate.

Index legend: `c` output unit, `m` input connection.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from interpretable_sgd.optimizer.block_size import narrowed, soft_threshold
from interpretable_sgd.optimizer.layer_gradients import Layer, weight_gradient
from interpretable_sgd.optimizer.phases import FORM_STEPS
from interpretable_sgd.optimizer.probabilities import explore, fill, waterfill
from interpretable_sgd.optimizer.sampling import bernoulli, hash_key
from interpretable_sgd.optimizer.scores import fisher_curvature, gate
from interpretable_sgd.optimizer.selector import (
    LOOKAHEAD,
    MOMENTS,
    Selector,
    State,
    blank_moments,
    update_relative_mean,
    update_running_mean,
)
from interpretable_sgd.optimizer.sharding import shard_like


class Moments(NamedTuple):
    """Running means, each (O, M).

    Attributes:
        dense: gbar, of the gradient.
        positive: L+, of delta^2 (x)_+^2.
        negative: L-, of delta^2 (x)_-^2.
    """

    dense: Tensor
    positive: Tensor
    negative: Tensor


PLANES = len(Moments._fields)


def block_probabilities(
    weight: Tensor, moments: Moments, reach: float, block_size: float, sparsity: float
) -> Tensor:
    """Responsibilities pi of all connections, (O, M), that sum to the block size in every row.

    G_cm = (W_cm - tau eta gbar_cm)_+^2 L+_cm + (...)_-^2 L-_cm; pi = min(1, kappa_c G^(1 / (1 - s))).

    Args:
        weight: W, (O, M).
        moments: running means.
        reach: tau eta of the look-ahead.
        block_size: K > 0.
        sparsity: s <= 1.
    """
    G = gate(weight - reach * moments.dense, moments.positive, moments.negative)
    known = (G > 0).any(-1, keepdim=True)
    uniform = min(1.0, block_size / G.shape[-1])
    pi = torch.where(known, waterfill(G, block_size, sparsity), uniform)
    return fill(pi, G, block_size)


class Shared(Selector):
    """One mask for the batch, a function of the past: E[u | past] = Pi grad F.

    State beside the moments: `steps`, `peak_lr`, `last_lr`. The block narrows from whole rows to
    `block_size` over `form` steps, by default 500, and what is not selected shrinks with it.
    """

    @classmethod
    def blank(cls, weight: Tensor, block_size: float) -> State:
        """See `Selector.blank`."""
        return {MOMENTS: blank_moments(PLANES, weight), "steps": 0, "peak_lr": 0.0}

    @property
    def gates(self) -> Tensor:
        """See `Selector.gates`."""
        _, positive, negative = self.state[MOMENTS]
        return gate(self.matrix, positive, negative)

    @property
    def _progress(self) -> float:
        """p in [0, 1] of the narrowing block at this step."""
        horizon = self.options.form if isinstance(self.options.form, int) else FORM_STEPS
        return min(1.0, (self.state["steps"] + 1) / horizon) if horizon else 1.0

    @property
    def current_block_size(self) -> float:
        """K_t, connections selected per row on average at this step."""
        fan_in = self.state[MOMENTS].shape[-1]
        return narrowed(fan_in, self.options.block_size, self._progress)

    @property
    def is_plain(self) -> bool:
        """Whether the block is a whole row, so that nothing is masked."""
        return self.current_block_size >= self.state[MOMENTS].shape[-1]

    @property
    def responsibilities(self) -> Tensor:
        """pi before exploration, (O, M)."""
        return block_probabilities(
            self.matrix,
            Moments(*self.state[MOMENTS]),
            LOOKAHEAD * self.rate,
            self.current_block_size,
            self.options.sparsity,
        )

    @property
    def probabilities(self) -> Tensor:
        """See `Selector.probabilities`."""
        if self.is_plain:
            return torch.ones_like(self.gates)
        return explore(self.responsibilities, self.options.exploration, self.current_block_size)

    def observe(self) -> None:
        """See `Selector.observe`."""
        self.probe.observe((2, *self.state[MOMENTS].shape[1:]), _reduce)

    def directions(self, gradient: Tensor, sums: Tensor | None) -> dict[Tensor, Tensor]:
        """q * (g + lambda w), such that the base optimizer's own weight decay is inside the mask.

        A gradient without statistics is not masked, and nothing shrinks in its step.
        """
        state = self.state
        state["peak_lr"] = max(state["peak_lr"], self.rate)
        masked = {}
        self._idle = None
        if not self.is_plain and sums is not None:
            self._idle = 1 - self.responsibilities
            q = bernoulli(
                self.probabilities, hash_key(self.options.seed, state["steps"], self.position)
            )
            q = shard_like(q, gradient)
            kept = q * gradient
            if self.decay:
                kept = kept - self.sign * self.decay * (1 - q) * self.weight
            masked[self.weight] = kept
        self._remember(gradient, sums)
        return masked

    def _remember(self, gradient: Tensor, sums: Tensor | None) -> None:
        moments = self.state[MOMENTS]
        update_running_mean(moments[0], self.descent(gradient))
        if sums is not None:
            update_relative_mean(moments[1:], sums)

    def finish(self) -> None:
        """See `Selector.finish`."""
        state = self.state
        if self._idle is not None and self.options.shrink:
            pace = self.rate / state["peak_lr"] if state["peak_lr"] else 0.0
            amount = self._shrink_amount(pace) * self._idle
            self.weight.copy_(soft_threshold(self.weight, shard_like(amount, self.weight)))
        state["steps"] += 1

    def _shrink_amount(self, pace: float) -> float:
        """a = shrink p / (sqrt(M) H) lr / max lr: what an unselected connection loses in a step.

        A connection starts at about 1 / sqrt(M): at full strength it is empty after H / shrink steps,
        whatever the width, the learning rate and the length of training. It stops with learning.
        """
        fan_in = self.state[MOMENTS].shape[-1]
        horizon = self.options.form if isinstance(self.options.form, int) else FORM_STEPS
        horizon = max(LEAST_HORIZON, horizon)
        return self.options.shrink * self._progress * pace / (math.sqrt(fan_in) * horizon)


LEAST_HORIZON = 250
"""Steps below which the shrink does not count the horizon, so that no step can empty a row."""


def _reduce(
    layer: Layer,
    input: Tensor,
    output: Tensor,
    gradient: Tensor,
    constants: Sequence[Tensor],
) -> tuple[Tensor, None]:
    """sum_i delta_ic^2 (x_im)_+^2 and (x_im)_-^2, by the layer's weight-gradient operation."""
    h = fisher_curvature(gradient)
    parts = (input.clamp(min=0), input.clamp(max=0))
    moments = [weight_gradient(layer, x.to(h).square(), h) for x in parts]
    return torch.stack(moments).flatten(2), None
