"""One way to select the connections of a layer that learn, at one step of one weight."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interpretable_sgd.optimizer.options import Options
from interpretable_sgd.optimizer.probes import WeightProbe
from interpretable_sgd.optimizer.sharding import gather

State = dict[str, Any]
BETA = 0.9
"""Share of the past in running means."""

LOOKAHEAD = 10.0
"""tau, steps along the mean gradient at whose end connections are compared."""

MOMENTS = "moments"


@dataclass
class Selector(ABC):
    """What a step needs to know of one routed weight W, (O, M); the state is all in the checkpoint.

    Args:
        weight: the parameter.
        state: of the parameter; `moments` are running means, float32 or wider, (planes, O, M).
        options: of its param group.
        probe: on the layers that own it.
        rate: learning rate of the step.
        decay: weight decay that the base optimizer adds to the gradient; 0 where it is decoupled.
        sign: -1 for maximize, else 1.
        scheduled: whether the rate follows a schedule.
        normalised: whether the base optimizer's steps are as large as the rate, whatever the gradient.
        position: of the parameter among all, in the keys of draws.
    """

    weight: Tensor
    state: State
    options: Options
    probe: WeightProbe
    rate: float
    decay: float
    sign: int
    scheduled: bool
    normalised: bool
    position: int

    @classmethod
    @abstractmethod
    def blank(cls, weight: Tensor, block_size: float) -> State:
        """The state of a weight that has seen no step, but `is_head`."""

    @abstractmethod
    def observe(self) -> None:
        """Set the probe for the next forward pass."""

    @abstractmethod
    def directions(self, gradient: Tensor, sums: Tensor | None) -> dict[Tensor, Tensor]:
        """What the base optimizer is given in place of gradients, by parameter.

        Args:
            gradient: `.grad` of the weight.
            sums: statistics since the last step, over all processes; None if none came.
        """

    @abstractmethod
    def finish(self) -> None:
        """What happens to the weight after the base optimizer's update."""

    @property
    @abstractmethod
    def gates(self) -> Tensor:
        """Running means of the constants that connections are selected by, (O, M)."""

    @property
    def is_head(self) -> bool:
        """Whether the layer is the last with weights."""
        return bool(self.state["is_head"])

    @property
    @abstractmethod
    def probabilities(self) -> Tensor:
        """With which connections learn in the next step, (O, M)."""

    @property
    def strength(self) -> Tensor:
        """The constants as shares of their row's sum, (O, M)."""
        total = self.gates.sum(1, keepdim=True)
        return self.gates / torch.where(total > 0, total, 1)

    @property
    def matrix(self) -> Tensor:
        """W as (O, M), whole, in the dtype of the statistics."""
        return gather(self.weight.detach()).flatten(1).to(self.state[MOMENTS])

    @property
    def block_size(self) -> int:
        """K, at most M."""
        return min(int(self.options.block_size), self.state[MOMENTS].shape[-1])

    def companions(self) -> list[Tensor]:
        """The base optimizer's own tensors of the weight's shape: momentum, second moments."""
        return [
            value
            for key, value in self.state.items()
            if isinstance(value, Tensor)
            and value.shape == self.weight.shape
            and key != "support"
            and value.is_floating_point()
        ]

    def descent(self, gradient: Tensor) -> Tensor:
        """A gradient as (O, M), whole, in the direction in which the weight goes down."""
        return self.sign * gather(gradient).flatten(1).to(self.state[MOMENTS])


def blank_moments(planes: int, weight: Tensor) -> Tensor:
    """Zeros for running means of a weight, (planes, O, M), float32 or wider."""
    dtype = torch.promote_types(weight.dtype, torch.float32)
    shape = (planes, len(weight), weight[0].numel())
    return torch.zeros(shape, dtype=dtype, device=weight.device)


def update_running_mean(mean: Tensor, value: Tensor) -> None:
    """mean <- beta mean + (1 - beta) value, in place; a value that is not finite is left out."""
    mixed = torch.lerp(value.to(mean), mean, BETA)
    mean.copy_(torch.where(mixed.sum().isfinite(), mixed, mean))


def update_relative_mean(
    mean: Tensor, value: Tensor, scale: Tensor | None = None, beta: float = BETA
) -> None:
    """The same for constants of which only ratios matter: a step counts relative to its own mean.

    Loss reduction, loss scaling and accumulation cancel.

    Args:
        scale: that a step counts relative to; None for the mean.
    """
    # A model that has just changed its dtype brings statistics of the old one.
    value = value.to(mean)
    scale = value.mean() if scale is None else scale
    usable = value.sum().isfinite() & (scale > 0)
    mixed = torch.lerp(value / torch.where(usable, scale, 1), mean, beta)
    mean.copy_(torch.where(usable, mixed, mean))
