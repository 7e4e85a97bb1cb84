"""What is compared: ways to train a net, at identical settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import softshrink

from interpretable_sgd import InterpretableSGD

SETTINGS = {"momentum": 0.9, "weight_decay": 5e-4}
# the strongest of .0007, .002, .003, .005 that keeps the scenes' accuracy: on validation images of
# seed 0 they gave .895, .893, .883, .712, with 45, 20, 13, 9 weights a class
L1 = 3e-3


def sgd(
    model: nn.Module, lr: float, seed: int, settings: Mapping[str, float] = SETTINGS
) -> torch.optim.Optimizer:
    """Every class reads every unit."""
    return torch.optim.SGD(model.parameters(), lr=lr, **settings)


def ours(
    model: nn.Module,
    lr: float,
    seed: int,
    options: Mapping[str, Any],
    settings: Mapping[str, float] = SETTINGS,
) -> torch.optim.Optimizer:
    """The library's, as it is by default but for `options`."""
    return InterpretableSGD(model.parameters(), lr=lr, **settings, seed=seed, **options)


def l1(
    model: nn.Module,
    lr: float,
    seed: int,
    strength: float = L1,
    settings: Mapping[str, float] = SETTINGS,
) -> torch.optim.Optimizer:
    r"""SGD whose head has an L1 penalty, as the paper's Res18-L1: a proximal step after each.

    The head is the model's `fc`.

    .. math:: W \leftarrow \text{sign}(W) (|W| - \lambda \, lr / (1 - momentum))_+
    """
    head = model.fc.weight
    others = [p for p in model.parameters() if p is not head]
    groups = [{"params": [head], "l1": strength}, {"params": others, "l1": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=lr, **settings)

    @torch.no_grad()
    def shrink(*step: object) -> None:
        group = optimizer.param_groups[0]
        head.copy_(softshrink(head, group["l1"] * group["lr"] / (1 - group["momentum"])))

    optimizer.register_step_post_hook(shrink)
    return optimizer


Build = Callable[[nn.Module, float, int], torch.optim.Optimizer]


def contestants(options: Mapping[str, Any]) -> dict[str, Build]:
    """By name, what makes the optimizer of a model from a learning rate and a seed.

    Args:
        options: of InterpretableSGD, beside its defaults.
    """
    return {"SGD": sgd, "InterpretableSGD": partial(ours, options=options), "SGD with L1": l1}
