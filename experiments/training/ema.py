"""An exponential average of weights: of whole ones, which is torch's, and of those in parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from experiments.training.dtensor import distributed, gathered, local


class Average(Protocol):
    """A running average of a net's weights and buffers, whole to those who ask."""

    n_averaged: Tensor

    @property
    def module(self) -> nn.Module:
        """The averaged net."""

    def update_parameters(self, model: nn.Module) -> None:
        """Let the present weights into the average; the first ones are it."""

    def weights(self) -> dict[str, Tensor]:
        """Every tensor of the average by name."""

    def load(self, weights: Mapping[str, Tensor], count: int) -> None:
        """Take over what `weights` gave after `count` updates."""


class AverageOfWhole(AveragedModel):
    """torch's, of a model that is whole.

    Args:
        model: as it is now.
        decay: in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

    def weights(self) -> dict[str, Tensor]:
        """Every tensor of the average by name."""
        return dict(self.module.state_dict())

    def load(self, weights: Mapping[str, Tensor], count: int) -> None:
        """Take over what `weights` gave after `count` updates."""
        self.module.load_state_dict(weights)
        self.n_averaged.fill_(count)


class AverageOfParts:
    """The same of each rank's part of the weights; what is whole is gathered, so every rank must ask.

    Args:
        model: in parts.
        decay: in (0, 1).
        filled: makes a whole net of whole weights.
    """

    def __init__(
        self,
        model: nn.Module,
        decay: float,
        filled: Callable[[Mapping[str, Tensor]], nn.Module],
    ) -> None:
        self._tensors = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self._follow, self._filled = get_ema_multi_avg_fn(decay), filled
        self.n_averaged = torch.tensor(0)

    @property
    def module(self) -> nn.Module:
        """The averaged net, a copy."""
        return self._filled(self.weights())

    def update_parameters(self, model: nn.Module) -> None:
        """Let the present weights into the average; the first ones are it."""
        for name, now in model.state_dict().items():
            mine, theirs = local(self._tensors[name]), local(now.detach())
            if self.n_averaged == 0:
                mine.copy_(theirs)
            else:
                self._follow([mine], [theirs], self.n_averaged)
        self.n_averaged += 1

    def weights(self) -> dict[str, Tensor]:
        """Every tensor of the average by name, gathered."""
        return gathered(self._tensors)

    def load(self, weights: Mapping[str, Tensor], count: int) -> None:
        """Take over what `weights` gave after `count` updates."""
        for name, mine in self._tensors.items():
            local(mine).copy_(local(distributed(weights[name], mine)))
        self.n_averaged.fill_(count)
